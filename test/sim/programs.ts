/** What programs do with files: clients of the library, and the one that works beside the server, as through FUSE. */
import type { Client, ClientFile } from '../../client/index.ts';
import { ClientError } from '../../client/index.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { FsError } from '../../fs/errors.ts';
import type { Handle, Vfs } from '../../fs/vfs.ts';
import type { Random } from '../exercise/random.ts';
import { n, root } from '../support/filesystem.ts';
import { type History, local, type Value } from './history.ts';

export const blockSize = 4096;
/** Blocks of a file that are used. */
export const blocksPerFile = 8;
const names: readonly [string, ...string[]] = ['a', 'b', 'c'];

/** A block that says its value in every word. */
export function blockOf(value: Value): Buffer {
  const block = Buffer.alloc(blockSize);
  for (let at = 0; at < blockSize; at += 4) block.writeUInt32LE(value, at);
  return block;
}

/** -1: words of more than one value. */
export function valueOf(block: Buffer): Value {
  const value = block.length < 4 ? 0 : block.readUInt32LE(0);
  for (let at = 0; at + 4 <= block.length; at += 4) if (block.readUInt32LE(at) !== value) return -1;
  return value;
}

/** The blocks `first` and on that a read has seen. */
function valuesOf(bytes: Buffer, count: number): Value[] {
  return Array.from({ length: count }, (_, index) =>
    valueOf(bytes.subarray(index * blockSize, (index + 1) * blockSize)),
  );
}

const registerOf = (ino: number, block: number): string => `${ino}/${block}`;

/** Begins an operation on several blocks of a file; the answer ends it. */
function beginAll(
  history: History,
  kind: 'write' | 'read' | 'sync',
  who: string,
  ino: number,
  first: number,
  values: readonly Value[],
): (seen?: readonly Value[], lags?: boolean) => void {
  const ends = values.map((value, index) => history.begin(kind, who, registerOf(ino, first + index), value));
  return (seen, lags) => {
    for (const [index, end] of ends.entries()) end(seen?.[index], lags);
  };
}

const zerosFrom = (first: number): Value[] => Array.from({ length: blocksPerFile - first }, () => 0);

/** A remote program. */
export class Program {
  readonly #client: Client;
  readonly #who: string;
  readonly #history: History;
  readonly #random: Random;
  readonly #say: (line: string) => void;
  readonly #files = new Map<string, ClientFile>();

  constructor(client: Client, who: string, history: History, random: Random, say: (line: string) => void) {
    this.#client = client;
    this.#who = who;
    this.#history = history;
    this.#random = random;
    this.#say = say;
  }

  /** One operation; whatever the server or a fault make of it is no error here. */
  async step(): Promise<void> {
    const name = this.#random.pick(names);
    try {
      const file = this.#files.get(name) ?? (await this.#open(name));
      const what = this.#random.below(20);
      if (what < 8) await this.#write(file);
      else if (what < 16) await this.#read(file);
      else if (what < 18) await this.#sync(file);
      else await this.#close(name, file);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      this.#say(`${this.#who} ${name}: ${error.status} ${error.detail}`);
      if (error.status === 'ENGINES_UNKNOWN' || error.status === 'CLOSED') this.#files.clear();
    }
  }

  async end(): Promise<void> {
    for (const [name, file] of this.#files) {
      await this.#close(name, file).catch((error: unknown) => {
        if (!(error instanceof ClientError)) throw error;
      });
    }
    await this.#client.close();
  }

  async #open(name: string): Promise<ClientFile> {
    const file = await this.#client.open(`/${name}`, 'r+');
    this.#files.set(name, file);
    return file;
  }

  async #write(file: ClientFile): Promise<void> {
    const { first, count } = this.#blocks();
    const values = Array.from({ length: count }, () => this.#history.newValue());
    const end = beginAll(this.#history, 'write', this.#who, file.ino, first, values);
    this.#say(`${this.#who} writes ${values.join()} to ${file.ino}/${first}`);
    const { bytesWritten, path } = await file.write(
      Buffer.concat(values.map(blockOf)),
      0,
      count * blockSize,
      first * blockSize,
    );
    this.#say(`${this.#who} has written ${values.join()} (${path})`);
    if (bytesWritten === count * blockSize) end();
  }

  async #read(file: ClientFile): Promise<void> {
    const { first, count } = this.#blocks();
    const end = beginAll(
      this.#history,
      'read',
      this.#who,
      file.ino,
      first,
      Array.from({ length: count }, () => 0),
    );
    const bytes = Buffer.alloc(count * blockSize);
    const { bytesRead, path } = await file.read(bytes, 0, bytes.length, first * blockSize);
    const seen = valuesOf(bytes.fill(0, bytesRead), count);
    this.#say(`${this.#who} reads ${seen.join()} from ${file.ino}/${first} (${path})`);
    end(seen, path === 'server');
  }

  async #sync(file: ClientFile): Promise<void> {
    const end = beginAll(this.#history, 'sync', this.#who, file.ino, 0, zerosFrom(0));
    await file.sync();
    this.#say(`${this.#who} has synced ${file.ino}`);
    end();
  }

  async #close(name: string, file: ClientFile): Promise<void> {
    this.#files.delete(name);
    const end = beginAll(this.#history, 'sync', this.#who, file.ino, 0, zerosFrom(0));
    await file.close();
    this.#say(`${this.#who} has closed ${file.ino}`);
    end();
  }

  #blocks(): { first: number; count: number } {
    const first = this.#random.below(blocksPerFile);
    return { first, count: 1 + this.#random.below(Math.min(3, blocksPerFile - first)) };
  }
}

