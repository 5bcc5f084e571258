/** Long work on the filesystem: moving data, and how scattered it is. */
import { requireAdministrator } from '../administrator.ts';
import { inSession, type Service } from '../context.ts';
import { fragmentationToWire, jobRequestFromWire, jobStatusToWire } from '../protocol/jobs.ts';
import { operations } from '../protocol/ops.ts';

const writeAccess = 2;

export const jobServices: readonly Service[] = [
  /** Whoever may write a file may have it defragmented, as with e4defrag(8); the rest is the administrator's. */
  inSession(operations.JOB_START, async ([wire], { context, caller }) => {
    const request = jobRequestFromWire(wire);
    if (request.kind === 'defragment' && request.ino !== undefined) {
      await context.fs.vfs.access(request.ino, writeAccess, caller);
    } else requireAdministrator(caller);
    return [context.fs.startJob(request)];
  }),

  inSession(operations.JOB_STATUS, (_, { context }) => {
    const job = context.fs.job();
    return [job === undefined ? null : jobStatusToWire(job)];
  }),

  inSession(operations.JOB_CANCEL, ([id], { context, caller }) => {
    requireAdministrator(caller);
    context.fs.cancelJob(id);
    return [];
  }),

  inSession(operations.FRAGMENTATION, async (_, { context }) => [
    fragmentationToWire(await context.fs.fragmentation()),
  ]),
];
