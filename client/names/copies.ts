import { constants } from 'node:fs';
import type { Attr } from '../../fs/vfs.ts';
import { createKind, operations } from '../../mds/protocol/index.ts';
import { ClientError } from '../errors.ts';
import { clientLimits } from '../limits.ts';
import type { OpenFiles } from '../open-files.ts';
import { parseFlags } from '../open-flags.ts';
import type { Opened, Opening } from '../opening.ts';
import type { Limits } from '../operation.ts';
import type { Paths } from '../paths.ts';
import type { Session } from '../session.ts';
import type { Names } from './names.ts';

/** Copies that the server makes, on the same blocks where they can be shared. */
export class Copies {
  readonly #session: Session;
  readonly #paths: Paths;
  readonly #files: OpenFiles;
  readonly #names: Names;
  readonly #opening: Opening;

  constructor(session: Session, paths: Paths, files: OpenFiles, names: Names, opening: Opening) {
    this.#session = session;
    this.#paths = paths;
    this.#files = files;
    this.#names = names;
    this.#opening = opening;
  }

  async clone(from: string, to: string, limits: Limits): Promise<void> {
    const { ino } = await this.#paths.find(from, true, limits);
    const { parent, name } = await this.#names.named(to, 'EXIST', limits);
    await this.#files.find(ino)?.commit();
    await this.#session.call(operations.CLONE, [ino, parent, name], limits);
  }

  async cloneTree(from: string, to: string, limits: Limits): Promise<void> {
    const { ino } = await this.#paths.find(from, true, limits);
    const { parent, name } = await this.#names.named(to, 'EXIST', limits);
    await this.#session.call(operations.CLONE_TREE, [ino, parent, name], patient(limits));
  }

  async snapshot(directory: string, name: string, limits: Limits): Promise<void> {
    const { parent, name: last } = await this.#names.named(`${directory}/.snapshots/${name}`, 'EXIST', limits);
    await this.#session.call(operations.CREATE, [parent, last, [createKind.directory, 0o755]], patient(limits));
  }

  /** A new file is a clone; one that is there keeps its inode, owner and mode and gets the content. */
  async copyFile(from: string, to: string, mode: number, limits: Limits): Promise<void> {
    const { COPYFILE_EXCL, COPYFILE_FICLONE, COPYFILE_FICLONE_FORCE } = constants;
    if ((mode & ~(COPYFILE_EXCL | COPYFILE_FICLONE | COPYFILE_FICLONE_FORCE)) !== 0) {
      throw new ClientError('ARGUMENT', `mode ${mode} of copyFile`);
    }
    if (await this.#isNew(to, limits)) {
      try {
        await this.clone(from, to, limits);
        return;
      } catch (error) {
        if (!isExist(error) || (mode & COPYFILE_EXCL) !== 0) throw error;
      }
    } else if ((mode & COPYFILE_EXCL) !== 0) throw new ClientError('EXIST', `${to} is there already`);
    await this.#overwrite(from, to, limits);
  }

  async #isNew(path: string, limits: Limits): Promise<boolean> {
    try {
      await this.#paths.find(path, true, limits);
      return false;
    } catch (error) {
      if (error instanceof ClientError && error.status === 'NOENT') return true;
      throw error;
    }
  }

  async #overwrite(from: string, to: string, limits: Limits): Promise<void> {
    const source = await this.#opening.open(from, parseFlags('r'), 0, limits);
    try {
      const target = await this.#paths.find(to, true, limits);
      if (target.ino === source.attr.ino) return;
      await this.#files.find(source.attr.ino)?.commit();
      const { ino, size } = { ...source.attr, ...(await this.#names.stat(from, true, limits)) };
      if (ino !== source.attr.ino) throw new ClientError('STALE', `${from} was replaced meanwhile`);
      await this.#copyInto(source, size, to, target, limits);
    } finally {
      await source.open.close();
    }
  }

  /** What this client has of the target is committed and given back before it is cut. */
  async #copyInto(source: Opened, size: number, to: string, { ino }: Attr, limits: Limits): Promise<void> {
    const here = this.#files.find(ino);
    await here?.truncate(undefined, 0);
    const target = await this.#opening.open(to, parseFlags('w'), 0, limits);
    try {
      for (let done = 0; done < size; ) {
        limits.signal?.throwIfAborted();
        const stateids = [await source.open.stateid(), await target.open.stateid()] as const;
        const [count] = await this.#session.call(operations.COPY, [stateids[0], done, stateids[1], done, size - done], {
          ...limits,
          stateful: true,
        });
        if (count === 0) break;
        done += count;
      }
    } finally {
      here?.data.doubtSize();
      await target.open.close();
    }
  }
}

function isExist(error: unknown): boolean {
  return error instanceof ClientError && error.status === 'EXIST';
}

/** Of a whole tree: one request that may take hours. */
function patient({ signal, timeoutMs = clientLimits.treeCopyTimeoutMs }: Limits): Limits {
  return { signal, timeoutMs };
}
