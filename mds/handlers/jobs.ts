/** Long work on the filesystem: moving data, and how scattered it is. */
import { inSession, type Service } from '../context.ts';
import { fragmentationToWire, jobRequestFromWire, jobStatusToWire } from '../protocol/jobs.ts';
import { operations } from '../protocol/ops.ts';
import { StatusError } from '../protocol/status.ts';

const writeAccess = 2;

export const jobServices: readonly Service[] = [
  /** Whoever may write a file may have it defragmented, as with e4defrag(8); the rest is the administrator's. */
  inSession(operations.JOB_START, async ([wire], { context, caller }) => {
    const request = jobRequestFromWire(wire);
    if (request.kind === 'defragment' && request.ino !== undefined) {
      await context.fs.vfs.access(request.ino, writeAccess, caller);
    } else requireAdministrator(caller, 'moves the data of all files');
    return [context.fs.startJob(request)];
  }),

  inSession(operations.JOB_STATUS, (_, { context }) => {
    const job = context.fs.job();
    return [job === undefined ? null : jobStatusToWire(job)];
  }),

  inSession(operations.JOB_CANCEL, ([id], { context, caller }) => {
    requireAdministrator(caller, 'cancels jobs');
    context.fs.cancelJob(id);
    return [];
  }),

  inSession(operations.FRAGMENTATION, async (_, { context }) => [
    fragmentationToWire(await context.fs.fragmentation()),
  ]),
];

function requireAdministrator({ uid }: { readonly uid: number }, what: string): void {
  if (uid !== 0) throw new StatusError('PERM', `only the administrator ${what}`, 'EPERM');
}
