/** Pinned files (docs/files.md). */
import { inSession, type Service } from '../context.ts';
import { operations } from '../protocol/ops.ts';

export const pinnedServices: readonly Service[] = [
  inSession(operations.PIN, async ([ino, size, align], { context, caller }) => {
    await context.fs.pin(ino, size ?? undefined, align, caller);
    return [];
  }),

  inSession(operations.UNPIN, async ([ino], { context, caller }) => {
    await context.fs.unpin(ino, caller);
    return [];
  }),
];
