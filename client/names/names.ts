import { constants } from 'node:fs';
import { nameFromBytes, nameToText } from '../../fs/name.ts';
import type { Attr, MappedExtent, SetAttr } from '../../fs/vfs.ts';
import { busAddressFromWire, createKind, operations, renameModes, setAttrToWire } from '../../mds/protocol/index.ts';
import { ClientError } from '../errors.ts';
import { clientLimits } from '../limits.ts';
import type { OpenFiles } from '../open-files.ts';
import type { Limits } from '../operation.ts';
import type { Paths } from '../paths.ts';
import type { Session } from '../session.ts';
import { isType } from '../stats.ts';
import { Dirent } from './dirent.ts';

/** As node's fs.StatFs, without its `type`. Blocks are of `bsize` bytes. */
export interface FilesystemStats {
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  /** For those who are not root. */
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
  /** Bytes of the longest name. */
  readonly nameMax: number;
}

/** The place of a name: it need not exist. */
export interface NamedPlace {
  readonly parent: number;
  readonly name: Uint8Array;
}

/** What is done to a file by its path. Rejects with ClientError as the server says, and of `Paths.find`. */
export class Names {
  readonly #session: Session;
  readonly #paths: Paths;
  readonly #files: OpenFiles;

  constructor(session: Session, paths: Paths, files: OpenFiles) {
    this.#session = session;
    this.#paths = paths;
    this.#files = files;
  }

  /** What was written here and is not committed counts. */
  async stat(path: string, follow: boolean, limits: Limits): Promise<Attr> {
    const attr = await this.#paths.find(path, follow, limits);
    const inode = this.#files.find(attr.ino);
    return inode === undefined ? attr : { ...attr, size: Math.max(attr.size, inode.data.uncommittedEnd) };
  }

  async mkdir(path: string, mode: number, limits: Limits): Promise<void> {
    const { parent, name } = await this.named(path, 'EXIST', limits);
    await this.#session.call(operations.CREATE, [parent, name, [createKind.directory, mode]], limits);
  }

  /** The directory itself: its inode. @throws ClientError NOTDIR */
  async directory(path: string, limits: Limits): Promise<number> {
    const { ino, mode } = await this.#paths.find(path, true, limits);
    if (!isType(mode, constants.S_IFDIR)) throw new ClientError('NOTDIR', 'not a directory');
    return ino;
  }

  /** One READDIR, without '.' and '..'; `next` is undefined after the last. */
  async page(
    ino: number,
    path: string,
    cookie: number,
    limits: Limits,
  ): Promise<{ readonly entries: readonly Dirent[]; readonly next: number | undefined }> {
    const entries: Dirent[] = [];
    const asked: [number, number, number, boolean] = [ino, cookie, clientLimits.readdirPage, false];
    const [page, end] = await this.#session.call(operations.READDIR, asked, limits);
    for (const [nameBytes, entryIno, type] of page) {
      const name = nameToText(nameFromBytes(nameBytes));
      if (name !== '.' && name !== '..') entries.push(new Dirent(name, nameBytes, path, entryIno, type));
    }
    return { entries, next: end ? undefined : page.at(-1)?.[3] };
  }

  /** All of a directory. */
  async entries(ino: number, path: string, limits: Limits): Promise<Dirent[]> {
    const entries: Dirent[] = [];
    for (let cookie: number | undefined = 0; cookie !== undefined; ) {
      const page: Awaited<ReturnType<Names['page']>> = await this.page(ino, path, cookie, limits);
      entries.push(...page.entries);
      cookie = page.next;
    }
    return entries;
  }

  async rename(from: string, to: string, limits: Limits): Promise<void> {
    const source = await this.named(from, 'INVAL', limits);
    const target = await this.named(to, 'INVAL', limits);
    const mode = renameModes.indexOf('replace');
    await this.#session.call(operations.RENAME, [source.parent, source.name, target.parent, target.name, mode], limits);
  }

  async unlink(path: string, limits: Limits): Promise<void> {
    const { parent, name } = await this.named(path, 'ISDIR', limits);
    await this.#session.call(operations.REMOVE, [parent, name, false], limits);
  }

