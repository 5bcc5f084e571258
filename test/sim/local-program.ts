/** What a program on the server's own machine does with files, as through FUSE. */
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { FsError } from '../../fs/errors.ts';
import type { Handle, Vfs } from '../../fs/vfs.ts';
import type { Random } from '../exercise/random.ts';
import { n, root } from '../support/filesystem.ts';
import {
  begin,
  beginSync,
  bytesOf,
  names,
  registerOf,
  sectorsIn,
  sectorsPerFile,
  usedBytes,
  valuesOf,
  zeros,
} from './content.ts';
import { sectorSize } from './dma.ts';
import { type History, local, type Value } from './history.ts';
import type { FileAccess } from './kernel.ts';
import { loop } from './loop.ts';
import type { Surroundings } from './programs.ts';
import type { Scene } from './scene.ts';

const O_RDWR = 2;
const blockSize = 2 * sectorSize;

/** Names of files whose content nobody follows: for operations that move all of it. */
const wild = 'moved';

/** What a program beside the server can do. */
export interface LocalFiles {
  readonly vfs: Vfs;
  readonly access: FileAccess;
  readonly fs: Pick<Filesystem, 'cloneFile' | 'startJob' | 'job' | 'status'>;
}

export async function makeFiles(vfs: Vfs, scene: Scene, random: Random): Promise<void> {
  for (const name of [...names, wild]) await makeFile(vfs, name, scene, random);
  await vfs.syncfs();
}

/** A new file in the place of the one that has the name, if any. */
async function makeFile(vfs: Vfs, name: string, scene: Scene, random: Random): Promise<void> {
  const { attr, handle } = await vfs.create(vfs.rootIno, n(`new-${name}`), 0o644, O_RDWR, root);
  await vfs.release(handle);
  const sectors = scene.sizes ? random.below(sectorsPerFile + 1) : sectorsPerFile;
  await vfs.setattr(attr.ino, { size: sectors * sectorSize }, root);
  await vfs.rename(vfs.rootIno, n(`new-${name}`), vfs.rootIno, n(name), 'replace', root);
}

type Step = (ino: number, handle: Handle) => Promise<void>;

export class LocalProgram {
  readonly #files: LocalFiles;
  readonly #history: History;
  readonly #random: Random;
  readonly #scene: Scene;
  readonly #say: (line: string) => void;
  readonly #steps: readonly (readonly [weight: number, step: Step])[];
  #copies = 0;

