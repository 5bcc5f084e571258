/**
 * The store and the device belong together: both carry the UUID and the generation of the filesystem.
 *
 * A mount for writing takes the generation after the superblock's and writes it to the store first, then to the
 * superblocks. So a crash leaves the store equal or one ahead, and a mount after that crash takes the same number
 * again: the store never gets two ahead. Once the superblocks are written the store is told so, and from then on one
 * ahead is too much as well. Anything else is an old copy of one of them, and no block would be where its map says.
 */
import { FsError } from '../errors.ts';
import { decodeStore, encodeStore } from '../format/codec.ts';
import { storeKey } from '../format/keys.ts';
import type { StoreRecord } from '../format/records.ts';
import { formatVersion, type Superblock } from '../format/superblock.ts';
import { sameUuid, uuidToText } from '../format/uuid.ts';
import type { MetaStore, StoreOp } from './store.ts';

/** The record that says whose store this is. @throws FsError EUCLEAN (none, or damaged), EIO */
export function readBinding(store: MetaStore): StoreRecord {
  const key = storeKey();
  const value = store.get(key);
  if (value === undefined) {
    throw new FsError('EUCLEAN', { detail: 'the metadata store says of no filesystem that it belongs to it' });
  }
  return decodeStore(key, value);
}

/**
 * Writes the record, durably, in the place of `previous` (undefined: the store is new), and `others` with it.
 * @throws FsError ESTALE (another record stands there), EIO, ENOSPC
 */
export function bindStore(
  store: MetaStore,
  record: StoreRecord,
  previous: StoreRecord | undefined,
  others: readonly StoreOp[] = [],
): Promise<void> {
  const key = storeKey();
  const expected = previous === undefined ? undefined : encodeStore(previous);
  return store.batch([{ key, value: encodeStore(record) }, ...others], [{ key, value: expected }]);
}

/** The generation of the next mount for writing. */
export function nextGeneration(superblock: Superblock): number {
  return superblock.generation + 1;
}

/** @throws FsError ESTALE (store and device do not belong together), EOPNOTSUPP (of a newer program) */
export function checkBinding(superblock: Superblock, store: StoreRecord): void {
  if (store.formatVersion > formatVersion) {
    const detail = `the metadata store has format version ${store.formatVersion}, this program knows up to ${formatVersion}: use a newer iopmemfs`;
    throw new FsError('EOPNOTSUPP', { detail });
  }
  if (!sameUuid(store.uuid, superblock.uuid)) {
    throw stale(
      `the metadata store belongs to another filesystem, ${uuidToText(store.uuid)}; the device holds ${uuidToText(superblock.uuid)}`,
      `give the metadata directory of that one (--meta DIR)`,
    );
  }
  if (store.generation < superblock.generation) {
    throw stale(
      `metadata is older than the superblock (generation ${store.generation}, superblock ${superblock.generation})`,
      'give the metadata directory that was used last, not an older copy of it',
    );
  }
  if (store.generation > nextGeneration(superblock) || store.superblockGeneration > superblock.generation) {
    throw stale(
      `the superblock is older than the metadata (generation ${superblock.generation}, metadata ${store.generation}): ` +
        `the device holds an older copy${superblock.volatile ? ', or lost its content with its power' : ''}`,
      'bring back the device content that belongs to this metadata, or make a new filesystem',
    );
  }
}

function stale(found: string, todo: string): FsError {
  return new FsError('ESTALE', { detail: `${found}: ${todo}` });
}
