/** Which requests a recall may depend on: their replies tell the client what it holds (RFC 8881 §2.10.6.3, §12.5.5.2). */
import { buffersIno } from '../fs/format/session-buffers.ts';
import { operations } from './protocol/ops.ts';
import { status } from './protocol/status.ts';
import type { Answer } from './slot.ts';

/** The inode whose layout or open the request changed. */
export function concernOf(operation: number, args: unknown, { status: outcome, results }: Answer): number | undefined {
  if (outcome !== status.OK) return undefined;
  const { LAYOUTGET, LAYOUTRETURN, OPEN, BUFFERS_ALLOC } = operations;
  if (operation === BUFFERS_ALLOC.number) return buffersIno;
  // They were checked before it ran.
  if (operation === LAYOUTGET.number) return numberAt(args, 0);
  if (operation === LAYOUTRETURN.number) return numberAt(args, 1);
  if (operation === OPEN.number) return OPEN.isReply(results) ? results[1][0] : undefined;
  return undefined;
}

function numberAt(args: unknown, index: number): number | undefined {
  const value: unknown = Array.isArray(args) ? args[index] : undefined;
  return typeof value === 'number' ? value : undefined;
}