  constructor(files: LocalFiles, { history, random, scene, say }: Surroundings) {
    this.#files = files;
    this.#history = history;
    this.#random = random;
    this.#scene = scene;
    this.#say = say;
    this.#steps = [
      [8, (ino, handle) => this.#read(ino, handle)],
      [8, (ino, handle) => this.#write(ino, handle)],
      [2, (ino, handle) => this.#punch(ino, handle)],
      [1, (ino, handle) => this.#zero(ino, handle)],
      [1, (ino, handle) => this.#allocate(ino, handle)],
      [2, (ino) => this.#sync(ino)],
      [scene.sizes ? 3 : 0, (ino) => this.#truncate(ino)],
    ];
  }

  async step(): Promise<void> {
    const name = this.#random.pick(names);
    const { vfs } = this.#files;
    try {
      const what = this.#random.below(30);
      if (what === 0) return await this.#moveWild();
      if (what === 1) return await this.#relocate();
      const found = await vfs.find(vfs.rootIno, n(name), root);
      if (found === undefined) return;
      if (what < 5) await this.#clone(found.ino);
      else if (what < 7) await this.#snapshot();
      else if (what < 9) await makeFile(vfs, name, this.#scene, this.#random);
      else await this.#open(found.ino, (handle) => this.#any()(found.ino, handle));
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#say(`local ${name}: ${error.message}`);
    }
  }

  /** What each file holds at the end. */
  async readAll(): Promise<void> {
    const { vfs } = this.#files;
    for (const name of names) {
      const found = await vfs.find(vfs.rootIno, n(name), root);
      if (found !== undefined) await this.#open(found.ino, (handle) => this.#read(found.ino, handle));
    }
  }

  /** What is there is looked at, and then there for good. */
  async lookAndSync(): Promise<void> {
    const { vfs } = this.#files;
    try {
      await this.readAll();
      for (const name of names) {
        const found = await vfs.find(vfs.rootIno, n(name), root);
        if (found !== undefined) await this.#sync(found.ino);
      }
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      this.#say(`local: ${error.message}`);
    }
  }

  #any(): Step {
    const total = this.#steps.reduce((sum, [weight]) => sum + weight, 0);
    let left = this.#random.below(total);
    for (const [weight, step] of this.#steps) {
      left -= weight;
      if (left < 0) return step;
    }
    return () => Promise.resolve();
  }

  async #open(ino: number, use: (handle: Handle) => Promise<void>): Promise<void> {
    const handle = await this.#files.vfs.open(ino, O_RDWR, root);
    try {
      await use(handle);
    } finally {
      await this.#files.vfs.release(handle);
    }
  }

  async #read(ino: number, handle: Handle): Promise<void> {
    const end = begin(this.#history, 'read', local, ino, 0, zeros(sectorsPerFile));
    const bytes = await this.#files.access.read(ino, handle, 0, usedBytes);
    const seen = valuesOf(bytes, sectorsPerFile);
    this.#say(`local reads ${seen.join()} from ${ino}`);
    end(seen, sectorsIn(bytes.length));
  }

  async #write(ino: number, handle: Handle): Promise<void> {
    const { first, count } = this.#sectors();
    const values = Array.from({ length: count }, () => this.#history.newValue());
    const end = begin(this.#history, 'write', local, ino, first, values);
    this.#say(`local writes ${values.join()} to ${ino}/${first}`);
    const bytes = bytesOf(values);
    const written = await this.#files.access.write(ino, handle, first * sectorSize, bytes);
    this.#say(`local has written ${written} bytes: ${values.join()}`);
    if (written === bytes.length) end();
  }

  #punch(ino: number, handle: Handle): Promise<void> {
    return this.#clear('punch', ino, handle);
  }

  #zero(ino: number, handle: Handle): Promise<void> {
    return this.#clear('zero-keep-size', ino, handle);
  }

  async #clear(mode: 'punch' | 'zero-keep-size', ino: number, handle: Handle): Promise<void> {
    const { first, count } = this.#sectors();
    const end = begin(this.#history, 'cut', local, ino, first, zeros(count));
    this.#say(`local begins to ${mode} ${ino}/${first}+${count}`);
    await this.#files.access.fallocate(ino, handle, mode, first * sectorSize, count * sectorSize);
    this.#say(`local did ${mode} ${ino}/${first}+${count}`);
    end();
  }

  /** Unwritten blocks where nothing was: the content stays. */
  async #allocate(ino: number, handle: Handle): Promise<void> {
    const { first, count } = this.#sectors();
    await this.#files.access.fallocate(ino, handle, 'allocate-keep-size', first * sectorSize, count * sectorSize);
    this.#say(`local has allocated ${ino}/${first}+${count}`);
  }

  async #truncate(ino: number): Promise<void> {
    const size = this.#random.below(sectorsPerFile + 1);
    const end = begin(this.#history, 'cut', local, ino, size, zeros(sectorsPerFile - size));
    this.#say(`local truncates ${ino} to ${size}`);
    await this.#files.access.truncate(ino, size * sectorSize);
    this.#say(`local has truncated ${ino} to ${size}`);
    end();
  }

  async #sync(ino: number): Promise<void> {
    const end = beginSync(this.#history, local, ino);
    await this.#files.vfs.fsync(ino, false);
    end();
  }

  /** What a clone holds its source held at one moment of the call. */
  async #clone(ino: number): Promise<void> {
    const { vfs, fs } = this.#files;
    const name = n(`clone-${++this.#copies}-${ino}`);
    const invoked = this.#history.now;
    const clone = await fs.cloneFile(ino, vfs.rootIno, name, root);
    const responded = this.#history.now;
    await this.#copied(clone.ino, ino, invoked, responded);
    await vfs.unlink(vfs.rootIno, name, root);
  }

  /** So does a snapshot of all files. */
  async #snapshot(): Promise<void> {
    const { vfs } = this.#files;
    const { ino: snapshots } = await vfs.lookup(vfs.rootIno, n('.snapshots'), root);
    const name = n(`snapshot-${++this.#copies}`);
    const sources = await Promise.all(names.map(async (each) => vfs.find(vfs.rootIno, n(each), root)));
    const invoked = this.#history.now;
    const snapshot = await vfs.mkdir(snapshots, name, 0o755, root);
    const responded = this.#history.now;
    for (const [index, each] of names.entries()) {
      const copy = await vfs.find(snapshot.ino, n(each), root);
      const source = sources[index];
      if (copy !== undefined && source !== undefined) await this.#copied(copy.ino, source.ino, invoked, responded);
    }
    await vfs.rmdir(snapshots, name, root);
  }

  /** Looked at later, so that what others do to the source meanwhile would show. */
  async #copied(copy: number, source: number, invoked: number, responded: number): Promise<void> {
    if (this.#random.oneIn(2)) await this.#files.vfs.syncfs();
    if (this.#random.oneIn(2)) await loop().sleep(this.#random.below(300));
    const handle = await this.#files.vfs.open(copy, 0, root);
    let seen: readonly Value[] = [];
    let bytes: Buffer = Buffer.alloc(0);
    try {
      bytes = await this.#files.access.read(copy, handle, 0, usedBytes);
      seen = valuesOf(bytes, sectorsPerFile);
    } finally {
      await this.#files.vfs.release(handle);
    }
    for (const [sector, value] of seen.entries()) {
      const lags = sector >= sectorsIn(bytes.length);
      this.#history.add('read', local, registerOf(source, sector), value, invoked, responded, lags);
    }
    this.#say(`local has copied ${source} as ${copy}: ${seen.join()}`);
  }

  /** All that lies behind moves: what becomes of it fsck sees. */
  async #moveWild(): Promise<void> {
    const { vfs, access } = this.#files;
    const found = await vfs.find(vfs.rootIno, n(wild), root);
    if (found === undefined) return;
    const mode = this.#random.oneIn(2) ? 'collapse' : 'insert';
    await this.#open(found.ino, async (handle) => {
      if (found.size < usedBytes) await access.write(found.ino, handle, found.size, Buffer.alloc(blockSize, 1));
      const at = this.#random.below(4) * blockSize;
      this.#say(`local begins to ${mode} a block of ${found.ino} at ${at}`);
      await access.fallocate(found.ino, handle, mode, at, blockSize);
    });
  }

  /** Blocks move below whoever uses them. */
  async #relocate(): Promise<void> {
    const { fs } = this.#files;
    const size = 16 * blockSize;
    const offset = blockSize * (1 + this.#random.below(32));
    fs.startJob(
      this.#random.oneIn(2)
        ? { kind: 'defragment', ino: undefined }
        : { kind: 'evacuate', offset, length: size, retire: false },
    );
    this.#say(`local begins to move blocks`);
    while (fs.job()?.state === 'running') await loop().sleep(5);
    this.#say(`local has moved blocks: ${fs.job()?.state}, ${fs.job()?.moved} bytes`);
  }

  #sectors(): { first: number; count: number } {
    const first = this.#random.below(sectorsPerFile);
    return { first, count: 1 + this.#random.below(Math.min(6, sectorsPerFile - first)) };
  }
}
