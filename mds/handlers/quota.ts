/** Who may use how much: quotas of directory trees, and what is kept for root. */
import type { QuotaStatus } from '../../fs/engine/filesystem.ts';
import { requireAdministrator } from '../administrator.ts';
import { inSession, type Service } from '../context.ts';
import { serverLimits } from '../limits.ts';
import { wireLimits } from '../protocol/limits.ts';
import type { ReplyOf } from '../protocol/operation.ts';
import { operations } from '../protocol/ops.ts';
import { within } from '../within.ts';

export const quotaServices: readonly Service[] = [
  /** Asked again, it waits for what is under way: so a client sees progress, and no request outlives its patience. */
  inSession(operations.QUOTA_SET, async ([ino, bytes, inodes], call) => {
    requireAdministrator(call.caller);
    const { fs } = call.context;
    const set = fs.setQuota(ino, bytes || Infinity, inodes || Infinity);
    if (await within(set, serverLimits.quotaWaitMs, call.context)) return [true, 0];
    const [quota] = await fs.quotas(ino);
    return [false, quota?.inodes ?? 0];
  }),

  inSession(operations.QUOTA_REMOVE, async ([ino], call) => {
    requireAdministrator(call.caller);
    await call.context.fs.removeQuota(ino);
    return [];
  }),

  inSession(operations.TUNE, async ([reserve], call) => {
    requireAdministrator(call.caller);
    if (reserve !== null) await call.context.fs.setReserve(reserve);
    return [];
  }),

  /** Paths of directories stand in it: not for everybody. */
  inSession(operations.QUOTA_LIST, async ([ino, after], call) => {
    if (ino === null) requireAdministrator(call.caller);
    const found = (await call.context.fs.quotas(ino ?? undefined)).filter(({ id }) => id > after);
    const listed = found.slice(0, wireLimits.quotasMax);
    return [listed.map(quotaToWire), listed.length === found.length];
  }),
];

function quotaToWire(quota: QuotaStatus): ReplyOf<typeof operations.QUOTA_LIST>[0][number] {
  const { id, ino, path, bytesMax, bytes, inodesMax, inodes, inForce } = quota;
  const pathBytes = Buffer.from(path, 'utf8').subarray(0, wireLimits.pathMax);
  return [id, ino, pathBytes, limitToWire(bytesMax), bytes, limitToWire(inodesMax), inodes, inForce];
}

const limitToWire = (limit: number): number => (limit === Infinity ? 0 : limit);
