/** The kernel's half of the protocol, for tests: requests as fs/fuse sends them, replies as it takes them. */
import { constants } from 'node:os';
import { opcode } from '../../../fs/fuse/kernel/abi.ts';
import { Cursor } from '../../../fs/fuse/kernel/cursor.ts';
import { Server, type ServerEvents } from '../../../fs/fuse/kernel/serve.ts';
import type { Serving } from '../../../fs/fuse/kernel/session.ts';
import type { Vfs } from '../../../fs/vfs.ts';

export type OpcodeName = keyof typeof opcode;

export interface Header {
  readonly unique?: number;
  readonly nodeId?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly pid?: number;
  readonly extensions?: number;
}

/** Fields of a request's arguments: u32 and u64 little-endian, strings with their NUL, bytes as they are. */
export type Field = { readonly u32: number } | { readonly u64: number } | string | Uint8Array;
export const u32 = (value: number): Field => ({ u32: value });
export const u64 = (value: number): Field => ({ u64: value });

export function encodeFields(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.map((field) => {
      if (typeof field === 'string') return Buffer.from(`${field}\0`, 'latin1');
      if (field instanceof Uint8Array) return field;
      const bytes = Buffer.alloc('u32' in field ? 4 : 8);
      if ('u32' in field) bytes.writeUInt32LE(field.u32 >>> 0);
      else bytes.writeBigInt64LE(BigInt(field.u64));
      return bytes;
    }),
  );
}

export function request(code: OpcodeName | number, header: Header, ...fields: Field[]): Buffer {
  const args = encodeFields(fields);
  const bytes = Buffer.alloc(40 + args.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(typeof code === 'number' ? code : opcode[code], 4);
  bytes.writeBigUInt64LE(BigInt(header.unique ?? 2), 8);
  bytes.writeBigUInt64LE(BigInt(header.nodeId ?? 1), 16);
  bytes.writeUInt32LE(header.uid ?? 0, 24);
  bytes.writeUInt32LE(header.gid ?? 0, 28);
  bytes.writeUInt32LE(header.pid ?? 1, 32);
  bytes.writeUInt16LE(header.extensions ?? 0, 36);
  args.copy(bytes, 40);
  return bytes;
}

export function cursor(bytes: Uint8Array): Cursor {
  return new Cursor(bytes);
}

export interface ReplyMessage {
  readonly unique: number;
  /** Name of the errno, or 0. */
  readonly error: string | 0;
  readonly payload: Buffer;
}

export function parseReply(bytes: Buffer): ReplyMessage {
  const length = bytes.readUInt32LE(0);
  if (length !== bytes.length) throw new Error(`reply of ${bytes.length} bytes says ${length}`);
  const number = -bytes.readInt32LE(4);
  const name = Object.entries(constants.errno).find(([, value]) => value === number)?.[0];
  return {
    unique: Number(bytes.readBigUInt64LE(8)),
    error: number === 0 ? 0 : (name ?? String(number)),
    payload: Buffer.from(bytes.subarray(16)),
  };
}

/** A kernel with a server at its other end, and every reply that came. */
export class FakeKernel {
  readonly replies: ReplyMessage[] = [];
  readonly server: Server;
  ready = false;
  refused: string | undefined;
  /** False: the kernel has given up on its requests (their processes were killed). */
  takes = true;
  #unique = 2;

  constructor(vfs: Vfs, serving?: Serving) {
    const events: ServerEvents = {
      onReady: () => {
        this.ready = true;
      },
      onRefused: (error) => {
        this.refused = error.message;
      },
    };
    const take = (bytes: Buffer): boolean => {
      if (this.takes) this.replies.push(parseReply(bytes));
      return this.takes;
    };
    this.server = new Server(
      vfs,
      {
        send: (bytes, length) => take(bytes.subarray(0, length)),
        sendPieces: (bytes, length, pieces) => take(Buffer.concat([bytes.subarray(0, length), ...pieces])),
      },
      events,
      serving,
    );
  }

  /** Serves one request without waiting for it. Answers its number. */
  post(code: OpcodeName | number, header: Header, ...fields: Field[]): number {
    const unique = header.unique ?? this.#unique;
    this.#unique += 2;
    void this.server.serve(cursor(request(code, { ...header, unique }, ...fields)));
    return unique;
  }

  /** Serves one request and answers its reply, once it is there. */
  async ask(code: OpcodeName | number, header: Header, ...fields: Field[]): Promise<ReplyMessage> {
    const unique = this.post(code, header, ...fields);
    for (let turn = 0; turn < 1000; turn++) {
      const replies = this.replies.filter((reply) => reply.unique === unique);
      const [reply] = replies;
      if (reply !== undefined) return reply;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`no reply to ${code}`);
  }
}

/** struct fuse_attr, the part that tests look at. */
export function parseAttr(bytes: Buffer) {
  return {
    ino: Number(bytes.readBigUInt64LE(0)),
    size: Number(bytes.readBigUInt64LE(8)),
    atime: { sec: Number(bytes.readBigInt64LE(24)), nsec: bytes.readUInt32LE(48) },
    mtime: { sec: Number(bytes.readBigInt64LE(32)), nsec: bytes.readUInt32LE(52) },
    mode: bytes.readUInt32LE(60),
    nlink: bytes.readUInt32LE(64),
    uid: bytes.readUInt32LE(68),
    gid: bytes.readUInt32LE(72),
    rdev: bytes.readUInt32LE(76),
  };
}

/** struct fuse_entry_out */
export function parseEntry(bytes: Buffer) {
  return { nodeId: Number(bytes.readBigUInt64LE(0)), attr: parseAttr(bytes.subarray(40)) };
}

/** struct fuse_dirent, one after the other; with `plus` struct fuse_direntplus */
export function parseDirents(bytes: Buffer, plus = false) {
  const entries: { nodeId: number; ino: number; cookie: number; type: number; name: string }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = plus ? at + 128 : at;
    const length = bytes.readUInt32LE(start + 16);
    entries.push({
      nodeId: plus ? Number(bytes.readBigUInt64LE(at)) : 0,
      ino: Number(bytes.readBigUInt64LE(start)),
      cookie: Number(bytes.readBigUInt64LE(start + 8)),
      type: bytes.readUInt32LE(start + 20),
      name: bytes.toString('latin1', start + 24, start + 24 + length),
    });
    at = start + ((24 + length + 7) & ~7);
  }
  return entries;
}
