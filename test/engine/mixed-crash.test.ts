/**
 * All that happens to files at the same time, with bounds so small that everything goes in slices and nothing stays in
 * memory; and a crash anywhere in it. Each byte found is one that this file had at this place since it was made durable
 * last; of a `cow` file and of a snapshot, all bytes are those of one moment.
 */
import { fc, test } from '@fast-check/vitest';
import { expect, vi } from 'vitest';
import { type ByteRange, extentState, type LayoutExtent } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import type { limits } from '../../fs/limits.ts';
import type { FallocateMode } from '../../fs/vfs.ts';
import { CrashRecorder } from '../support/crash-recorder.ts';
import { n, readAll, root, withHandle } from '../support/filesystem.ts';
import { FakeLeases } from './fake-leases.ts';
import { bs } from './fixture.ts';

vi.mock('../../fs/limits.ts', async (original) => {
  const real = await original<{ limits: typeof limits }>();
  const few = {
    releasedExtentsMax: 2,
    reapedExtentsMax: 4,
    sharedExtentsMax: 1,
    reapedInodesMax: 2,
    longWorkRecordsMax: 8,
    groupRecordsMax: 24,
    unwrittenRecordsMax: 96,
    inodeCacheMax: 4,
    extentMapsMax: 4,
    sliceStepsMax: 2,
  };
  return { limits: { ...real.limits, ...few } };
});

const sizeMax = 16 * bs;
const cowFile = 3;
/** What dead clients store, and nobody else. */
const lateByte = 255;
const file = fc.nat({ max: 3 });
const offset = fc.oneof(
  fc.nat({ max: sizeMax }),
  fc.nat({ max: 16 }).map((block) => block * bs),
);
const length = fc.oneof(fc.integer({ min: 1, max: 3 * bs }), fc.constantFrom(bs, 2 * bs, 12 * bs));
type Mode = Exclude<FallocateMode, 'zero-keep-size'>;
const modes: readonly Mode[] = ['allocate', 'allocate-keep-size', 'punch', 'punch', 'zero', 'collapse', 'insert'];

const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('write'), file, offset, length }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('peer'),
      file,
      offset,
      length,
      end: fc.constantFrom('commits', 'commits', 'in part', 'returns', 'dies'),
      turns: fc.nat({ max: 3 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('late', 'evict') }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('scatter'), file }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('truncate'), file, offset }) },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('fallocate'), file, mode: fc.constantFrom(...modes), offset, length }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('clone'), file, to: file }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('copy'), file, to: file, offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unlink'), file }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('snapshot', 'forget') }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('job'), block: fc.nat({ max: 150 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('quota'), blocks: fc.nat({ max: 60 }) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('turns'), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('datasync'), file }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('sync') }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('wait') }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Peer = Extract<Step, { op: 'peer' }>;

/** One inode: what it held after each request to it, and when that began. */
interface Content {
  readonly id: number;
  readonly ino: number;
  readonly isCow: boolean;
  readonly versions: { data: Buffer; readonly begun: number }[];
  /** From a mark on a version was durable. */
  readonly durable: { readonly mark: number; readonly version: number }[];
  /** From a mark on its name was durable; and it was being removed. */
  named: number;
  unnamed: number;
  /** Requests that are over. */
  done: number;
}

interface Snapshot {
  readonly name: string;
  readonly begun: number;
  ended: number;
}

class Exerciser {
  readonly #recorder: CrashRecorder;
  readonly #leases: FakeLeases;
  readonly #dir: number;
  readonly #files = new Map<number, Content>();
  readonly #inodes = new Map<number, Content>();
  readonly #chains = new Map<number, Promise<void>>();
  readonly #snapshots: Snapshot[] = [];
  #mark = 0;
  #byte = 0;
  #nextClient = 7;
  /** What dead clients can still store to. */
  #reached: { readonly client: number; readonly at: number; readonly bytes: number }[] = [];

  private constructor(recorder: CrashRecorder, leases: FakeLeases, dir: number) {
    this.#recorder = recorder;
    this.#leases = leases;
    this.#dir = dir;
  }

  static async start(): Promise<Exerciser> {
    const leases = new FakeLeases();
    const recorder = await CrashRecorder.create(200 * bs, leases);
    const { vfs } = recorder.fs;
    const { ino } = await vfs.mkdir(vfs.rootIno, n('d'), 0o755, root);
    await vfs.syncfs();
    recorder.mark(0);
    return new Exerciser(recorder, leases, ino);
  }

