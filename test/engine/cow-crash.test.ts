/**
 * A crash anywhere within, between or after requests to a `cow` file leaves its content as it was before or after one of
 * them, whole: never a mix, and never older than the last sync.
 */
import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { extentState } from '../../fs/engine/leases.ts';
import type { FallocateMode } from '../../fs/vfs.ts';
import { CrashRecorder } from '../support/crash-recorder.ts';
import { n, readAll, root, withHandle } from '../support/filesystem.ts';
import { bs } from './fixture.ts';

const client = 7;
const sizeMax = 6 * bs;
const offset = fc.oneof(fc.nat({ max: sizeMax }), fc.constantFrom(0, bs, 2 * bs, 3 * bs));
const length = fc.oneof(fc.integer({ min: 1, max: 3 * bs }), fc.constantFrom(bs, 2 * bs));
const modes: readonly FallocateMode[] = ['allocate', 'punch', 'zero', 'zero-keep-size', 'collapse', 'insert'];

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('write'), offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('truncate'), offset }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('fallocate'), mode: fc.constantFrom(...modes), offset, length }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('copy'), offset, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('clone') }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('peer'), offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('sync') }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Exerciser {
  readonly #recorder: CrashRecorder;
  readonly #ino: number;
  readonly #source: number;
  /** What the file held after each request; versions[k] after the k-th. */
  readonly #versions: Buffer[] = [Buffer.alloc(0)];
  /** By mark: versions that were durable, and that had begun. */
  readonly #marks: { readonly durable: number; readonly begun: number }[] = [];
  #durable = 0;
  #clones = 0;
  #byte = 0;

  private constructor(recorder: CrashRecorder, ino: number, source: number) {
    this.#recorder = recorder;
    this.#ino = ino;
    this.#source = source;
  }

  static async start(): Promise<Exerciser> {
    const recorder = await CrashRecorder.create(256 * bs);
    const { vfs } = recorder.fs;
    const { ino } = await vfs.mknod(vfs.rootIno, n('cow'), 0o100644, 0, root);
    const { ino: source } = await vfs.mknod(vfs.rootIno, n('source'), 0o100644, 0, root);
    await vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from('on'), 'either', root);
    await withHandle(vfs, source, 2, (handle) => vfs.write(handle, 0, Buffer.alloc(4 * bs, 255), root));
    await vfs.syncfs();
    return new Exerciser(recorder, ino, source);
  }

  async apply(s: Step): Promise<void> {
    const { vfs } = this.#recorder.fs;
    this.#mark(this.#versions.length);
    const next = await this.#request(s);
    if (s.op === 'sync') {
      await vfs.fsync(this.#ino, false);
      this.#durable = this.#versions.length - 1;
    }
    if (next !== undefined) this.#versions.push(next);
    if (s.op === 'peer') this.#durable = this.#versions.length - 1;
    this.#mark(this.#versions.length - 1);
  }

  async check(): Promise<number> {
    return this.#recorder.forEachCrash(async ({ how, mark, fs }) => {
      const { durable = 0, begun = 0 } = this.#marks[mark] ?? {};
      const found = await readAll(fs.vfs, this.#ino);
      const allowed = this.#versions.slice(durable, begun + 1);
      if (allowed.some((version) => version.equals(found))) return;
      const bytes = found.map((byte, i) => (i % 1024 === 0 ? byte : 0)).filter((_, i) => i % 1024 === 0);
      expect.fail(`${how}: ${found.length} bytes, ${[...bytes].join(' ')}: none of requests ${durable} to ${begun}`);
    });
  }

  /** What the file holds afterwards; undefined where nothing changes. */
  async #request(s: Step): Promise<Buffer | undefined> {
    const { fs } = this.#recorder;
    const { vfs } = fs;
    const ino = this.#ino;
    const now = this.#versions.at(-1) ?? Buffer.alloc(0);
    switch (s.op) {
      case 'write': {
        const data = this.#data(s.length);
        await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, s.offset, data, root));
        return resized(now, Math.max(now.length, s.offset + s.length), (next) => data.copy(next, s.offset));
      }
      case 'truncate':
        await vfs.setattr(ino, { size: s.offset }, root);
        return resized(now, s.offset, () => undefined);
      case 'fallocate':
        return this.#fallocate(s.mode, s.offset, s.length, now);
      case 'copy': {
        const from = s.offset % (2 * bs);
        const copied = await withHandle(vfs, this.#source, 0, (source) =>
          withHandle(vfs, ino, 2, (handle) => vfs.copyRange(source, from, handle, s.offset, s.length, root)),
        );
        const size = Math.max(now.length, s.offset + copied);
        return resized(now, size, (next) => next.fill(255, s.offset, s.offset + copied));
      }
      case 'clone':
        await fs.cloneFile(ino, vfs.rootIno, n(`clone${this.#clones++}`), root);
        return undefined;
      case 'peer':
        return this.#peer(s.offset, s.length, now);
      case 'sync':
        return undefined;
    }
  }

  async #fallocate(mode: FallocateMode, from: number, count: number, now: Buffer): Promise<Buffer> {
    const { vfs } = this.#recorder.fs;
    const call = (at: number, bytes: number) =>
      withHandle(vfs, this.#ino, 2, (handle) => vfs.fallocate(handle, mode, at, bytes, root));
    if (mode !== 'collapse' && mode !== 'insert') {
      await call(from, count);
      const end = from + count;
      const grows = mode === 'allocate' || mode === 'zero';
      const size = grows ? Math.max(now.length, end) : now.length;
      return resized(
        now,
        size,
        (next) => mode !== 'allocate' && next.fill(0, Math.min(from, size), Math.min(end, size)),
      );
    }
    const at = Math.floor(from / bs) * bs;
    if (mode === 'collapse' ? at + bs >= now.length : at >= now.length) return now;
    await call(at, bs);
    const rest = mode === 'collapse' ? [now.subarray(at + bs)] : [Buffer.alloc(bs), now.subarray(at)];
    return Buffer.concat([now.subarray(0, at), ...rest]);
  }

  /** A client with a layout writes whole blocks to what it was given, commits, writes on without a commit, and returns. */
  async #peer(from: number, count: number, now: Buffer): Promise<Buffer> {
    const { fs } = this.#recorder;
    const range = { offset: Math.floor(from / bs) * bs, length: Math.ceil(count / bs) * bs };
    const extents = await fs.layouts.mapForWrite(this.#ino, range, client);
    const store = (data: Buffer): void => {
      for (const { state, offset: at, length: bytes, storageOffset } of extents) {
        if (state === extentState.read) continue;
        // Half a block at a time, as a slow device would.
        for (let done = 0; done < bytes; done += bs / 2) {
          const start = at - range.offset + done;
          fs.device.write(storageOffset + done, data.subarray(start, start + bs / 2));
        }
      }
    };
    const data = this.#data(range.length);
    store(data);
    const end = range.offset + range.length;
    await fs.layouts.commitLayout(this.#ino, { ranges: [range], lastWriteOffset: end - 1, mtimeNs: undefined }, client);
    store(this.#data(range.length));
    await fs.layouts.releaseProvisional(this.#ino, range, client);
    return resized(now, Math.max(now.length, end), (next) => data.copy(next, range.offset));
  }

  /** A byte of its own for each request, so that one can be told from another. */
  #data(bytes: number): Buffer {
    this.#byte = (this.#byte % 250) + 1;
    return Buffer.alloc(bytes, this.#byte);
  }

  #mark(begun: number): void {
    this.#recorder.mark(this.#marks.length);
    this.#marks.push({ durable: this.#durable, begun });
  }
}

function resized(now: Buffer, size: number, apply: (next: Buffer) => unknown): Buffer {
  const next = Buffer.alloc(size);
  now.copy(next);
  apply(next);
  return next;
}

test.prop([fc.array(step, { minLength: 2, maxLength: 10 })], { numRuns: 25 })(
  'a crash at any moment leaves one request done or not done',
  async (steps) => {
    const exerciser = await Exerciser.start();
    for (const s of steps) await exerciser.apply(s);
    expect(await exerciser.check()).toBeGreaterThan(0);
  },
  180_000,
);
