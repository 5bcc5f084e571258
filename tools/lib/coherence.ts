/**
 * What peers change through the metadata server, or on the blocks themselves, and what the kernel of the mount has
 * cached of it: local readers see the data of a peer no later than its commit, and what local programs store through a
 * mapping never overwrites it. So the server and the mount each get the filesystem in a wrapping of their own, and both
 * meet in `KernelCaches`. docs/coherence.md says what a program can rely on.
 */
import { constants } from 'node:fs';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import type { ByteRange, LayoutBackend } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import { isSnapshotsIno } from '../../fs/format/snapshots.ts';
import type { Name } from '../../fs/name.ts';
import { after } from '../../fs/reply.ts';
import type { Caller, FallocateMode, Handle, Reply, Vfs } from '../../fs/vfs.ts';
import { forwardVfs } from './forward-vfs.ts';
import type { KernelCaches } from './kernel-caches.ts';

/** Among the flags of open(2), on every Linux; node's table lacks it. */
const O_ACCMODE = 3;

const wholeFile: ByteRange = { offset: 0, length: Infinity };

/** The filesystem as the metadata server gets it. */
export function withCoherence(fs: Filesystem, caches: KernelCaches): Filesystem {
  fs.onNameRemoved(async (parent, name, ino) => {
    await Promise.all([caches.gone(parent, name), caches.attributes(parent), caches.attributes(ino)]);
  });
  fs.onAccessed((ino) => void caches.attributes(ino));
  return {
    vfs: peersVfs(fs.vfs, caches),
    layouts: coherentLayouts(fs.layouts, caches),
    device: fs.device,
    uuid: fs.uuid,
    generation: fs.generation,
    setLeases: (leases) => fs.setLeases(caches.guard(leases)),
    map: (ino) => fs.map(ino),
    cloneFile: async (ino, parent, name, by) => {
      await caches.writeBack(ino); // as ioctl_ficlone(2) does
      const attr = await fs.cloneFile(ino, parent, name, by);
      await Promise.all([caches.attributes(ino), caches.attributes(parent), caches.name(parent, name)]);
      return attr;
    },
    cloneTree: async (ino, parent, name, by) => {
      await caches.writeBackAll();
      const attr = await fs.cloneTree(ino, parent, name, by);
      await Promise.all([caches.attributes(parent), caches.name(parent, name)]);
      return attr;
    },
    // Its pages are of the blocks that it leaves.
    pin: async (ino, size, align, by) => {
      await caches.change(ino, wholeFile, () => fs.pin(ino, size, align, by));
      await caches.attributes(ino);
    },
    unpin: async (ino, by) => {
      await fs.unpin(ino, by);
      await caches.attributes(ino);
    },
    isPinned: (ino) => fs.isPinned(ino),
    setReserve: (reserve) => fs.setReserve(reserve),
    setQuota: (ino, bytesMax, inodesMax) => fs.setQuota(ino, bytesMax, inodesMax),
    removeQuota: (ino) => fs.removeQuota(ino),
    quotas: (ino) => fs.quotas(ino),
    onNameRemoved: (listener) => fs.onNameRemoved(listener),
    onAccessed: (listener) => fs.onAccessed(listener),
    status: () => fs.status(),
    fragmentation: () => fs.fragmentation(),
    startJob: (request) => fs.startJob(request),
    job: () => fs.job(),
    cancelJob: (id) => fs.cancelJob(id),
    clientRecords: () => fs.clientRecords(),
    newClientId: () => fs.newClientId(),
    putClient: (record) => fs.putClient(record),
    removeClient: (clientId) => fs.removeClient(clientId),
    quarantined: () => fs.quarantined(),
    close: () => fs.close(),
  };
}

/** The filesystem as the mount gets it. */
export function mountedVfs(vfs: Vfs, caches: KernelCaches): Vfs {
  const files = new Files<MountedFile>(vfs, (ino, flags) => {
    const isWritten = (flags & O_ACCMODE) !== constants.O_RDONLY;
    if (isWritten) caches.opened(ino);
    const closed = (): void => {
      if (isWritten) caches.released(ino);
    };
    return { ino, closed };
  });
  return {
    ...forwardVfs(vfs),
    ...files.operations,
    release: (handle) => {
      files.find(handle)?.closed();
      return files.operations.release(handle);
    },
    mkdir: (parent, name, mode, by) => afterWriteBack(parent, caches, () => vfs.mkdir(parent, name, mode, by)),
    read: (handle, offset, length, by, use) => {
      const serve = () => vfs.read(handle, offset, length, by, use);
      const ino = files.find(handle)?.ino;
      return ino === undefined ? serve() : caches.fill(ino, { offset, length }, serve);
    },
    write: (handle, offset, data, by, at) => {
      const serve = () => vfs.write(handle, offset, data, by, at);
      const ino = files.find(handle)?.ino;
      return ino === undefined ? serve() : caches.store(ino, { offset, length: data.byteLength }, serve);
    },
    // What is appended may land behind the end that the kernel knows.
    writePastPages: (handle, offset, data, by, at) => {
      const serve = () => vfs.write(handle, offset, data, by, at);
      const ino = files.find(handle)?.ino;
      const length = at === 'as-opened' ? Infinity : data.byteLength;
      return ino === undefined ? serve() : caches.overwrite(ino, { offset, length }, serve);
    },
  };
}

