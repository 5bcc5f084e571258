/**
 * A filesystem in memory that remembers every store to its device, every range made persistent and every batch, in order, and
 * shows what would be found after a crash between any two of them.
 */
import type { BarDevice, DirectAccess, PagePin } from '../../fs/bar/device.ts';
import { formatFilesystem, openFilesystem } from '../../fs/engine/engine.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import type { Leases } from '../../fs/engine/leases.ts';
import { newUuid } from '../../fs/format/uuid.ts';
import { checkFilesystem } from '../../fs/fsck/check.ts';
import { problemText } from '../../fs/fsck/problem.ts';
import type { MetaStore, StoreEntry, StoreOp } from '../../fs/meta/store.ts';

export class MemoryDevice implements BarDevice {
  readonly path = 'memory';
  /** One that has to be told what must survive. */
  readonly kind = 'file';
  readonly size: number;
  readonly accessWidth = 1;
  readonly cacheMode = 'wb';
  readonly busAddress = 0n;
  readonly writable = true;
  protected readonly memory: Buffer;

  constructor(memory: Buffer) {
    this.memory = memory;
    this.size = memory.length;
  }

  views(offset: number, length: number): readonly Uint8Array[] {
    return [this.memory.subarray(offset, offset + length)];
  }
  read(offset: number, target: Uint8Array): void {
    target.set(this.memory.subarray(offset, offset + target.length));
  }
  write(offset: number, source: Uint8Array): void {
    this.memory.set(source, offset);
  }
  zero(offset: number, length: number): void {
    this.write(offset, Buffer.alloc(length));
  }
  copy(from: number, to: number, length: number): void {
    this.write(to, Buffer.from(this.memory.subarray(from, from + length)));
  }
  async persist(_offset: number, _length: number): Promise<void> {}
  directAccess(): DirectAccess {
    throw new Error('memory has no bus');
  }
  pin(offset: number, length: number): PagePin {
    return { offset, length, unpin: () => undefined };
  }
  async refresh(): Promise<void> {}
  async close(): Promise<void> {}
}

export class MemoryStore implements MetaStore {
  readonly room = Infinity;
  readonly records: Map<string, Uint8Array>;

  constructor(records: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.records = new Map(records);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.records.get(textOf(key));
  }
  async *range(from: Uint8Array, to: Uint8Array): AsyncIterable<readonly StoreEntry[]> {
    const [first, end] = [textOf(from), textOf(to)];
    const keys = [...this.records.keys()].filter((key) => key >= first && key < end).toSorted();
    yield keys.flatMap((key): StoreEntry[] => {
      const value = this.records.get(key);
      return value === undefined ? [] : [[Buffer.from(key, 'latin1'), value]];
    });
  }
  async batch(ops: readonly StoreOp[], _expect?: readonly StoreOp[]): Promise<void> {
    for (const { key, value } of ops) {
      if (value === undefined) this.records.delete(textOf(key));
      else this.records.set(textOf(key), Uint8Array.from(value));
    }
  }
  async close(): Promise<void> {}
}

/** In latin1 the order of texts is that of the bytes. */
function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

type Event =
  | { readonly kind: 'store'; readonly offset: number; readonly bytes: Buffer }
  | { readonly kind: 'persist'; readonly offset: number; readonly length: number }
  | { readonly kind: 'batch'; readonly ops: readonly StoreOp[] }
  | { readonly kind: 'mark'; readonly mark: number };

class RecordingDevice extends MemoryDevice {
  readonly #events: Event[];

  constructor(memory: Buffer, events: Event[]) {
    super(memory);
    this.#events = events;
  }

  override write(offset: number, source: Uint8Array): void {
    super.write(offset, source);
    this.#events.push({ kind: 'store', offset, bytes: Buffer.from(source) });
  }
  override async persist(offset: number, length: number): Promise<void> {
    this.#events.push({ kind: 'persist', offset, length });
  }
}

class RecordingStore extends MemoryStore {
  readonly #events: Event[];

