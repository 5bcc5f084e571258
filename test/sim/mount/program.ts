/**
 * One program of mount.test.ts: reads and writes blocks of a few files as `kind` says, one after the other, and prints each with
 * when it began and ended, in ms of the clock that all processes of the machine share.
 */
import { constants, type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect, type FileHandle as PeerFile } from '../../../client/index.ts';
import { limits } from '../../../fs/limits.ts';
import { Random } from '../../exercise/random.ts';
import { natural } from '../../support/natural.ts';
import { blocksPerFile, fileNames, type Kind, type Line, torn } from './story.ts';

const { blockSize } = limits;

/** `byServer`: as in `Line`. */
interface Seen {
  readonly bytes: Buffer;
  readonly byServer: boolean;
}

/** How a program reaches the files. */
interface Access {
  read(name: string, offset: number, length: number): Promise<Seen>;
  /** Settles when all others see it (docs/coherence.md). */
  write(name: string, offset: number, data: Buffer): Promise<void>;
  /** The next access opens the file anew. */
  forget(name: string): Promise<void>;
  end(): Promise<void>;
}

/** Files that stay open between accesses. */
class OpenFiles<F extends { close(): Promise<void> }> {
  readonly #open = new Map<string, F>();
  readonly #how: (name: string) => Promise<F>;

  constructor(how: (name: string) => Promise<F>) {
    this.#how = how;
  }

  async get(name: string): Promise<F> {
    let file = this.#open.get(name);
    if (file === undefined) {
      file = await this.#how(name);
      this.#open.set(name, file);
    }
    return file;
  }

  async close(name: string): Promise<void> {
    const file = this.#open.get(name);
    this.#open.delete(name);
    await file?.close();
  }

  async closeAll(): Promise<void> {
    for (const name of this.#open.keys()) await this.close(name);
  }
}

/** Through the mount, with the kernel's pages or past them. */
function onMount(mountPoint: string, flags: number): Access {
  const files = new OpenFiles<FileHandle>((name) => open(join(mountPoint, name), constants.O_RDWR | flags));
  return {
    read: async (name, offset, length) => {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await (await files.get(name)).read(bytes, 0, length, offset);
      return { bytes: bytes.subarray(0, bytesRead), byServer: false };
    },
    write: async (name, offset, data) => {
      const { bytesWritten } = await (await files.get(name)).write(data, 0, data.length, offset);
      if (bytesWritten !== data.length) throw new Error(`wrote ${bytesWritten} of ${data.length} bytes`);
    },
    forget: (name) => files.close(name),
    end: () => files.closeAll(),
  };
}

/** By the library: on the blocks, or with no device through the server. */
async function asPeer(address: string, owner: string, device: 'none' | undefined): Promise<Access> {
  const client = await connect(address, { owner, ...(device === undefined ? {} : { device }) });
  const files = new OpenFiles<PeerFile>((name) => client.open(`/${name}`, 'r+'));
  return {
    read: async (name, offset, length) => {
      const bytes = Buffer.alloc(length);
      const { bytesRead, path } = await (await files.get(name)).read(bytes, 0, length, offset);
      return { bytes: bytes.subarray(0, bytesRead), byServer: path === 'server' };
    },
    write: async (name, offset, data) => {
      const file = await files.get(name);
      const { bytesWritten } = await file.write(data, 0, data.length, offset);
      if (bytesWritten !== data.length) throw new Error(`wrote ${bytesWritten} of ${data.length} bytes`);
      await file.sync();
    },
    forget: (name) => files.close(name),
    end: async () => {
      await files.closeAll();
      await client.close();
    },
  };
}

function accessOf(kind: Kind, where: string, id: number): Promise<Access> {
  if (kind === 'buffered') return Promise.resolve(onMount(where, 0));
  if (kind === 'direct') return Promise.resolve(onMount(where, constants.O_DIRECT));
  return asPeer(where, `${kind}-${id}`, kind === 'server' ? 'none' : undefined);
}

function isKind(text: string): text is Kind {
  return ['buffered', 'direct', 'peer', 'server'].includes(text);
}

const now = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Each word of the block says the value. */
function valueOf(block: Buffer): number {
  if (block.length < blockSize) return torn;
  return block.subarray(4).equals(block.subarray(0, blockSize - 4)) ? block.readUInt32LE(0) : torn;
}

function say(line: Line | 'ready'): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const [kind = '', where = '', seed = '', count = '', id = ''] = process.argv.slice(2);
if (!isKind(kind)) throw new Error(`no kind of program: ${kind}`);
const random = new Random(natural(seed));
/** Each write of the mount makes the kernel look at its pages anew: they are to become old where nobody says that they are. */
const writeOneIn = kind === 'buffered' || kind === 'direct' ? 8 : 2;
const access = await accessOf(kind, where, natural(id));
say('ready');
await createInterface({ input: process.stdin })[Symbol.asyncIterator]().next();

for (let step = 1; step <= natural(count); step++) {
  const name = random.pick(fileNames);
  if (random.oneIn(12)) await access.forget(name);
  const first = random.below(blocksPerFile);
  const blocks = 1 + random.below(Math.min(3, blocksPerFile - first));
  const isWrite = random.oneIn(writeOneIn);
  const value = natural(id) * 1_000_000 + step;
  const data = Buffer.alloc(blocks * blockSize);
  for (let at = 0; at < data.length; at += 4) data.writeUInt32LE(value, at);
  const began = now();
  const { bytes, byServer } = isWrite
    ? { bytes: data, byServer: false }
    : await access.read(name, first * blockSize, data.length);
  if (isWrite) await access.write(name, first * blockSize, data);
  const ended = now();
  const values = Array.from({ length: blocks }, (_, at) =>
    valueOf(bytes.subarray(at * blockSize, (at + 1) * blockSize)),
  );
  say({ kind: isWrite ? 'write' : 'read', name, first, values, byServer, began, ended });
}
await access.end();
