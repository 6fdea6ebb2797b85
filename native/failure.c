#include "failure.h"

#include <stdarg.h>
#include <stdio.h>

int fail(struct failure *f, int number, const char *format, ...)
{
  va_list arguments;
  f->number = number;
  va_start(arguments, format);
  vsnprintf(f->attempt, sizeof f->attempt, format, arguments);
  va_end(arguments);
  return -1;
}
