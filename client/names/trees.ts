import { randomInt } from 'node:crypto';
import { operations } from '../../mds/protocol/index.ts';
import { ClientError, type ClientStatus } from '../errors.ts';
import { clientLimits } from '../limits.ts';
import type { Limits } from '../operation.ts';
import type { Session } from '../session.ts';
import type { Dirent } from './dirent.ts';
import type { Names } from './names.ts';

/** What takes more than one name: whole trees, and directories made on the way. */
export class Trees {
  readonly #session: Session;
  readonly #names: Names;

  constructor(session: Session, names: Names) {
    this.#session = session;
    this.#names = names;
  }

  /** mkdir -p. Answers the first directory that was made, undefined if all were there. @throws ClientError NOTDIR, EXIST */
  async mkdir(path: string, mode: number, limits: Limits): Promise<string | undefined> {
    const parts = path.split('/').filter((part) => part !== '');
    const start = path.startsWith('/') ? '/' : '';
    let first: string | undefined;
    for (let length = 1; length <= parts.length; length++) {
      const prefix = start + parts.slice(0, length).join('/');
      const name = parts[length - 1];
      if (name === '.' || name === '..') continue;
      if (await succeeds('EXIST', this.#names.mkdir(prefix, mode, limits))) first ??= prefix;
      else await this.#requireDirectory(prefix, length === parts.length, limits);
    }
    return first;
  }

  async #requireDirectory(path: string, isLast: boolean, limits: Limits): Promise<void> {
    try {
      await this.#names.directory(path, limits);
    } catch (error) {
      if (isLast && isStatus(error, 'NOTDIR')) throw new ClientError('EXIST', 'there, and not a directory');
      throw error;
    }
  }

  /** A directory of its own name: `prefix` and six characters. */
  async mkdtemp(prefix: string, limits: Limits): Promise<string> {
    for (let tries = 0; tries < clientLimits.temporaryNamesMax; tries++) {
      const path = prefix + Array.from({ length: 6 }, () => letters[randomInt(letters.length)]).join('');
      if (await succeeds('EXIST', this.#names.mkdir(path, 0o700, limits))) return path;
    }
    throw new ClientError('EXIST', `${clientLimits.temporaryNamesMax} names were taken`);
  }

  /** All below `path`, directories before what they hold. Symbolic links are not followed. */
  async list(path: string, limits: Limits): Promise<Dirent[]> {
    const found: Dirent[] = [];
    const todo = [{ ino: await this.#names.directory(path, limits), path }];
    for (let next = todo.shift(); next !== undefined; next = todo.shift()) {
      const entries = await this.#entries(next, limits);
      found.push(...entries);
      for (const entry of entries) {
        if (entry.isDirectory()) todo.push({ ino: entry.ino, path: below(next.path, entry.name) });
      }
    }
    return found;
  }

  /** A directory that somebody removed meanwhile is empty. */
  async #entries({ ino, path }: { readonly ino: number; readonly path: string }, limits: Limits): Promise<Dirent[]> {
    try {
      return await this.#names.entries(ino, path, limits);
    } catch (error) {
      if (isStatus(error, 'NOENT') || isStatus(error, 'STALE')) return [];
      throw error;
    }
  }

  /** rm, with -r and -f as asked for. @throws ClientError ISDIR, NOENT, NOTEMPTY (others fill it meanwhile) */
  async rm(path: string, recursive: boolean, force: boolean, limits: Limits): Promise<void> {
    try {
      const place = await this.#names.named(path, 'INVAL', limits);
      const attr = await this.#names.stat(path, false, limits);
      await this.#remove(
        place.parent,
        place.name,
        attr.ino,
        (attr.mode & typeMask) === directoryType,
        recursive,
        limits,
      );
    } catch (error) {
      if (!(force && isStatus(error, 'NOENT'))) throw error;
    }
  }

  async #remove(
    parent: number,
    name: Uint8Array,
    ino: number,
    isDirectory: boolean,
    recursive: boolean,
    limits: Limits,
  ): Promise<void> {
    if (isDirectory) {
      if (!recursive) throw new ClientError('ISDIR', 'a directory: recursive was not asked for');
      await this.#clear(ino, limits);
    }
    await this.#session.call(operations.REMOVE, [parent, name, isDirectory], limits);
  }

  /** Files of a directory several at once, directories one after the other. */
  async #clear(ino: number, limits: Limits): Promise<void> {
    const entries = await this.#names.entries(ino, '', limits);
    const directories = entries.filter((entry) => entry.isDirectory());
    const files = entries.filter((entry) => !entry.isDirectory());
    for (let at = 0; at < files.length; at += clientLimits.removesAtOnce) {
      const some = files.slice(at, at + clientLimits.removesAtOnce);
      await Promise.all(some.map((entry) => this.#removeEntry(ino, entry, limits)));
    }
    for (const entry of directories) await this.#removeEntry(ino, entry, limits);
  }

  /** What somebody else removed meanwhile is gone, as asked for. */
  async #removeEntry(parent: number, entry: Dirent, limits: Limits): Promise<void> {
    const removed = this.#remove(parent, entry.nameBytes, entry.ino, entry.isDirectory(), true, limits);
    await succeeds('NOENT', removed);
  }
}

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

const typeMask = 0o170000;
const directoryType = 0o040000;

export function below(path: string, name: string): string {
  return path === '' || path.endsWith('/') ? path + name : `${path}/${name}`;
}

function isStatus(error: unknown, status: ClientStatus): boolean {
  return error instanceof ClientError && error.status === status;
}

/** false: it failed with `status`. @throws ClientError any other */
async function succeeds(status: ClientStatus, work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (isStatus(error, status)) return false;
    throw error;
  }
}
