/** What remote programs do with files, by the library. */
import type { Client, FileHandle } from '../../client/index.ts';
import { ClientError } from '../../client/index.ts';
import type { Random } from '../exercise/random.ts';
import { begin, beginSync, bytesOf, names, sectorsIn, sectorsPerFile, tell, valuesOf, zeros } from './content.ts';
import { sectorSize } from './dma.ts';
import type { History } from './history.ts';
import { loop } from './loop.ts';
import type { Scene } from './scene.ts';

export interface Surroundings {
  readonly history: History;
  readonly random: Random;
  readonly scene: Scene;
  readonly say: (line: string) => void;
}

export class Program {
  readonly #client: Client;
  readonly #who: string;
  readonly #history: History;
  readonly #random: Random;
  readonly #scene: Scene;
  readonly #say: (line: string) => void;
  readonly #files = new Map<string, FileHandle>();
  #clones = 0;

  constructor(client: Client, who: string, { history, random, scene, say }: Surroundings) {
    this.#client = client;
    this.#who = who;
    this.#history = history;
    this.#random = random;
    this.#scene = scene;
    this.#say = say;
  }

  /** One operation; whatever the server or a fault make of it is no error here. */
  async step(): Promise<void> {
    const name = this.#random.pick(names);
    let file = this.#files.get(name);
    try {
      file ??= await this.#open(name);
      const what = this.#random.below(42);
      if (what < 16) await this.#write(file);
      else if (what < 32) await this.#read(file);
      else if (what < 36) await this.#sync(file);
      else if (what < 40) await this.#close(name, file);
      else if (what < 41) await this.#clone(name);
      else if (this.#scene.sizes) await this.#truncate(file);
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      if (file !== undefined) tell(this.#history, this.#who, file.ino);
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

  async #open(name: string): Promise<FileHandle> {
    const file = await this.#client.open(`/${name}`, 'r+');
    this.#files.set(name, file);
    return file;
  }

  async #write(file: FileHandle): Promise<void> {
    const { first, count } = this.#sectors();
    const values = Array.from({ length: count }, () => this.#history.newValue());
    const end = begin(this.#history, 'write', this.#who, file.ino, first, values);
    this.#say(`${this.#who} writes ${values.join()} to ${file.ino}/${first}`);
    const bytes = bytesOf(values);
    const { bytesWritten, path } = await file.write(bytes, 0, bytes.length, first * sectorSize);
    await copied();
    this.#say(`${this.#who} has written ${values.join()} (${path})`);
    if (bytesWritten === bytes.length) end();
  }

  async #read(file: FileHandle): Promise<void> {
    const { first, count } = this.#sectors();
    const end = begin(this.#history, 'read', this.#who, file.ino, first, zeros(count));
    const bytes = Buffer.alloc(count * sectorSize);
    const { bytesRead, path } = await file.read(bytes, 0, bytes.length, first * sectorSize);
    await copied();
    const seen = valuesOf(bytes.subarray(0, bytesRead), count);
    this.#say(`${this.#who} reads ${seen.join()} from ${file.ino}/${first} (${path})`);
    end(seen, path === 'server' ? 0 : sectorsIn(bytesRead));
  }

  async #sync(file: FileHandle): Promise<void> {
    const end = beginSync(this.#history, this.#who, file.ino);
    await file.sync();
    this.#say(`${this.#who} has synced ${file.ino}`);
    end();
  }

  async #close(name: string, file: FileHandle): Promise<void> {
    this.#files.delete(name);
    const end = beginSync(this.#history, this.#who, file.ino);
    await file.close();
    this.#say(`${this.#who} has closed ${file.ino}`);
    end();
  }

  async #truncate(file: FileHandle): Promise<void> {
    const size = this.#random.below(sectorsPerFile + 1);
    const end = begin(this.#history, 'cut', this.#who, file.ino, size, zeros(sectorsPerFile - size));
    this.#say(`${this.#who} truncates ${file.ino} to ${size}`);
    await file.truncate(size * sectorSize);
    this.#say(`${this.#who} has truncated ${file.ino} to ${size}`);
    end();
  }

  /** Only for what it does to others: what it holds is looked at by the program beside the server. */
  async #clone(name: string): Promise<void> {
    const clone = `/clone-${this.#who}-${++this.#clones}`;
    await this.#client.clone(`/${name}`, clone);
    this.#say(`${this.#who} has cloned ${name}`);
    await this.#client.unlink(clone);
  }

  #sectors(): { first: number; count: number } {
    const first = this.#random.below(sectorsPerFile);
    return { first, count: 1 + this.#random.below(Math.min(6, sectorsPerFile - first)) };
  }
}

/** When the copies that have begun are over (dma.ts). */
function copied(): Promise<void> {
  return loop().sleep(0);
}