const O_RDWR = 2;

/** What a program beside the server can do. */
export interface LocalFiles {
  readonly vfs: Vfs;
  cloneFile: Filesystem['cloneFile'];
}

export function localOf(fs: Filesystem): LocalFiles {
  return { vfs: fs.vfs, cloneFile: (ino, parent, name, by) => fs.cloneFile(ino, parent, name, by) };
}

/** Every file has its size from the beginning: what a peer appends is seen by others once it is synced, and not before. */
export async function makeFiles(fs: LocalFiles): Promise<void> {
  for (const name of names) await makeFile(fs, name);
  await fs.vfs.syncfs();
}

/** A new file in the place of the one that has the name, if any. */
async function makeFile({ vfs }: LocalFiles, name: string): Promise<void> {
  const { attr, handle } = await vfs.create(vfs.rootIno, n(`new-${name}`), 0o644, O_RDWR, root);
  await vfs.release(handle);
  await vfs.setattr(attr.ino, { size: blocksPerFile * blockSize }, root);
  await vfs.rename(vfs.rootIno, n(`new-${name}`), vfs.rootIno, n(name), 'replace', root);
}

/** A program on the server's own machine. */
export class LocalProgram {
  readonly #fs: LocalFiles;
  readonly #history: History;
  readonly #random: Random;
  readonly #say: (line: string) => void;
  #clones = 0;

  constructor(fs: LocalFiles, history: History, random: Random, say: (line: string) => void) {
    this.#fs = fs;
    this.#history = history;
    this.#random = random;
    this.#say = say;
  }

  async step(): Promise<void> {
    const name = this.#random.pick(names);
    const { vfs } = this.#fs;
    try {
      const found = await vfs.find(vfs.rootIno, n(name), root);
      if (found === undefined) return;
      const what = this.#random.below(10);
      if (what === 0) await this.#clone(found.ino);
      else if (what === 1) await makeFile(this.#fs, name);
      else await this.#use(found.ino, what);
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#say(`local ${name}: ${error.message}`);
    }
  }

  /** What each file holds at the end. */
  async readAll(): Promise<void> {
    const { vfs } = this.#fs;
    for (const name of names) {
      const found = await vfs.find(vfs.rootIno, n(name), root);
      if (found !== undefined) await this.#open(found.ino, (handle) => this.#read(found.ino, handle));
    }
  }

  #use(ino: number, what: number): Promise<void> {
    return this.#open(ino, async (handle) => {
      if (what < 5) await this.#read(ino, handle);
      else if (what < 8) await this.#write(ino, handle);
      else if (what < 9) await this.#punch(ino, handle);
      else await this.#sync(ino);
    });
  }

  async #open(ino: number, use: (handle: Handle) => Promise<void>): Promise<void> {
    const handle = await this.#fs.vfs.open(ino, O_RDWR, root);
    try {
      await use(handle);
    } finally {
      await this.#fs.vfs.release(handle);
    }
  }

  async #read(ino: number, handle: Handle): Promise<void> {
    const end = beginAll(this.#history, 'read', local, ino, 0, zerosFrom(0));
    const bytes = await this.#fs.vfs.read(handle, 0, blocksPerFile * blockSize, root, (pieces) =>
      Buffer.concat(pieces),
    );
    const seen = valuesOf(bytes, blocksPerFile);
    this.#say(`local reads ${seen.join()} from ${ino}`);
    end(seen);
  }

  async #write(ino: number, handle: Handle): Promise<void> {
    const block = this.#random.below(blocksPerFile);
    const value = this.#history.newValue();
    const end = this.#history.begin('write', local, registerOf(ino, block), value);
    this.#say(`local writes ${value} to ${ino}/${block}`);
    await this.#fs.vfs.write(handle, block * blockSize, blockOf(value), root);
    this.#say(`local has written ${value}`);
    end();
  }

  async #punch(ino: number, handle: Handle): Promise<void> {
    const block = this.#random.below(blocksPerFile);
    const end = this.#history.begin('write', local, registerOf(ino, block), 0);
    await this.#fs.vfs.fallocate(handle, 'punch', block * blockSize, blockSize, root);
    this.#say(`local has punched ${ino}/${block}`);
    end();
  }

  async #sync(ino: number): Promise<void> {
    const end = beginAll(this.#history, 'sync', local, ino, 0, zerosFrom(0));
    await this.#fs.vfs.fsync(ino, false);
    end();
  }

  /** What a clone holds its source held at one moment of the call. */
  async #clone(ino: number): Promise<void> {
    const { vfs } = this.#fs;
    const name = n(`clone-${++this.#clones}-${ino}`);
    const invoked = this.#history.now;
    const clone = await this.#fs.cloneFile(ino, vfs.rootIno, name, root);
    const responded = this.#history.now;
    // Looked at later, so that what others do to the source meanwhile would show.
    if (this.#random.oneIn(2)) await vfs.syncfs();
    let seen: Value[] = [];
    await this.#open(clone.ino, async (handle) => {
      const bytes = await vfs.read(handle, 0, blocksPerFile * blockSize, root, (pieces) => Buffer.concat(pieces));
      seen = valuesOf(bytes, blocksPerFile);
    });
    for (const [block, value] of seen.entries()) {
      this.#history.add('read', local, registerOf(ino, block), value, invoked, responded);
    }
    this.#say(`local has cloned ${ino}: ${seen.join()}`);
    await vfs.unlink(vfs.rootIno, name, root);
  }
}
