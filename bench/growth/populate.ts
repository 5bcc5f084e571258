/** Filesystems of a given size, made through the engine in this process: a tenth of the time that a mount would take. */
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { openDevice } from '../../fs/bar/open.ts';
import { formatFilesystem, openFilesystem } from '../../fs/engine/engine.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { newUuid } from '../../fs/format/uuid.ts';
import { limits } from '../../fs/limits.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import { nameFromText } from '../../fs/name.ts';
import type { Caller, Handle } from '../../fs/vfs.ts';
import type { Place } from '../lib/place.ts';

export interface Made {
  readonly image: string;
  readonly meta: string;
  remove(): Promise<void>;
}

/** As workload.c knows them. */
const filesPerDirectory = 1000;
const by: Caller = { uid: 0, gid: 0, groups: [0], pid: process.pid, access: 'kernel' };
/** Operations between two turns of the event loop, in which groups are written and caches trimmed. */
const perTurn = 256;
const bs = limits.blockSize;

/** The image in memory, the metadata on the disk. */
export async function makeFilesystem(
  place: Place,
  bytes: number,
  fill: (fs: Filesystem) => Promise<void>,
): Promise<Made> {
  const directory = join(place.memory, 'grown');
  const meta = join(place.disk, 'grown');
  await mkdir(directory);
  const image = join(directory, 'image');
  const file = await open(image, 'wx');
  await file.truncate(bytes);
  await file.close();
  const device = await openDevice(image, { writable: true, lock: true });
  const store = await openLevelStore(meta, { create: true });
  await formatFilesystem({ device, store, uuid: newUuid(), label: 'growth', volatile: false, uid: 0, gid: 0 });
  const fs = await openFilesystem({ device, store });
  try {
    await fill(fs);
  } finally {
    await fs.close();
  }
  const remove = async (): Promise<void> => {
    await rm(directory, { recursive: true });
    await rm(meta, { recursive: true });
  };
  return { image, meta, remove };
}

/** Files of one block each, a thousand in each directory. The blocks are reserved, not written: the image stays small. */
export async function manyFiles({ vfs }: Filesystem, count: number): Promise<void> {
  let parent = vfs.rootIno;
  for (let i = 0; i < count; i++) {
    if (i % filesPerDirectory === 0) {
      const name = nameFromText(`d${numbered(i / filesPerDirectory)}`);
      parent = (await vfs.mkdir(vfs.rootIno, name, 0o755, by)).ino;
    }
    const { handle } = await vfs.create(parent, nameFromText(`f${numbered(i)}`), 0o644, 2, by);
    await vfs.fallocate(handle, 'allocate', 0, bs, by);
    await vfs.release(handle);
    if (i % perTurn === 0) await turn();
  }
}

/** The file `random` of `blocks` written blocks in `extents` extents: others lie between those. */
export async function manyExtents({ vfs }: Filesystem, blocks: number, extents: number): Promise<void> {
  const random = await newFile('random');
  const between = await newFile('between');
  const each = Math.ceil(blocks / extents);
  const data = Buffer.alloc(each * bs, 0x5a);
  for (let extent = 0; extent < extents; extent++) {
    const at = extent * each;
    await vfs.write(random, at * bs, data.subarray(0, Math.min(each, blocks - at) * bs), by);
    await vfs.fallocate(between, 'allocate', extent * bs, bs, by);
    if (extent % perTurn === 0) await turn();
  }

  async function newFile(name: string): Promise<Handle> {
    return (await vfs.create(vfs.rootIno, nameFromText(name), 0o644, 2, by)).handle;
  }
}

function numbered(i: number): string {
  return String(i).padStart(7, '0');
}
