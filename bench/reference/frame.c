#include "frame.h"

#include <arpa/inet.h>
#include <string.h>

#include "sum.h"

#define IPV4 20
#define IPV6 40

bool frame_parse(struct frame *f, uint8_t *at, int length)
{
  uint8_t *ip = at + ETHERNET;
  int total;
  f->at = at;
  if (length < ETHERNET + IPV4 + 8) return false;
  f->v6 = get16(at + 12) == 0x86dd;
  if (f->v6) {
    if (length < ETHERNET + IPV6 + 8) return false;
    f->protocol = ip[6];
    f->l4 = ETHERNET + IPV6;
    total = IPV6 + get16(ip + 4);
  } else {
    /* more fragments, or not the first */
    if (get16(at + 12) != 0x0800 || ip[0] != 0x45 || (get16(ip + 6) & 0x3fff) != 0) return false;
    f->protocol = ip[9];
    f->l4 = ETHERNET + IPV4;
    total = get16(ip + 2);
  }
  f->length = ETHERNET + total;
  if (f->length > length) return false;
  if (f->protocol == UDP)
    f->headers = f->l4 + 8;
  else if (f->protocol == TCP && f->length >= f->l4 + 20)
    f->headers = f->l4 + (at[f->l4 + 12] >> 4) * 4;
  else
    return false;
  f->payload = f->length - f->headers;
  if (f->protocol == UDP && get16(at + f->l4 + 4) != 8 + f->payload) return false;
  return f->payload >= 0 && f->headers >= f->l4 + (f->protocol == TCP ? 20 : 8);
}

uint64_t frame_pseudo(const struct frame *f, int l4_length)
{
  const uint8_t *ip = f->at + ETHERNET;
  uint64_t sum = f->v6 ? sum_header(0, ip + 8, 32) : sum_header(0, ip + 12, 8);
  return sum + htons(f->protocol) + htons((uint16_t)l4_length);
}

bool frame_partial(const struct frame *f)
{
  uint16_t field, sum = sum_fold(frame_pseudo(f, f->length - f->l4));
  memcpy(&field, frame_check(f), sizeof field);
  return field == sum;
}

bool frame_verify(const struct frame *f)
{
  uint16_t field;
  memcpy(&field, frame_check(f), sizeof field);
  if (f->protocol == UDP && field == 0) return false;
  int length = f->length - f->l4;
  return sum_fold(sum_bytes(frame_pseudo(f, length), f->at + f->l4, (size_t)length)) == 0xffff;
}

void frame_resize(uint8_t *at, const struct frame *f, int payload)
{
  uint8_t *ip = at + ETHERNET;
  int l4_length = f->headers - f->l4 + payload;
  if (f->protocol == UDP) put16(at + f->l4 + 4, l4_length);
  if (f->v6) {
    put16(ip + 4, l4_length);
    return;
  }
  put16(ip + 2, IPV4 + l4_length);
  memset(ip + 10, 0, 2);
  uint16_t sum = (uint16_t)~sum_fold(sum_header(0, ip, IPV4));
  memcpy(ip + 10, &sum, sizeof sum);
}