function coherentLayouts(layouts: LayoutBackend, caches: KernelCaches): LayoutBackend {
  return {
    reach: (ino, range, extentsMax) => layouts.reach(ino, range, extentsMax),
    mapForRead: (ino, range, client) => layouts.mapForRead(ino, range, client),
    mapForWrite: (ino, range, client) =>
      after(caches.clean(ino, range), () =>
        after(layouts.mapForWrite(ino, range, client), (extents) =>
          // It may have lost its set-user-ID.
          after(caches.attributes(ino), () => extents),
        ),
      ),
    provideBuffers: (request, client) => layouts.provideBuffers(request, client),
    // No page of what is held for writing is cached (C1), so the size and the times are all there is to tell.
    commitLayout: async (ino, request, client) => {
      const answer = await layouts.commitLayout(ino, request, client);
      await caches.attributes(ino);
      return answer;
    },
    // While it could write the file nothing filled pages of it (`Grace.covers`).
    reclaimLayout: async (ino, request, formers) => {
      const answer = await layouts.reclaimLayout(ino, request, formers);
      if (answer !== undefined) await caches.attributes(ino);
      return answer;
    },
    granted: (client) => layouts.granted(client),
    forgetGrant: (ino, client) => layouts.forgetGrant(ino, client),
    releaseProvisional: (ino, range, client) => layouts.releaseProvisional(ino, range, client),
    quarantine: (client, segments) => layouts.quarantine(client, segments),
    quarantineFormer: (clients) => layouts.quarantineFormer(clients),
    held: (client) => layouts.held(client),
    releaseQuarantine: (client) => layouts.releaseQuarantine(client),
  };
}

