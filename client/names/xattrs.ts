import { operations, xattrModes } from '../../mds/protocol/index.ts';
import { bytesOf, type Data } from '../arguments.ts';
import { ClientError } from '../errors.ts';
import type { Limits } from '../operation.ts';
import type { Session } from '../session.ts';

/** Whether setxattr may create the attribute, replace it, or both (XATTR_CREATE, XATTR_REPLACE of setxattr(2)). */
export type XattrMode = 'either' | 'create' | 'replace';

/** Extended attributes of an inode (xattr(7)): names with their namespace, `user.origin`; values of any bytes. */
export class Xattrs {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  /** @throws ClientError NOXATTR (ENODATA) */
  async get(ino: number, name: string, limits: Limits): Promise<Buffer> {
    const [value] = await this.#session.call(operations.GETXATTR, [ino, nameOf(name)], limits);
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }

  async set(ino: number, name: string, value: Data, mode: XattrMode, limits: Limits): Promise<void> {
    const args: [number, Uint8Array, Uint8Array, number] = [
      ino,
      nameOf(name),
      bytesOf(value),
      xattrModes.indexOf(mode),
    ];
    await this.#session.call(operations.SETXATTR, args, limits);
  }

  async list(ino: number, limits: Limits): Promise<string[]> {
    const [names] = await this.#session.call(operations.LISTXATTRS, [ino], limits);
    return names.map((name) => Buffer.from(name).toString('utf8'));
  }

  /** @throws ClientError NOXATTR (ENODATA) */
  async remove(ino: number, name: string, limits: Limits): Promise<void> {
    await this.#session.call(operations.REMOVEXATTR, [ino, nameOf(name)], limits);
  }
}

/** 1 to 255 bytes. */
function nameOf(name: string): Uint8Array {
  const bytes = Buffer.from(name, 'utf8');
  if (bytes.length >= 1 && bytes.length <= 255 && !bytes.includes(0)) return bytes;
  throw new ClientError('ARGUMENT', `extended attribute ${JSON.stringify(name)}`);
}
