/**
 * Requests that a kernel could send, could send in no good mood, or would never send: whole structures of every opcode
 * with values drawn from a seed, over nodes and handles that exist and that do not, some of them broken afterwards.
 */
import { opcode } from '../../../fs/fuse/kernel/abi.ts';
import { type Field, type OpcodeName, request, u32, u64 } from './wire.ts';

/** mulberry32: a seed gives the same run everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  one<T>(values: readonly [T, ...T[]]): T {
    return values[this.below(values.length)] ?? values[0];
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

/** What the kernel has been told of. */
export interface Known {
  readonly nodes: readonly number[];
  readonly handles: readonly number[];
}

export interface Fuzzed {
  readonly name: OpcodeName;
  readonly bytes: Buffer;
  /** Nothing was broken afterwards. */
  readonly whole: boolean;
  /** Bytes of reply that the caller has room for, where it says so. */
  readonly room: number | undefined;
}

const names = Object.keys(opcode).filter((name): name is OpcodeName => name !== 'init');

/** The next request, with this number. */
export function nextRequest(random: Random, known: Known, unique: number): Fuzzed {
  const name = random.one<OpcodeName>([
    names[random.below(names.length)] ?? 'lookup',
    'lookup',
    'create',
    'write',
    'mkdir',
  ]);
  const made = new Maker(random, known);
  const fields = made.fields(name);
  const caller = random.one([0, 1000]);
  const header = { unique, nodeId: made.node(), uid: caller, gid: caller, pid: random.one([0, 1, process.pid]) };
  const bytes = request(name, header, ...fields);
  if (random.chance(0.85)) return { name, bytes, whole: true, room: made.room };
  return { name, bytes: broken(random, bytes), whole: false, room: undefined };
}

/** Cut short, made longer, or with bytes changed behind the number of the request; the header still tells the length. */
function broken(random: Random, bytes: Buffer): Buffer {
  const length = random.chance(0.5) ? 40 + random.below(bytes.length - 39) : bytes.length + random.below(64);
  const result = Buffer.concat([bytes, random.bytes(64)]).subarray(0, length);
  for (let flips = random.below(8); flips > 0; flips--) {
    const at = 16 + random.below(length - 16);
    result[at] = random.below(256);
  }
  result.writeUInt32LE(length, 0);
  return result;
}

class Maker {
  readonly #random: Random;
  readonly #known: Known;
  room: number | undefined;

  constructor(random: Random, known: Known) {
    this.#random = random;
    this.#known = known;
  }

  node(): number {
    return this.#pick(this.#known.nodes, [1, 1, 2, 0, 999_999, 2 ** 52]);
  }

