import { constants } from 'node:fs';
import { FsError } from '../fs/errors.ts';
import { nameFromText, nameToBytes } from '../fs/name.ts';
import type { Attr } from '../fs/vfs.ts';
import { attrFromWire, operations } from '../mds/protocol/index.ts';
import type { CallOptions } from './call.ts';
import { ClientError } from './errors.ts';
import { clientLimits } from './limits.ts';
import type { Session } from './session.ts';
import { isType } from './stats.ts';

/** The last component of a path and the directory that it stands in. */
export interface Place {
  readonly parent: number;
  /** undefined: the path ends in the directory itself ('/', 'a/..'). */
  readonly name: Uint8Array | undefined;
  /** The path ended in '/': only a directory will do. */
  readonly directory: boolean;
}

/**
 * Walks paths component by component from the root of the filesystem (path_resolution(7)). There is no current directory:
 * 'a' and '/a' are the same, and an absolute symbolic link starts at the filesystem's own root.
 */
export class Paths {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** The inode that `path` names. @throws ClientError NOENT, NOTDIR, ACCESS, LOOP, TOO_LONG, ARGUMENT */
  async find(path: string, follow: boolean, options: CallOptions): Promise<Attr> {
    return await this.#walk(split(path), follow, { left: clientLimits.symlinksMax }, options);
  }

  /** Where the last component of `path` stands; it need not exist and is not followed. @throws as `find` */
  async place(path: string, options: CallOptions): Promise<Place> {
    const { components, directory } = split(path);
    const last = components.at(-1);
    const named = last !== undefined && last !== '.' && last !== '..';
    const above = { components: named ? components.slice(0, -1) : components, directory: true };
    const parent = await this.#walk(above, true, { left: clientLimits.symlinksMax }, options);
    return { parent: parent.ino, name: named ? bytesOf(last) : undefined, directory };
  }

  /** The symlink at `place` leads to another place. @throws as `find` */
  async target(ino: number, options: CallOptions): Promise<string> {
    const [target] = await this.#session.call(operations.READLINK, [ino], options);
    return Buffer.from(target).toString('utf8');
  }

  async lookup(parent: number, name: Uint8Array, options: CallOptions): Promise<Attr> {
    const [attr] = await this.#session.call(operations.LOOKUP, [parent, name], options);
    return attrFromWire(attr);
  }

  /** `path` without symbolic links, '.' and '..' (realpath(3)). @throws as `find` */
  async real(path: string, options: CallOptions): Promise<string> {
    const { components, directory } = split(path);
    const todo = components.toReversed();
    const root = { name: '', attr: await this.#getattr(this.#session.server.rootIno, options) };
    const above = [root];
    for (let links = 0, next = todo.pop(); next !== undefined; next = todo.pop()) {
      const at = above.at(-1) ?? root;
      if (next === '.') continue;
      if (next === '..') {
        if (above.length > 1) above.pop();
        continue;
      }
      const attr = await this.lookup(at.attr.ino, bytesOf(next), options);
      if (!isType(attr.mode, constants.S_IFLNK)) {
        above.push({ name: next, attr });
        continue;
      }
      links += 1;
      if (links > clientLimits.symlinksMax) throw loop();
      const target = await this.target(attr.ino, options);
      if (target.startsWith('/')) above.splice(1);
      todo.push(...split(target).components.toReversed());
    }
    const found = above.at(-1) ?? root;
    if (directory && !isType(found.attr.mode, constants.S_IFDIR)) throw new ClientError('NOTDIR', 'not a directory');
    return `/${above
      .slice(1)
      .map(({ name }) => name)
      .join('/')}`;
  }

  async #walk(
    { components, directory }: Split,
    follow: boolean,
    links: { left: number },
    options: CallOptions,
    from?: Attr,
  ): Promise<Attr> {
    let at = from ?? (await this.#getattr(this.#session.server.rootIno, options));
    for (const [index, component] of components.entries()) {
      if (component === '.') continue;
      const above = at;
      if (component === '..') {
        const [attr] = await this.#session.call(operations.LOOKUPP, [at.ino], options);
        at = attrFromWire(attr);
        continue;
      }
      at = await this.lookup(at.ino, bytesOf(component), options);
      const last = index === components.length - 1;
      if (!isType(at.mode, constants.S_IFLNK) || (last && !follow && !directory)) continue;
      if (links.left === 0) throw loop();
      links.left -= 1;
      const target = await this.target(at.ino, options);
      if (target === '') throw new ClientError('NOENT', 'an empty symbolic link');
      at = await this.#walk(split(target), true, links, options, target.startsWith('/') ? undefined : above);
    }
    if (directory && !isType(at.mode, constants.S_IFDIR)) throw new ClientError('NOTDIR', 'not a directory');
    return at;
  }

  async #getattr(ino: number, options: CallOptions): Promise<Attr> {
    const [attr] = await this.#session.call(operations.GETATTR, [ino], options);
    return attrFromWire(attr);
  }
}

function loop(): ClientError {
  return new ClientError('LOOP', `more than ${clientLimits.symlinksMax} symbolic links`);
}

interface Split {
  readonly components: readonly string[];
  readonly directory: boolean;
}

/** Joins the directory of `base` with a symlink's target. */
export function relativeTo(base: string, target: string): string {
  if (target.startsWith('/')) return target;
  const { components } = split(base);
  return [...components.slice(0, -1), target].join('/');
}

function split(path: string): Split {
  if (path === '') throw new ClientError('NOENT', 'an empty path');
  if (path.includes('\0')) throw new ClientError('ARGUMENT', 'a NUL in a path');
  if (Buffer.byteLength(path) >= clientLimits.pathMax)
    throw new ClientError('TOO_LONG', 'a path of 4096 bytes or more');
  return { components: path.split('/').filter((component) => component !== ''), directory: path.endsWith('/') };
}

function bytesOf(component: string): Uint8Array {
  try {
    return nameToBytes(nameFromText(component));
  } catch (error) {
    if (error instanceof FsError && error.code === 'ENAMETOOLONG') throw new ClientError('TOO_LONG', component);
    throw error;
  }
}
