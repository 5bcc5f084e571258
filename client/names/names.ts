import { nameFromBytes, nameToText } from '../../fs/name.ts';
import type { Attr, MappedExtent } from '../../fs/vfs.ts';
import {
  attrFromWire,
  busAddressFromWire,
  createKind,
  operations,
  renameModes,
  setAttrToWire,
} from '../../mds/protocol/index.ts';
import { ClientError } from '../errors.ts';
import { clientLimits } from '../limits.ts';
import type { OpenFiles } from '../open-files.ts';
import type { Limits } from '../operation.ts';
import type { Paths } from '../paths.ts';
import type { Session } from '../session.ts';

/** One entry of a directory. */
export interface DirectoryEntry {
  readonly name: string;
  /** Names that are not UTF-8 are exact only here. */
  readonly nameBytes: Uint8Array;
  readonly ino: number;
  /** Type bits of st_mode (S_IFMT). */
  readonly type: number;
}

/** The place of a name: it need not exist. */
interface NamedPlace {
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
    const { parent, name } = await this.#named(path, 'EXIST', limits);
    await this.#session.call(operations.CREATE, [parent, name, [createKind.directory, mode]], limits);
  }

  /** Without '.' and '..'. */
  async readdir(path: string, limits: Limits): Promise<DirectoryEntry[]> {
    const { ino } = await this.#paths.find(path, true, limits);
    const entries: DirectoryEntry[] = [];
    for (let cookie = 0, last = false; !last; ) {
      const [page, end] = await this.#session.call(
        operations.READDIR,
        [ino, cookie, clientLimits.readdirPage, false],
        limits,
      );
      for (const [nameBytes, entryIno, type, next] of page) {
        cookie = next;
        const name = nameToText(nameFromBytes(nameBytes));
        if (name !== '.' && name !== '..') entries.push({ name, nameBytes, ino: entryIno, type });
      }
      last = end || page.length === 0;
    }
    return entries;
  }

  async rename(from: string, to: string, limits: Limits): Promise<void> {
    const source = await this.#named(from, 'INVAL', limits);
    const target = await this.#named(to, 'INVAL', limits);
    const mode = renameModes.indexOf('replace');
    await this.#session.call(operations.RENAME, [source.parent, source.name, target.parent, target.name, mode], limits);
  }

  async unlink(path: string, limits: Limits): Promise<void> {
    const { parent, name } = await this.#named(path, 'ISDIR', limits);
    await this.#session.call(operations.REMOVE, [parent, name, false], limits);
  }

  async rmdir(path: string, limits: Limits): Promise<void> {
    const { parent, name } = await this.#named(path, 'INVAL', limits);
    await this.#session.call(operations.REMOVE, [parent, name, true], limits);
  }

  async symlink(target: string, path: string, limits: Limits): Promise<void> {
    const { parent, name } = await this.#named(path, 'EXIST', limits);
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
    const { parent, name } = await this.#named(path, 'EXIST', limits);
    await this.#session.call(operations.LINK, [ino, parent, name], limits);
  }

  async truncate(path: string, size: number, limits: Limits): Promise<void> {
    if (!Number.isSafeInteger(size) || size < 0) throw new ClientError('ARGUMENT', `size ${size}`);
    const { ino } = await this.#paths.find(path, true, limits);
    const inode = this.#files.find(ino);
    if (inode !== undefined) await inode.truncate(undefined, size);
    else await this.#session.call(operations.SETATTR, [ino, null, setAttrToWire({ size })], limits);
  }

  async clone(from: string, to: string, limits: Limits): Promise<Attr> {
    const { ino } = await this.#paths.find(from, true, limits);
    const { parent, name } = await this.#named(to, 'EXIST', limits);
    await this.#files.find(ino)?.commit();
    const [attr] = await this.#session.call(operations.CLONE, [ino, parent, name], limits);
    return attrFromWire(attr);
  }

  async cloneTree(from: string, to: string, limits: Limits): Promise<void> {
    const { ino } = await this.#paths.find(from, true, limits);
    const { parent, name } = await this.#named(to, 'EXIST', limits);
    await this.#session.call(operations.CLONE_TREE, [ino, parent, name], patient(limits));
  }

  async snapshot(directory: string, name: string, limits: Limits): Promise<void> {
    const { parent, name: last } = await this.#named(`${directory}/.snapshots/${name}`, 'EXIST', limits);
    await this.#session.call(operations.CREATE, [parent, last, [createKind.directory, 0o755]], patient(limits));
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

  /** The place of a path that must end in a name. @throws ClientError `otherwise` */
  async #named(path: string, otherwise: 'EXIST' | 'INVAL' | 'ISDIR', limits: Limits): Promise<NamedPlace> {
    const { parent, name } = await this.#paths.place(path, limits);
    if (name === undefined) throw new ClientError(otherwise, `${path} ends in no name`);
    return { parent, name };
  }
}

/** Of a whole tree: one request that may take hours. */
function patient({ signal, timeoutMs = clientLimits.treeCopyTimeoutMs }: Limits): Limits {
  return { signal, timeoutMs };
}
