import { constants } from 'node:fs';
import type { Attr } from '../fs/vfs.ts';
import {
  attrFromWire,
  openTarget,
  operations,
  type RequestOf,
  type WireAttr,
  type WireStateId,
} from '../mds/protocol/index.ts';
import type { CallOptions } from './call.ts';
import { ClientError } from './errors.ts';
import { clientLimits } from './limits.ts';
import type { ParsedFlags } from './open-flags.ts';
import { OpenState } from './open-state.ts';
import { type Paths, relativeTo } from './paths.ts';
import { type PinOptions, pinFile } from './pinning.ts';
import type { Session } from './session.ts';
import { isType } from './stats.ts';

type OpenTarget = RequestOf<typeof operations.OPEN>[0];

export interface Opened {
  readonly open: OpenState;
  readonly attr: Attr;
}

/** From a path and flags to an OPEN (open(2)): the server knows inodes and names, symbolic links are followed here. */
export class Opening {
  readonly #session: Session;
  readonly #paths: Paths;

  constructor(session: Session, paths: Paths) {
    this.#session = session;
    this.#paths = paths;
  }

  /** @throws ClientError NOENT, EXIST, ISDIR, ACCESS, LOOP… */
  async open(path: string, flags: ParsedFlags, mode: number, options: CallOptions, pin?: PinOptions): Promise<Opened> {
    let at = path;
    for (let links = 0; links <= clientLimits.symlinksMax; links++) {
      const opened = await this.#once(at, flags, mode, options);
      if (typeof opened !== 'string') return pin === undefined ? opened : await this.#pinned(opened, pin, options);
      if (flags.noFollow) throw new ClientError('LOOP', 'a symbolic link, and not to be followed');
      at = relativeTo(at, opened);
    }
    throw new ClientError('LOOP', `more than ${clientLimits.symlinksMax} symbolic links`);
  }

  async #pinned({ open, attr }: Opened, pin: PinOptions, options: CallOptions): Promise<Opened> {
    try {
      await pinFile(this.#session, attr.ino, pin, options);
      return { open, attr: { ...attr, size: pin.size ?? attr.size } };
    } catch (error) {
      await open.close();
      throw error;
    }
  }

  /** Opens what `path` names itself; the target if that is a symbolic link. */
  async #once(path: string, flags: ParsedFlags, mode: number, options: CallOptions): Promise<Opened | string> {
    const { parent, name, directory } = await this.#paths.place(path, options);
    if (name === undefined || directory) throw new ClientError('ISDIR', 'a directory cannot be opened');
    if (!flags.exclusive) {
      const found = await this.#lookup(parent, name, options);
      if (found !== undefined) return await this.#existing(found, flags, options);
      if (!flags.create) throw new ClientError('NOENT', 'no such file or directory');
    }
    const target: OpenTarget = [openTarget.create, parent, name, mode, flags.exclusive];
    const opened = await this.#send(target, flags, options);
    if (!isType(opened.attr.mode, constants.S_IFLNK)) return opened;
    // Somebody put a symbolic link there meanwhile.
    await opened.open.close();
    return await this.#paths.target(opened.attr.ino, options);
  }

  async #existing({ ino, mode }: Attr, flags: ParsedFlags, options: CallOptions): Promise<Opened | string> {
    if (isType(mode, constants.S_IFLNK)) return await this.#paths.target(ino, options);
    if (isType(mode, constants.S_IFDIR)) throw new ClientError('ISDIR', 'a directory cannot be opened');
    return await this.#send([openTarget.inode, ino], flags, options);
  }

  async #send(target: OpenTarget, flags: ParsedFlags, options: CallOptions): Promise<Opened> {
    const closeLate = ([stateid]: readonly [WireStateId, WireAttr]): void => {
      this.#session.call(operations.CLOSE, [stateid], { stateful: true }).catch(() => {
        // The end of the session closes it as well.
      });
    };
    const args: RequestOf<typeof operations.OPEN> = [target, flags.access, flags.truncate, flags.append];
    const [stateid, wire] = await this.#session.call(operations.OPEN, args, options, closeLate);
    const attr = attrFromWire(wire);
    return { open: new OpenState(this.#session, attr.ino, flags, stateid, this.#session.incarnation), attr };
  }

  async #lookup(parent: number, name: Uint8Array, options: CallOptions): Promise<Attr | undefined> {
    try {
      return await this.#paths.lookup(parent, name, options);
    } catch (error) {
      if (error instanceof ClientError && error.status === 'NOENT') return undefined;
      throw error;
    }
  }
}