  constructor(records: ReadonlyMap<string, Uint8Array>, events: Event[]) {
    super(records);
    this.#events = events;
  }

  override async batch(ops: readonly StoreOp[]): Promise<void> {
    this.#events.push({ kind: 'batch', ops });
    await super.batch(ops);
  }
}

/** What a crash left. */
export interface Crashed {
  /** `killed`: all stores are there; `power`: only what was persistent; `torn`: that, and some of the other stores. */
  readonly how: 'killed' | 'power' | 'torn';
  /** The last mark set before it. */
  readonly mark: number;
  readonly fs: Filesystem;
}

export class CrashRecorder {
  readonly fs: Filesystem;
  readonly #events: Event[];
  readonly #memory: Buffer;
  readonly #records: ReadonlyMap<string, Uint8Array>;

  private constructor(fs: Filesystem, events: Event[], memory: Buffer, records: ReadonlyMap<string, Uint8Array>) {
    this.fs = fs;
    this.#events = events;
    this.#memory = memory;
    this.#records = records;
  }

  /** An empty filesystem on a device of `size` bytes. */
  static async create(size: number, leases?: Leases): Promise<CrashRecorder> {
    const memory = Buffer.alloc(size);
    const formatted = new MemoryStore();
    const device = new MemoryDevice(memory);
    await formatFilesystem({
      device,
      store: formatted,
      uuid: newUuid(),
      label: 'crash',
      volatile: false,
      uid: 0,
      gid: 0,
    });
    const before = Buffer.from(memory);
    const events: Event[] = [];
    const store = new RecordingStore(formatted.records, events);
    const fs = await openFilesystem({
      device: new RecordingDevice(memory, events),
      store,
      ...(leases === undefined ? {} : { leases }),
    });
    return new CrashRecorder(fs, events, before, formatted.records);
  }

  /** From here on crashes carry this mark. */
  mark(mark: number): void {
    this.#events.push({ kind: 'mark', mark });
  }

  /**
   * Every crash there may have been since the first mark, or one of `every`, mounted; fsck has found nothing. Answers how
   * many.
   */
  async forEachCrash(look: (crashed: Crashed) => Promise<void>, every = 1): Promise<number> {
    const killed = Buffer.from(this.#memory);
    const power = Buffer.from(this.#memory);
    const torn = Buffer.from(this.#memory);
    const store = new MemoryStore(this.#records);
    let mark: number | undefined;
    let count = 0;
    for (const [i, event] of this.#events.entries()) {
      if (event.kind === 'mark') mark = event.mark;
      else if (event.kind === 'batch') await store.batch(event.ops);
      else if (event.kind === 'store') {
        event.bytes.copy(killed, event.offset);
        // Some, whatever they are: every second or so, and not in an order.
        if ((Math.imul(i + 1, 0x9e3779b1) >>> 28) % 2 === 0) event.bytes.copy(torn, event.offset);
      } else {
        for (const durable of [power, torn]) {
          killed.copy(durable, event.offset, event.offset, event.offset + event.length);
        }
      }
      if (mark === undefined || (Math.imul(i + 1, 0x85ebca6b) >>> 8) % every !== 0) continue;
      for (const [how, memory] of [
        ['killed', killed],
        ['power', power],
        ['torn', torn],
      ] as const) {
        await this.#crash(how, memory, store, mark, look);
        count++;
      }
    }
    return count;
  }

  async #crash(
    how: Crashed['how'],
    memory: Buffer,
    store: MemoryStore,
    mark: number,
    look: (crashed: Crashed) => Promise<void>,
  ): Promise<void> {
    const device = new MemoryDevice(Buffer.from(memory));
    const copy = new MemoryStore(store.records);
    const fs = await openFilesystem({ device, store: copy });
    try {
      await look({ how, mark, fs });
    } finally {
      await fs.close();
    }
    const { problems } = await checkFilesystem({ device, store: copy, onPass: () => {}, onProblem: () => {} });
    if (problems.length > 0) throw new Error(`fsck after a crash (${how}): ${problems.map(problemText).join('; ')}`);
  }
}
