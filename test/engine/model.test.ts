/**
 * Random operations on files of one directory, compared with buffers: data, sizes, clones, holes; the roles of blocks
 * add up after each step; what was synced is there after a crash, and everything after a remount.
 */
import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import type { Handle } from '../../fs/vfs.ts';
import { Lab, n, readAll, root } from '../support/filesystem.ts';

/** Each run takes a tenth of a second where nothing else runs. */
const runsMs = 600_000;
const sizeMax = 200_000;
const file = fc.integer({ min: 0, max: 3 });
const offset = fc.integer({ min: 0, max: sizeMax });
const length = fc.oneof(fc.integer({ min: 1, max: 40_000 }), fc.constantFrom(1, 4096, 8192));

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('write' as const),
      file,
      offset,
      length,
      byte: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('truncate' as const), file, offset }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('clone' as const), file, to: file }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unlink' as const), file }) },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('fallocate' as const),
      file,
      mode: fc.constantFrom(
        'allocate',
        'allocate-keep-size',
        'punch',
        'zero',
        'zero-keep-size',
        'collapse',
        'insert' as const,
      ),
      offset,
      length,
      aligned: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('copy' as const),
      file,
      to: file,
      offset,
      target: offset,
      length,
      aligned: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('sync' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('crash' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('remount' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Model {
  files = new Map<number, Buffer>();
  synced = new Map<number, Buffer>();
  readonly lab: Lab;

  constructor(lab: Lab) {
    this.lab = lab;
  }

  async apply(s: Step): Promise<void> {
    const { vfs } = this.lab;
    switch (s.op) {
      case 'write': {
        const data = Buffer.alloc(s.length, s.byte);
        await this.#with(s.file, (handle) => vfs.write(handle, s.offset, data, root));
        const old = this.files.get(s.file) ?? Buffer.alloc(0);
        const next = Buffer.alloc(Math.max(old.length, s.offset + s.length));
        old.copy(next);
        data.copy(next, s.offset);
        this.files.set(s.file, next);
        return;
      }
      case 'truncate': {
        if (!this.files.has(s.file)) return;
        await vfs.setattr(await this.#ino(s.file), { size: s.offset }, root);
        this.#resize(s.file, s.offset);
        return;
      }
      case 'clone': {
        const source = this.files.get(s.file);
        if (source === undefined || s.file === s.to) return;
        await this.#unlink(s.to);
        await this.lab.fs.cloneFile(await this.#ino(s.file), vfs.rootIno, n(`f${s.to}`), root);
        this.files.set(s.to, Buffer.from(source));
        return;
      }
      case 'unlink':
        return this.#unlink(s.file);
      case 'fallocate':
        return this.#fallocate(s);
      case 'copy':
        return this.#copy(s);
      case 'sync':
        await vfs.syncfs();
        this.#remember();
        return;
      case 'crash':
        return this.#crash();
      case 'remount':
        await this.lab.remount();
        this.#remember();
        return;
    }
  }

  async check(fs: Filesystem = this.lab.fs, files: ReadonlyMap<number, Buffer> = this.files): Promise<void> {
    const { blocks } = fs.status();
    const { total, shared: _shared, ...roles } = blocks;
    expect(Object.values(roles).reduce((a, b) => a + b, 0)).toBe(total);
    for (const [id, content] of files) {
      const attr = await fs.vfs.lookup(fs.vfs.rootIno, n(`f${id}`), root);
      expect(attr.size, `size of f${id}`).toBe(content.length);
      const read = await readAll(fs.vfs, attr.ino);
      if (!read.equals(content)) {
        const at = read.findIndex((byte, i) => byte !== content[i]);
        expect.fail(`f${id} differs at byte ${at}: ${read[at]} instead of ${content[at]}`);
      }
    }
  }

  async #fallocate(s: Extract<Step, { op: 'fallocate' }>): Promise<void> {
    const content = this.files.get(s.file);
    if (content === undefined) return;
    const shifts = s.mode === 'collapse' || s.mode === 'insert';
    const unit = s.aligned || shifts ? 4096 : 1;
    const at = Math.floor(s.offset / unit) * unit;
    const count = Math.max(1, Math.floor(s.length / unit)) * unit;
    if (s.mode === 'collapse' && at + count >= content.length) return;
    if (s.mode === 'insert' && (at >= content.length || content.length + count > 2 * sizeMax)) return;
    await this.#with(s.file, (handle) => this.lab.vfs.fallocate(handle, s.mode, at, count, root));
    if (s.mode === 'allocate' || s.mode === 'zero') this.#resize(s.file, Math.max(content.length, at + count));
    const now = this.files.get(s.file) ?? content;
    if (s.mode === 'punch' || s.mode === 'zero' || s.mode === 'zero-keep-size')
      now.fill(0, Math.min(at, now.length), Math.min(at + count, now.length));
    if (s.mode === 'collapse') this.files.set(s.file, Buffer.concat([now.subarray(0, at), now.subarray(at + count)]));
    if (s.mode === 'insert')
      this.files.set(s.file, Buffer.concat([now.subarray(0, at), Buffer.alloc(count), now.subarray(at)]));
  }

  async #copy(s: Extract<Step, { op: 'copy' }>): Promise<void> {
    const source = this.files.get(s.file);
    if (source === undefined || s.file === s.to) return;
    const unit = s.aligned ? 4096 : 1;
    const from = Math.floor(s.offset / unit) * unit;
    const to = Math.floor(s.target / unit) * unit;
    const done = await this.#with(s.file, (a) =>
      this.#with(s.to, (b) => this.lab.vfs.copyRange(a, from, b, to, s.length, root)),
    );
    const old = this.files.get(s.to) ?? Buffer.alloc(0);
    expect(done > 0).toBe(from < source.length);
    const next = Buffer.alloc(done === 0 ? old.length : Math.max(old.length, to + done));
    old.copy(next);
    if (done > 0) source.copy(next, to, from, from + done);
    this.files.set(s.to, next);
  }

  /** What was synced before is there afterwards, in that state or a later one; nothing else shows up in between. */
  async #crash(): Promise<void> {
    await this.lab.vfs.syncfs();
    this.#remember();
    const crashed = await this.lab.afterCrash();
    try {
      await this.check(crashed.fs, this.synced);
    } finally {
      await crashed.remove();
    }
  }

  #remember(): void {
    this.synced = new Map([...this.files].map(([id, content]) => [id, Buffer.from(content)]));
  }

  #resize(id: number, size: number): void {
    const old = this.files.get(id) ?? Buffer.alloc(0);
    const next = Buffer.alloc(size);
    old.copy(next);
    this.files.set(id, next);
  }

  async #unlink(id: number): Promise<void> {
    if (!this.files.delete(id)) return;
    await this.lab.vfs.unlink(this.lab.vfs.rootIno, n(`f${id}`), root);
  }

  async #ino(id: number): Promise<number> {
    return (await this.lab.vfs.lookup(this.lab.vfs.rootIno, n(`f${id}`), root)).ino;
  }

  async #with<T>(id: number, use: (handle: Handle) => T | Promise<T>): Promise<T> {
    const { vfs } = this.lab;
    if (!this.files.has(id)) {
      const { handle } = await vfs.create(vfs.rootIno, n(`f${id}`), 0o644, 2, root);
      await vfs.release(handle);
      this.files.set(id, Buffer.alloc(0));
    }
    const handle = await vfs.open(await this.#ino(id), 2, root);
    try {
      return await use(handle);
    } finally {
      await vfs.release(handle);
    }
  }
}

test.prop([fc.array(step, { minLength: 1, maxLength: 30 })], { numRuns: Number(process.env['IOPMEMFS_RUNS'] ?? 60) })(
  'files hold what was written, through clones, holes, crashes and remounts',
  async (steps) => {
    const lab = await Lab.create(8 << 20);
    try {
      const model = new Model(lab);
      for (const s of steps) {
        await model.apply(s);
        await model.check();
      }
    } finally {
      await lab.remove();
    }
  },
  runsMs,
);