  get #vfs() {
    return this.#recorder.fs.vfs;
  }

  #next(): number {
    this.#recorder.mark(++this.#mark);
    return this.#mark;
  }

  /** Behind what is asked of these files already; others are not waited for. */
  async #on(ids: readonly number[], request: () => Promise<void>): Promise<void> {
    const before = ids.map((id) => this.#chains.get(id) ?? Promise.resolve());
    const done = Promise.all(before).then(request);
    for (const id of ids) this.#chains.set(id, done);
    done.catch(() => undefined);
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#chains.values());
  }

  async #open(id: number): Promise<Content> {
    const known = this.#files.get(id);
    if (known !== undefined) return known;
    const begun = this.#next();
    const { ino } = await this.#vfs.mknod(this.#dir, n(`f${id}`), 0o100644, 0, root);
    const isCow = id === cowFile;
    if (isCow) await this.#vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from('on'), 'either', root);
    return this.#add(id, ino, Buffer.alloc(0), begun);
  }

  #add(id: number, ino: number, data: Buffer, begun: number): Content {
    const content: Content = {
      id,
      ino,
      isCow: id === cowFile,
      versions: [{ data, begun }],
      durable: [],
      named: Infinity,
      unnamed: Infinity,
      done: 0,
    };
    this.#files.set(id, content);
    this.#inodes.set(ino, content);
    return content;
  }

  /** A request that makes `next` of what was there, as much of it as it answers to have done. */
  async #change(content: Content, next: (now: Buffer, done: number) => Buffer, request: () => unknown): Promise<void> {
    const now = content.versions.at(-1)?.data ?? Buffer.alloc(0);
    const version = { data: next(now, Infinity), begun: this.#next() };
    content.versions.push(version);
    try {
      const done = await request();
      version.data = next(now, typeof done === 'number' ? done : Infinity);
    } catch (error) {
      if (!(error instanceof FsError) || !['ENOSPC', 'EDQUOT', 'EINVAL'].includes(error.code)) throw error;
      version.data = now;
    }
    content.done = content.versions.length - 1;
  }

  async apply(s: Step): Promise<void> {
    const vfs = this.#vfs;
    switch (s.op) {
      case 'write':
        return this.#on([s.file], async () => this.#write(await this.#open(s.file), s.offset, s.length));
      case 'peer':
        return this.#on([s.file], async () => this.#peer(await this.#open(s.file), s));
      case 'late':
        for (const { at, bytes } of this.#reached) this.#recorder.fs.device.write(at, Buffer.alloc(bytes, lateByte));
        return undefined;
      case 'evict':
        return this.#on([-3], async () => {
          const { client } = this.#reached.at(0) ?? {};
          if (client === undefined) return;
          this.#reached = this.#reached.filter((each) => each.client !== client);
          await this.#recorder.fs.layouts.releaseQuarantine(client);
        });
      case 'scatter':
        return this.#on([s.file], async () => {
          const content = await this.#open(s.file);
          for (let block = 0; block < 14; block += 2) await this.#write(content, block * bs, bs);
        });
      case 'truncate':
        return this.#on([s.file], async () => {
          const content = await this.#open(s.file);
          await this.#change(
            content,
            (now) => resized(now, s.offset),
            () => vfs.setattr(content.ino, { size: s.offset }, root),
          );
        });
      case 'fallocate':
        return this.#on([s.file], async () => {
          const content = await this.#open(s.file);
          const aligned = s.mode === 'collapse' || s.mode === 'insert';
          const at = aligned ? Math.floor(s.offset / bs) * bs : s.offset;
          const count = aligned ? Math.ceil(s.length / bs) * bs : s.length;
          await this.#change(
            content,
            (now) => allocated(now, s.mode, at, count),
            () => withHandle(vfs, content.ino, 2, (handle) => vfs.fallocate(handle, s.mode, at, count, root)),
          );
        });
      case 'copy':
        if (s.file === s.to) return undefined;
        return this.#on([s.file, s.to], async () => {
          const [source, target] = [await this.#open(s.file), await this.#open(s.to)];
          const data = source.versions.at(-1)?.data ?? Buffer.alloc(0);
          const to = Math.floor(s.offset / bs) * bs;
          await this.#change(
            target,
            (now, done) => written(now, to, data.subarray(0, Math.min(done, s.length))),
            () =>
              withHandle(vfs, source.ino, 0, (from) =>
                withHandle(vfs, target.ino, 2, (handle) => vfs.copyRange(from, 0, handle, to, s.length, root)),
              ),
          );
        });
      case 'clone':
        if (s.file === s.to || s.to === cowFile) return undefined;
        return this.#on([s.file, s.to], async () => {
          const source = await this.#open(s.file);
          await this.#unlink(s.to);
          const begun = this.#next();
          try {
            const { ino } = await this.#recorder.fs.cloneFile(source.ino, this.#dir, n(`f${s.to}`), root);
            this.#add(s.to, ino, source.versions.at(-1)?.data ?? Buffer.alloc(0), begun);
          } catch (error) {
            if (!(error instanceof FsError && ['ENOSPC', 'EDQUOT'].includes(error.code))) throw error;
          }
        });
      case 'unlink':
        return this.#on([s.file], () => this.#unlink(s.file));
      case 'snapshot':
        return this.#on([-1], () => this.#snapshot());
      case 'forget':
        return this.#on([-1], async () => {
          const oldest = this.#snapshots.find(({ ended }) => ended !== Infinity);
          if (oldest === undefined) return;
          this.#snapshots.splice(this.#snapshots.indexOf(oldest), 1);
          await vfs.rmdir(await this.#snapshotsIno(), n(oldest.name), root);
        });
      case 'job': {
        const { fs } = this.#recorder;
        if (fs.job()?.state === 'running') return undefined;
        if (s.block < 2) fs.startJob({ kind: 'defragment', ino: undefined });
        else fs.startJob({ kind: 'evacuate', offset: s.block * bs, length: 40 * bs, retire: false });
        return undefined;
      }
      case 'quota':
        return this.#on([-2], async () => {
          const { fs } = this.#recorder;
          const set = s.blocks < 20 ? fs.removeQuota(this.#dir) : fs.setQuota(this.#dir, s.blocks * bs, 0xffff);
          await set.catch((error: unknown) => {
            if (!(error instanceof FsError)) throw error;
          });
        });
      case 'turns':
        for (let turn = 0; turn < s.count; turn++) await new Promise(setImmediate);
        return undefined;
      case 'datasync': {
        const content = this.#files.get(s.file);
        if (content !== undefined) await this.#sync([content], true);
        return undefined;
      }
      case 'sync':
        return this.#sync([...this.#files.values()], false);
      case 'wait':
        return this.#settle();
    }
  }

  /** Not behind what is asked of the files: what is over when it begins is durable. */
  async #sync(contents: readonly Content[], dataOnly: boolean): Promise<void> {
    const over = contents.map((content) => ({ content, version: content.done }));
    const [first] = contents;
    await (dataOnly && first !== undefined ? this.#vfs.fsync(first.ino, true) : this.#vfs.syncfs());
    const mark = this.#next();
    for (const { content, version } of over) {
      content.durable.push({ mark, version });
      if (!dataOnly) content.named = Math.min(content.named, mark);
    }
  }

  /** A byte of its own for each request, so that the place it comes from can be told. */
  #data(count: number): Buffer {
    this.#byte = (this.#byte % 250) + 1;
    return Buffer.alloc(count, this.#byte);
  }

  async #write(content: Content, at: number, count: number): Promise<void> {
    const data = this.#data(count);
    await this.#change(
      content,
      (now, done) => written(now, at, data.subarray(0, Math.min(done, count))),
      () => withHandle(this.#vfs, content.ino, 2, (handle) => this.#vfs.write(handle, at, data, root)),
    );
  }

  /**
   * A client writes whole blocks under a layout, commits all of them, the first half or none, and gives it back; or it dies,
   * and is fenced. Meanwhile other files that share the blocks come and go. In place it stores only what it commits: anything
   * else would be seen, and nobody would have to keep it.
   */
  async #peer(content: Content, { offset: from, length: count, end, turns }: Peer): Promise<void> {
    const { layouts } = this.#recorder.fs;
    const { ino } = content;
    const client = this.#nextClient++;
    const range = { offset: Math.floor(from / bs) * bs, length: Math.ceil(count / bs) * bs };
    const half = { offset: range.offset, length: Math.ceil(range.length / bs / 2) * bs };
    const committed = { commits: range, 'in part': half, returns: undefined, dies: undefined }[end];
    const data = this.#data(range.length);
    while (this.#leases.open > 0) await new Promise(setImmediate); // nothing is granted below a recall
    const held = this.#leases.hold(ino, range.offset, range.length, client);
    let granted: readonly LayoutExtent[] = [];
    await this.#change(
      content,
      (now) => {
        if (committed !== undefined) return written(now, range.offset, data.subarray(0, committed.length));
        return end === 'dies' ? storedInPlace(now, granted, range.offset, data) : now;
      },
      async () => {
        try {
          granted = await layouts.mapForWrite(ino, range, client);
          await this.#store(granted, range.offset, data, end === 'dies' ? Infinity : (committed?.length ?? 0));
          for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
          if (end === 'dies') await this.#fence(client, ino, range, granted);
          if (committed !== undefined) {
            const lastWriteOffset = committed.offset + committed.length - 1;
            await layouts.commitLayout(ino, { ranges: [committed], lastWriteOffset, mtimeNs: undefined }, client);
          }
        } finally {
          if (end !== 'dies') await layouts.releaseProvisional(ino, range, client);
          this.#leases.giveBack(held);
        }
      },
    );
  }

  /** In place no more than the first `inPlace` bytes of the data. */
  async #store(extents: readonly LayoutExtent[], from: number, data: Buffer, inPlace: number): Promise<void> {
    for (const { state, offset: at, length: bytes, storageOffset } of extents) {
      if (state === extentState.read) continue;
      const end = state === extentState.readWrite ? Math.min(at - from + bytes, inPlace) : at - from + bytes;
      this.#recorder.fs.device.write(storageOffset, data.subarray(at - from, Math.max(at - from, end)));
      await new Promise(setImmediate);
    }
  }

  /** What it stores from now on nobody ever sees, unless there was no room to take the data out of its reach. */
  async #fence(client: number, ino: number, range: ByteRange, extents: readonly LayoutExtent[]): Promise<void> {
    const { fs } = this.#recorder;
    await fs.layouts.quarantine(client, [{ ino, ...range, access: 'write' }]);
    const mapped = await fs.map(ino);
    for (const { state, storageOffset: at, length: bytes } of extents) {
      const isLeft = mapped.some((one) => one.storageOffset < at + bytes && at < one.storageOffset + one.length);
      if (state !== extentState.read && !isLeft) this.#reached.push({ client, at, bytes });
    }
  }

  async #unlink(id: number): Promise<void> {
    const content = this.#files.get(id);
    if (content === undefined) return;
    content.unnamed = this.#next();
    this.#files.delete(id);
    await this.#vfs.unlink(this.#dir, n(`f${id}`), root);
  }

  async #snapshotsIno(): Promise<number> {
    return (await this.#vfs.lookup(this.#dir, n('.snapshots'), root)).ino;
  }

  async #snapshot(): Promise<void> {
    const snapshot = { name: `s${this.#mark}`, begun: this.#next(), ended: Infinity };
    this.#snapshots.push(snapshot);
    try {
      await this.#vfs.mkdir(await this.#snapshotsIno(), n(snapshot.name), 0o755, root);
      snapshot.ended = this.#next();
    } catch (error) {
      if (!(error instanceof FsError && ['ENOSPC', 'EDQUOT', 'EAGAIN'].includes(error.code))) throw error;
      this.#snapshots.splice(this.#snapshots.indexOf(snapshot), 1);
    }
  }

  async end(): Promise<number> {
    await this.#settle();
    const { fs } = this.#recorder;
    while (fs.job()?.state === 'running') await new Promise(setImmediate);
    for (const [id, { ino, versions }] of this.#files) {
      const found = await readAll(fs.vfs, ino);
      expect(found.equals(versions.at(-1)?.data ?? found), `content of f${id}, ${found.length} bytes`).toBe(true);
      const { blocks } = await fs.vfs.getattr(ino, root);
      const mapped = await fs.map(ino);
      expect(mapped.reduce((sum, extent) => sum + extent.length, 0)).toBe(blocks * 512);
    }
    await fs.close();
    return this.#recorder.forEachCrash(async (crashed) => {
      const { vfs } = crashed.fs;
      const seen = new Set<number>();
      for (const { name, ino } of await entries(vfs, this.#dir)) {
        seen.add(ino);
        const content = this.#inodes.get(ino);
        if (content === undefined) throw new Error(`${name} leads to inode ${ino}, which nobody made`);
        this.#look(content, await readAll(vfs, ino), crashed.mark, crashed.how);
      }
      for (const { id, ino, named, unnamed } of this.#inodes.values()) {
        if (named <= crashed.mark && crashed.mark < unnamed) expect(seen, `f${id} at ${crashed.mark}`).toContain(ino);
      }
      const { ino: snapshots } = await vfs.lookup(this.#dir, n('.snapshots'), root);
      for (const entry of await entries(vfs, snapshots)) {
        const known = this.#snapshots.find(({ name }) => name === entry.name);
        if (known === undefined) continue;
        for (const { name, ino } of await entries(vfs, entry.ino)) {
          const found = await readAll(vfs, ino);
          const might = [...this.#inodes.values()].filter(({ id }) => name === `f${id}`);
          const isOne = might.some(({ versions }) =>
            versions.some(({ data, begun }) => begun <= known.ended && data.equals(found)),
          );
          if (!isOne) expect.fail(`${entry.name}/${name} is what ${name} never was (${crashed.how}, ${crashed.mark})`);
        }
      }
    }, 7);
  }

  #look(content: Content, found: Buffer, mark: number, how: string): void {
    const { id, ino, isCow, versions, durable } = content;
    const since = durable.filter((each) => each.mark <= mark).at(-1)?.version ?? 0;
    const allowed = versions.slice(since).filter(({ begun }) => begun <= mark);
    const what = `f${id} (inode ${ino}) after ${how} at ${mark}`;
    if (isCow) {
      if (!allowed.some(({ data }) => data.equals(found))) expect.fail(`${what} is what it never was`);
      return;
    }
    const sizes = allowed.map(({ data }) => data.length);
    expect(sizes, `size of ${what}`).toContain(found.length);
    const wrong = found.findIndex((byte, i) => !allowed.some(({ data }) => (data[i] ?? 0) === byte));
    if (wrong !== -1) {
      const could = [...new Set(allowed.map(({ data }) => data[wrong] ?? 0))].join(', ');
      expect.fail(`${what} has ${found[wrong]} at byte ${wrong}, not one of ${could}`);
    }
  }
}

