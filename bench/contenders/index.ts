/** Everybody who takes part, in the order reports show them. */
import type { Contender } from '../contender.ts';
import { kernel } from './kernel.ts';
import { ovs, ovsTso } from './ovs.ts';
import { reference } from './reference.ts';
import { tinc } from './tinc.ts';
import { twill } from './twill.ts';
import { vde } from './vde.ts';

export const CONTENDERS: readonly Contender[] = [twill, kernel, reference, ovsTso, ovs, vde, tinc];
