/** Every command, in the order of `twill --help`. */
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import type { Outcome } from '../run.ts';
import { registerApply } from './apply.ts';
import { registerAttach } from './attach.ts';
import { registerBench } from './bench.ts';
import { registerCheck } from './check.ts';
import { registerDelete } from './delete.ts';
import { registerDemo } from './demo.ts';
import { registerDetach } from './detach.ts';
import { registerExplain } from './explain.ts';
import { registerGet } from './get.ts';
import { registerStatus } from './status.ts';
import { registerUp } from './up.ts';
import { registerVersion } from './version.ts';

export type Register = (program: Command, context: Context, outcome: Outcome) => void;

export const COMMANDS: readonly Register[] = [
  registerUp,
  registerCheck,
  registerApply,
  registerDelete,
  registerGet,
  registerExplain,
  registerStatus,
  registerAttach,
  registerDetach,
  registerDemo,
  registerBench,
  registerVersion,
];