  async rmdir(path: string, limits: Limits): Promise<void> {
    const { parent, name } = await this.named(path, 'INVAL', limits);
    await this.#session.call(operations.REMOVE, [parent, name, true], limits);
  }

  async symlink(target: string, path: string, limits: Limits): Promise<void> {
    const { parent, name } = await this.named(path, 'EXIST', limits);
    const bytes = Buffer.from(target, 'utf8');
    if (bytes.length === 0) throw new ClientError('NOENT', 'an empty target');
    if (bytes.length >= clientLimits.pathMax) throw new ClientError('TOO_LONG', 'a target of 4096 bytes or more');
    await this.#session.call(operations.CREATE, [parent, name, [createKind.symlink, bytes]], limits);
  }

  async readlink(path: string, limits: Limits): Promise<string> {
    const { ino } = await this.#paths.find(path, false, limits);
    return await this.#paths.target(ino, limits);
  }

  async link(existing: string, path: string, limits: Limits): Promise<void> {
    const { ino } = await this.#paths.find(existing, false, limits);
    const { parent, name } = await this.named(path, 'EXIST', limits);
    await this.#session.call(operations.LINK, [ino, parent, name], limits);
  }

  /** Times that are set stay: what was written here before is committed first, and with it its own. */
  async setattr(path: string, follow: boolean, changes: SetAttr, limits: Limits): Promise<void> {
    const { ino } = await this.#paths.find(path, follow, limits);
    if (changes.mtime !== undefined) await this.#files.find(ino)?.commit();
    await this.#session.call(operations.SETATTR, [ino, null, setAttrToWire(changes)], limits);
  }

  /** access(2): of 4 read, 2 write, 1 execute. */
  async access(path: string, mask: number, limits: Limits): Promise<void> {
    const { ino } = await this.#paths.find(path, true, limits);
    if (mask !== 0) await this.#session.call(operations.ACCESS, [ino, mask], limits);
  }

  /** Follows all symbolic links: the path that leads there without any. */
  async realpath(path: string, limits: Limits): Promise<string> {
    return await this.#paths.real(path, limits);
  }

  async truncate(path: string, size: number, limits: Limits): Promise<void> {
    if (!Number.isSafeInteger(size) || size < 0) throw new ClientError('ARGUMENT', `size ${size}`);
    const { ino } = await this.#paths.find(path, true, limits);
    const inode = this.#files.find(ino);
    if (inode !== undefined) await inode.truncate(undefined, size);
    else await this.#session.call(operations.SETATTR, [ino, null, setAttrToWire({ size })], limits);
  }

  async map(path: string, limits: Limits): Promise<MappedExtent[]> {
    const { ino } = await this.#paths.find(path, true, limits);
    await this.#files.find(ino)?.commit();
    const extents: MappedExtent[] = [];
    for (let from = 0, last = false; !last; ) {
      const [page, end] = await this.#session.call(operations.MAP, [ino, from], limits);
      for (const [offset, length, device, storageOffset, address, unwritten, shares] of page) {
        const busAddress = busAddressFromWire(address);
        extents.push({ offset, length, device, storageOffset, busAddress, unwritten, shares });
        from = offset + length;
      }
      last = end || page.length === 0;
    }
    return extents;
  }

  async statfs(path: string | undefined, limits: Limits): Promise<FilesystemStats> {
    const ino = path === undefined ? null : (await this.#paths.find(path, true, limits)).ino;
    const [bsize, blocks, bfree, bavail, files, ffree, nameMax] = await this.#session.call(
      operations.STATFS,
      [ino],
      limits,
    );
    return { bsize, blocks, bfree, bavail, files, ffree, nameMax };
  }

  /** The place of a path that must end in a name. @throws ClientError `otherwise` */
  async named(path: string, otherwise: 'EXIST' | 'INVAL' | 'ISDIR', limits: Limits): Promise<NamedPlace> {
    const { parent, name } = await this.#paths.place(path, limits);
    if (name === undefined) throw new ClientError(otherwise, `${path} ends in no name`);
    return { parent, name };
  }
}