function peersVfs(vfs: Vfs, caches: KernelCaches): Vfs {
  const files = new Files<PeerFile>(vfs, (ino, flags) => ({ ino, appends: (flags & constants.O_APPEND) !== 0 }));

  /** Runs what changes bytes of a file, and its size and times. */
  const change = async <T>(ino: number, range: ByteRange, operation: () => Reply<T>): Promise<T> => {
    const value = await caches.change(ino, range, operation);
    await caches.attributes(ino);
    return value;
  };
  /** Runs what makes, moves or removes `names`; `inodes` are those whose links or times change with them. */
  const rename = async <T>(
    names: readonly (readonly [parent: number, name: Name])[],
    inodes: readonly (number | undefined)[],
    operation: () => Reply<T>,
    how: 'changed' | 'gone' = 'changed',
  ): Promise<T> => {
    const value = await operation();
    const touched = new Set([...names.map(([parent]) => parent), ...inodes]);
    await Promise.all([
      ...names.map(([parent, name]) => (how === 'gone' ? caches.gone(parent, name) : caches.name(parent, name))),
      ...[...touched].map((ino) => (ino === undefined ? undefined : caches.attributes(ino))),
    ]);
    return value;
  };
  const target = async (parent: number, name: Name, by: Caller): Promise<number | undefined> => {
    try {
      return (await vfs.lookup(parent, name, by)).ino;
    } catch (error) {
      if (error instanceof FsError) return undefined; // the operation itself will say why
      throw error;
    }
  };

  return {
    ...forwardVfs(vfs),
    ...files.operations,
    open: (ino, flags, by) =>
      (flags & constants.O_TRUNC) === 0
        ? files.operations.open(ino, flags, by)
        : change(ino, wholeFile, () => files.operations.open(ino, flags, by)),
    setattr: async (ino, changes, by, handle) => {
      const set = () => vfs.setattr(ino, changes, by, handle);
      if (changes.size !== undefined) return change(ino, { offset: changes.size, length: Infinity }, set);
      const attr = await set();
      await caches.attributes(ino);
      return attr;
    },
    write: async (handle, offset, data, by) => {
      const write = () => vfs.write(handle, offset, data, by);
      const file = files.find(handle);
      if (file === undefined) return write();
      if (!file.appends) return change(file.ino, { offset, length: data.byteLength }, write);
      const { size } = await vfs.getattr(file.ino, by);
      return change(file.ino, { offset: size, length: Infinity }, write);
    },
    fallocate: async (handle, mode, offset, length, by) => {
      const file = files.find(handle);
      const allocate = () => vfs.fallocate(handle, mode, offset, length, by);
      return file === undefined ? allocate() : change(file.ino, reachOf(mode, offset, length), allocate);
    },
    copyRange: async (from, fromOffset, to, toOffset, length, by) => {
      const copy = () => vfs.copyRange(from, fromOffset, to, toOffset, length, by);
      const [source, file] = [files.find(from), files.find(to)];
      if (source !== undefined && source.ino !== file?.ino) await caches.writeBack(source.ino);
      return file === undefined ? copy() : change(file.ino, { offset: toOffset, length }, copy);
    },
    setxattr: async (ino, name, value, mode, by) => {
      await vfs.setxattr(ino, name, value, mode, by);
      await caches.attributes(ino);
    },
    removexattr: async (ino, name, by) => {
      await vfs.removexattr(ino, name, by);
      await caches.attributes(ino);
    },

    create: (parent, name, mode, flags, by) =>
      rename([[parent, name]], [], () => files.operations.create(parent, name, mode, flags, by)),
    mkdir: (parent, name, mode, by) =>
      rename([[parent, name]], [], () => afterWriteBack(parent, caches, () => vfs.mkdir(parent, name, mode, by))),
    mknod: (parent, name, mode, rdev, by) =>
      rename([[parent, name]], [], () => vfs.mknod(parent, name, mode, rdev, by)),
    symlink: (parent, name, to, by) => rename([[parent, name]], [], () => vfs.symlink(parent, name, to, by)),
    link: (ino, parent, name, by) => rename([[parent, name]], [ino], () => vfs.link(ino, parent, name, by)),
    unlink: async (parent, name, by) =>
      rename([[parent, name]], [await target(parent, name, by)], () => vfs.unlink(parent, name, by), 'gone'),
    rmdir: async (parent, name, by) =>
      rename([[parent, name]], [await target(parent, name, by)], () => vfs.rmdir(parent, name, by), 'gone'),
    rename: async (parent, name, toParent, toName, mode, by) => {
      const inodes = await Promise.all([target(parent, name, by), target(toParent, toName, by)]);
      const names = [[parent, name] as const, [toParent, toName] as const];
      return rename(names, inodes, () => vfs.rename(parent, name, toParent, toName, mode, by));
    },
  };
}

/** A snapshot has what programs stored through mappings (files.md): first that is written back, then the moment is taken. */
function afterWriteBack<T>(parent: number, caches: KernelCaches, make: () => Reply<T>): Reply<T> {
  return isSnapshotsIno(parent) ? caches.writeBackAll().then(make) : make();
}

interface MountedFile {
  readonly ino: number;
  readonly closed: () => void;
}

interface PeerFile {
  readonly ino: number;
  readonly appends: boolean;
}

/** Which file a handle is of. */
class Files<T> {
  /** Those of a `Vfs` that make and end handles. */
  readonly operations: Pick<Vfs, 'open' | 'create' | 'tmpfile' | 'release'>;
  readonly #files = new Map<Handle, T>();

  constructor(vfs: Vfs, file: (ino: number, flags: number) => T) {
    const opened = (handle: Handle, ino: number, flags: number): void => {
      this.#files.set(handle, file(ino, flags));
    };
    this.operations = {
      open: (ino, flags, by) => noting(vfs.open(ino, flags, by), (handle) => opened(handle, ino, flags)),
      create: (parent, name, mode, flags, by) =>
        noting(vfs.create(parent, name, mode, flags, by), ({ attr, handle }) => opened(handle, attr.ino, flags)),
      tmpfile: (parent, mode, flags, by) =>
        noting(vfs.tmpfile(parent, mode, flags, by), ({ attr, handle }) => opened(handle, attr.ino, flags)),
      release: (handle) => {
        this.#files.delete(handle);
        return vfs.release(handle);
      },
    };
  }

  find(handle: Handle): T | undefined {
    return this.#files.get(handle);
  }
}

/** The same answer, noted when it is there. */
function noting<T>(reply: Reply<T>, note: (value: T) => void): Reply<T> {
  return after(reply, (value) => {
    note(value);
    return value;
  });
}

/** Bytes that change: collapsing and inserting move all that follows. */
function reachOf(mode: FallocateMode, offset: number, length: number): ByteRange {
  return { offset, length: mode === 'collapse' || mode === 'insert' ? Infinity : length };
}
