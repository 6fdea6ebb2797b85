/** Bodies of requests: their shape, and what is said of one that has another. */
import { z } from 'zod';
import type { ApplyRequest, AttachRequest, ExplainRequest } from '../control/protocol.ts';
import { Rejected } from './rejected.ts';

const source = z.strictObject({ file: z.string().max(4096), text: z.string() });
const apply = z.strictObject({ sources: z.array(source).max(10_000), dryRun: z.boolean().optional() });
const name = z.string().min(1).max(253);
const attach = z.strictObject({
  netns: z.string().min(1).max(4096),
  network: name,
  name: name.optional(),
  interface: z.string().min(1).max(15).optional(),
  address: z.string().min(1).max(64).optional(),
  defaultRoute: z.boolean().optional(),
});
const end = z.string().min(1).max(64);
const explain = z.strictObject({
  client: end,
  protocol: z.string().max(16).optional(),
  to: end.optional(),
  network: name.optional(),
});
const detach = z.strictObject({ name });

/** Zod leaves absent keys absent, so "optional" means just that. */
type Exact<T> = { [K in keyof T]: T[K] };

export const readApply = (body: unknown): ApplyRequest => read(apply, body) as Exact<ApplyRequest>;
export const readAttach = (body: unknown): AttachRequest => read(attach, body) as Exact<AttachRequest>;
export const readExplain = (body: unknown): ExplainRequest => read(explain, body) as Exact<ExplainRequest>;
export const readDetach = (body: unknown): { name: string } => read(detach, body);

function read<T>(schema: z.ZodType<T>, body: unknown): T {
  if (body === undefined) throw new Rejected(['the request needs a JSON body'], 400);
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const lines = result.error.issues.map((issue) =>
    issue.path.length > 0 ? `${issue.path.join('.')}: ${issue.message}` : issue.message,
  );
  throw new Rejected(lines, 400);
}