  fields(name: OpcodeName): readonly Field[] {
    const r = this.#random;
    switch (name) {
      case 'lookup':
      case 'unlink':
      case 'rmdir':
        return [this.#name()];
      case 'forget':
        return [u64(r.one([1, 2, 1000]))];
      case 'batchForget':
        return [u32(2), u32(0), u64(this.node()), u64(1), u64(this.node()), u64(r.below(5))];
      case 'getattr':
        return [u32(r.below(2)), u32(0), u64(this.#handle())];
      case 'statx':
        return [u32(0), u32(0), u64(this.#handle()), u32(0), u32(0xfff)];
      case 'setattr':
        return this.#setattr();
      case 'symlink':
        return [this.#name(), r.one(['target', '', 'x'.repeat(4095), '/a/b'])];
      case 'mknod':
        return [u32(this.#mode()), u32(r.below(2 ** 32)), u32(r.below(512)), u32(0), this.#name()];
      case 'mkdir':
        return [u32(r.below(0o10000)), u32(r.below(512)), this.#name()];
      case 'rename':
        return [u64(this.node()), this.#name(), this.#name()];
      case 'rename2':
        return [u64(this.node()), u32(r.below(6)), u32(0), this.#name(), this.#name()];
      case 'link':
        return [u64(this.node()), this.#name()];
      case 'open':
        return [u32(this.#openFlags()), u32(r.below(2))];
      case 'opendir':
        return [u32(0), u32(0)];
      case 'create':
        return [u32(this.#openFlags()), u32(this.#mode()), u32(0o22), u32(0), this.#name()];
      case 'tmpfile':
        return [u32(this.#openFlags()), u32(this.#mode()), u32(0o22), u32(0), '/'];
      case 'read':
      case 'readdir':
      case 'readdirplus':
        return this.#read();
      case 'write': {
        const data = r.bytes(r.one([0, 1, 100, 4096, 10_000]));
        return [
          u64(this.#handle()),
          u64(this.#offset()),
          u32(data.length),
          u32(r.below(8)),
          u64(0),
          u32(0),
          u32(0),
          data,
        ];
      }
      case 'release':
      case 'releasedir':
      case 'flush':
        return [u64(this.#handle()), u32(0), u32(0), u64(0)];
      case 'fsync':
      case 'fsyncdir':
        return [u64(this.#handle()), u32(r.below(2)), u32(0)];
      case 'setxattr': {
        const value = r.bytes(r.one([0, 1, 44, 5000]));
        return [u32(value.length), u32(r.below(4)), this.#attribute(), value];
      }
      case 'getxattr':
        this.room = r.one([0, 1, 64, 65_536]);
        return [u32(this.room), u32(0), this.#attribute()];
      case 'listxattr':
        this.room = r.one([0, 1, 64, 65_536]);
        return [u32(this.room), u32(0)];
      case 'removexattr':
        return [this.#attribute()];
      case 'access':
        return [u32(r.below(8)), u32(0)];
      case 'fallocate':
        return [
          u64(this.#handle()),
          u64(this.#offset()),
          u64(this.#offset()),
          u32(r.one([0, 1, 3, 8, 16, 17, 32, 64, 5])),
          u32(0),
        ];
      case 'lseek':
        return [u64(this.#handle()), u64(this.#offset()), u32(r.below(6)), u32(0)];
      case 'copyFileRange':
      case 'copyFileRange64':
        return [
          u64(this.#handle()),
          u64(this.#offset()),
          u64(this.node()),
          u64(this.#handle()),
          u64(this.#offset()),
          u64(this.#offset()),
          u64(r.chance(0.9) ? 0 : 1),
        ];
      case 'interrupt':
        return [u64(r.below(10_000))];
      case 'ioctl':
        return this.#ioctl();
      case 'syncfs':
        return [u64(0)];
      case 'init':
      case 'destroy':
      case 'statfs':
      case 'readlink':
        return [];
      // Answered without regard to what they say.
      case 'getlk':
      case 'setlk':
      case 'setlkw':
      case 'bmap':
      case 'poll':
      case 'notifyReply':
      case 'setupMapping':
      case 'removeMapping':
        return [r.bytes(r.below(64))];
    }
  }

  #setattr(): readonly Field[] {
    const r = this.#random;
    const nsec = (): Field => u32(r.one([0, 1, 999_999_999, 1_000_000_000]));
    const seconds = (): Field => u64(r.one([0, -1, 2 ** 31, -(2 ** 40), 2 ** 52]));
    return [
      u32(r.below(1 << 12)),
      u32(0),
      u64(this.#handle()),
      u64(this.#offset()),
      u64(0),
      seconds(),
      seconds(),
      seconds(),
      nsec(),
      nsec(),
      nsec(),
      u32(this.#mode()),
      u32(0),
      u32(r.one([0, 1000, 0xffffffff])),
      u32(r.one([0, 1000, 0xffffffff])),
      u32(0),
    ];
  }

  #read(): readonly Field[] {
    this.room = this.#random.one([0, 1, 24, 4096, 100_000]);
    return [u64(this.#handle()), u64(this.#offset()), u32(this.room), u32(0), u64(0), u32(0), u32(0)];
  }

  #ioctl(): readonly Field[] {
    const r = this.#random;
    const data = r.bytes(r.one([0, 4, 8, 28, 4096]));
    const command = r.one([0x80086601, 0x40086602, 0x801c581f, 0x401c5820, r.below(2 ** 32)]);
    return [u64(this.#handle()), u32(0), u32(command), u64(0), u32(data.length), u32(r.one([0, 4, 28, 4096])), data];
  }

  #name(): string | Uint8Array {
    const r = this.#random;
    if (r.chance(0.9)) return r.one(['a', 'b', 'c', 'dir', 'file']);
    return r.one([
      '',
      '.',
      '..',
      'a/b',
      'n'.repeat(255),
      'n'.repeat(256),
      '\xff\xfe',
      '.snapshots',
      Buffer.from('no end'),
    ]);
  }

  #attribute(): string {
    return this.#random.one([
      'user.a',
      'user.b',
      'trusted.t',
      'security.capability',
      'system.posix_acl_access',
      'system.posix_acl_default',
      'system.iopmemfs.flags',
      'system.iopmemfs.map',
      'system.unknown',
      'nonsense',
      '',
      `user.${'n'.repeat(251)}`,
    ]);
  }

  #mode(): number {
    const r = this.#random;
    return (
      r.one([0o100000, 0o040000, 0o020000, 0o060000, 0o010000, 0o140000, 0o120000, 0, 0o170000]) | r.below(0o10000)
    );
  }

  #openFlags(): number {
    return this.#random.below(4) | this.#random.one([0, 0o1000, 0o2000, 0o40000, 0o100, 0o200, 0o10000, 0o200000]);
  }

  #offset(): number {
    const r = this.#random;
    if (r.chance(0.8)) return r.below(100_000);
    return r.one([0, 4096, 2 ** 31, 2 ** 32 - 1, 2 ** 40, 2 ** 53 - 4096, 2 ** 53, 2 ** 62]);
  }

  #handle(): number {
    return this.#pick(this.#known.handles, [0, 1, 12_345, 2 ** 53]);
  }

  #pick(known: readonly number[], others: readonly [number, ...number[]]): number {
    const found = known[this.#random.below(known.length)];
    return found === undefined || this.#random.chance(0.1) ? this.#random.one(others) : found;
  }
}