async function entries(vfs: CrashRecorder['fs']['vfs'], ino: number) {
  const handle = await vfs.opendir(ino, root);
  const page = await vfs.readdir(handle, 2, 1000, root);
  await vfs.release(handle);
  return page;
}

function resized(now: Buffer, size: number): Buffer {
  const next = Buffer.alloc(size);
  now.copy(next);
  return next;
}

function written(now: Buffer, at: number, data: Uint8Array): Buffer {
  if (data.length === 0) return now;
  const next = resized(now, Math.max(now.length, at + data.length));
  next.set(data, at);
  return next;
}

/** What a client stored to blocks that are the file's. */
function storedInPlace(now: Buffer, granted: readonly LayoutExtent[], from: number, data: Buffer): Buffer {
  const next = Buffer.from(now);
  for (const { state, offset: at, length: bytes } of granted)
    if (state === extentState.readWrite && at < next.length) data.copy(next, at, at - from, at - from + bytes);
  return next;
}

function allocated(now: Buffer, mode: Mode, at: number, count: number): Buffer {
  const end = at + count;
  switch (mode) {
    case 'allocate':
      return resized(now, Math.max(now.length, end));
    case 'punch':
      return Buffer.from(now).fill(0, Math.min(at, now.length), Math.min(end, now.length));
    case 'zero':
      return resized(now, Math.max(now.length, end)).fill(0, at, end);
    case 'collapse':
      return end < now.length ? Buffer.concat([now.subarray(0, at), now.subarray(end)]) : now;
    case 'insert':
      return at < now.length ? Buffer.concat([now.subarray(0, at), Buffer.alloc(count), now.subarray(at)]) : now;
    case 'allocate-keep-size':
      return now;
  }
}

const numRuns = Number(process.env['IOPMEMFS_RUNS'] ?? 20);
/** Each run takes a fifth of a second where nothing else runs. */
const runsMs = 600_000;

test.prop([fc.array(step, { minLength: 1, maxLength: 40, size: 'max' })], { numRuns })(
  'a crash in the midst of everything shows of each file only what the file itself held',
  async (steps) => {
    const exerciser = await Exerciser.start();
    for (const s of steps) await exerciser.apply(s);
    await exerciser.end();
  },
  runsMs,
);
