/** A device with the metadata that belongs to it, as the programs open them. */
import type { BarDevice } from '../../fs/bar/device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { readSuperblock } from '../../fs/engine/superblocks.ts';
import { FsError } from '../../fs/errors.ts';
import type { Superblock } from '../../fs/format/superblock.ts';
import { uuidToText } from '../../fs/format/uuid.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { MetaStore } from '../../fs/meta/store.ts';
import { mountTable } from './mount-table.ts';
import { devicePath, metadataDir, stateDir } from './places.ts';
import { allServers, type Registration, waitForEnd } from './registry.ts';

export interface OpenVolume {
  readonly device: BarDevice;
  readonly store: MetaStore;
  readonly superblock: Superblock;
  readonly uuid: string;
  readonly metadata: string;
}

/**
 * Opens both for this process alone. On failure nothing stays open.
 * @throws FsError as openDevice, readSuperblock and openLevelStore; ENOENT with where metadata was looked for
 */
export async function openVolume(
  path: string,
  options: { readonly writable: boolean; readonly meta: string | undefined },
): Promise<OpenVolume> {
  const device = await openIdleDevice(await devicePath(path), options.writable);
  try {
    const superblock = readSuperblock(device);
    const uuid = uuidToText(superblock.uuid);
    const metadata = metadataDir(uuid, options.meta);
    return { device, store: await openStore(metadata, options.meta), superblock, uuid, metadata };
  } catch (error) {
    await device.close();
    throw error;
  }
}

/**
 * umount(8) returns before the daemon has written its last group, so who opens the device right after it waits for
 * that; a daemon that goes on serving is EBUSY at once.
 */
export async function openIdleDevice(path: string, writable: boolean): Promise<BarDevice> {
  for (;;) {
    try {
      return await openDevice(path, { writable, lock: true });
    } catch (error) {
      if (!(error instanceof FsError) || error.code !== 'EBUSY') throw error;
      const holder = (await allServers()).find((server) => server.device === path);
      if (holder === undefined) throw error;
      if (isMounted(holder) || !(await waitForEnd(holder))) throw inUse(path, holder);
    }
  }
}

/** Whether the daemon still serves: its mount is there, or it never had one. */
function isMounted({ mountPoint }: Registration): boolean {
  return mountPoint === undefined || mountTable().some((entry) => entry.mountPoint === mountPoint);
}

function inUse(path: string, { pid, mountPoint }: Registration): FsError {
  const how = mountPoint === undefined ? `stop process ${pid}` : `umount ${mountPoint}`;
  return new FsError('EBUSY', { path, detail: `in use by another daemon (process ${pid}): ${how} first` });
}

async function openStore(metadata: string, option: string | undefined): Promise<MetaStore> {
  try {
    return await openLevelStore(metadata, { create: false });
  } catch (error) {
    if (!(error instanceof FsError) || error.code !== 'ENOENT') throw error;
    const where = option === undefined ? ` (state directory ${stateDir()})` : '';
    const detail = `no metadata directory here${where}: give the one of this filesystem with --meta DIR`;
    throw new FsError('ENOENT', { path: metadata, detail }, error);
  }
}
