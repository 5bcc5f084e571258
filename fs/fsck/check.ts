/**
 * Checks a filesystem that nobody has mounted, reading only: what the store says about inodes, names and blocks is
 * held against itself and against the superblock. Columns of numbers instead of objects keep a million files below
 * 200 MB.
 */
import type { BarDevice } from '../bar/device.ts';
import { inspectSuperblocks, readSuperblock } from '../engine/superblocks.ts';
import { checkBinding, readBinding } from '../meta/binding.ts';
import type { MetaStore } from '../meta/store.ts';
import { CheckContext } from './context.ts';
import { checkExtents, type Usage } from './extents.ts';
import { checkDirectories, checkInodes, checkLinks } from './namespace.ts';
import type { Pass, Problem } from './problem.ts';
import { checkQuotas } from './quotas.ts';

export interface CheckOptions {
  readonly device: BarDevice;
  readonly store: MetaStore;
  onPass(pass: Pass): void;
  onProblem(problem: Problem): void;
}

export interface CheckSummary {
  readonly problems: readonly Problem[];
  /** Not unmounted in order: the next mount takes it up where the last durable group left it. */
  readonly dirty: boolean;
  readonly inodes: number;
  readonly blocks: number;
  readonly usage: Usage;
  /** Directory trees with a limit. */
  readonly quotas: number;
}

/**
 * @throws FsError EIO, and where the check cannot even begin: EINVAL (no filesystem, or cut short), EUCLEAN (no sound
 *   superblock), EOPNOTSUPP (of a newer version), ESTALE (store and device do not belong together)
 */
export async function checkFilesystem(options: CheckOptions): Promise<CheckSummary> {
  const { device, store } = options;
  options.onPass(1);
  const superblock = readSuperblock(device);
  const binding = readBinding(store);
  checkBinding(superblock, binding);
  const check = new CheckContext(
    store,
    { ...binding, blockCount: superblock.blockCount, busAddress: device.busAddress },
    (problem) => options.onProblem(problem),
  );
  await checkCopies(check, device);

  options.onPass(2);
  await checkInodes(check);
  options.onPass(3);
  await checkDirectories(check);
  options.onPass(4);
  await checkLinks(check);
  options.onPass(5);
  const usage = await checkExtents(check);
  options.onPass(6);
  const quotas = await checkQuotas(check);
  return {
    problems: check.problems,
    dirty: superblock.dirty,
    inodes: check.inodes.length,
    blocks: superblock.blockCount,
    usage,
    quotas,
  };
}

/** An interrupted mount leaves one of the two superblocks behind; the next mount for writing puts it right. */
async function checkCopies(check: CheckContext, device: BarDevice): Promise<void> {
  const found = inspectSuperblocks(device);
  if (found.kind !== 'ok' || found.repair === undefined || found.superblock.dirty) return;
  const which = found.repair.which === 'first' ? 'the first superblock' : "the superblock's copy";
  await check.report(1, 'superblock', undefined, `${which} ${found.repair.why}`);
}
