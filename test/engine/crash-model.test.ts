/**
 * Crashes without a sync before them: each byte of each file is one that this file had at this place since it was last
 * synced, or zero; never one of another file, and never one from another place. So it is while data moves on the device,
 * too, which nobody notices who reads it.
 */
import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { Lab, n, readAll, root, withHandle } from '../support/filesystem.ts';
import { bs } from './fixture.ts';

/** Each run takes a fifth of a second where nothing else runs. */
const runsMs = 600_000;
const sizeMax = 8 * bs;
const file = fc.nat({ max: 2 });
const offset = fc.oneof(fc.nat({ max: sizeMax }), fc.constantFrom(0, bs, 2 * bs, 4 * bs));
const length = fc.oneof(fc.integer({ min: 1, max: 3 * bs }), fc.constantFrom(bs, 2 * bs));

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('write'), file, offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('truncate'), file, offset }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('clone'), file, to: file }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unlink'), file }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('punch', 'zero'), file, offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('copy'), file, to: file, block: fc.nat({ max: 4 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('job'),
      kind: fc.constantFrom('defragment', 'evacuate', 'retire', 'shrink', 'grow'),
      block: fc.nat({ max: 200 }),
      blocks: fc.integer({ min: 1, max: 60 }),
      ends: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('turns'), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('sync') }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('crash') }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** One inode: what it holds, and what it held at any time since the last sync. */
interface Content {
  readonly ino: number;
  now: Buffer;
  past: Buffer[];
}

class Exerciser {
  readonly #lab: Lab;
  readonly #files = new Map<number, Content>();
  /** Also those unlinked since the last sync. */
  readonly #inodes = new Map<number, Content>();
  #byte = 0;

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  async apply(s: Step): Promise<void> {
    const { vfs } = this.#lab;
    switch (s.op) {
      case 'write': {
        const content = await this.#open(s.file);
        // A byte of its own for each write, so that the place it comes from can be told.
        this.#byte = (this.#byte % 255) + 1;
        const data = Buffer.alloc(s.length, this.#byte);
        await withHandle(vfs, content.ino, 2, (handle) => vfs.write(handle, s.offset, data, root));
        this.#change(content, Math.max(content.now.length, s.offset + s.length), (now) => data.copy(now, s.offset));
        return;
      }
      case 'truncate': {
        const content = await this.#open(s.file);
        await vfs.setattr(content.ino, { size: s.offset }, root);
        this.#change(content, s.offset, () => undefined);
        return;
      }
      case 'clone': {
        if (s.file === s.to) return;
        const source = await this.#open(s.file);
        await this.#unlink(s.to);
        const { ino } = await this.#lab.fs.cloneFile(source.ino, vfs.rootIno, n(`f${s.to}`), root);
        this.#add(s.to, ino, Buffer.from(source.now));
        return;
      }
      case 'unlink':
        await this.#unlink(s.file);
        return;
      case 'punch':
      case 'zero': {
        const content = await this.#open(s.file);
        await withHandle(vfs, content.ino, 2, (handle) => vfs.fallocate(handle, s.op, s.offset, s.length, root));
        const size = s.op === 'zero' ? Math.max(content.now.length, s.offset + s.length) : content.now.length;
        this.#change(content, size, (now) =>
          now.fill(0, Math.min(s.offset, size), Math.min(s.offset + s.length, size)),
        );
        return;
      }
      case 'copy': {
        if (s.file === s.to) return;
        const [source, target] = [await this.#open(s.file), await this.#open(s.to)];
        const to = s.block * bs;
        const done = await withHandle(vfs, source.ino, 0, (from) =>
          withHandle(vfs, target.ino, 2, (handle) => vfs.copyRange(from, 0, handle, to, 2 * bs, root)),
        );
        const data = source.now.subarray(0, done);
        if (done > 0) this.#change(target, Math.max(target.now.length, to + done), (now) => data.copy(now, to));
        return;
      }
      case 'job':
        await this.#job(s);
        return;
      case 'turns':
        for (let turn = 0; turn < s.count; turn++) await new Promise(setImmediate);
        return;
      case 'sync':
        await vfs.syncfs();
        for (const content of this.#inodes.values()) content.past = [content.now];
        return;
      case 'crash':
        await this.#crash();
        return;
    }
  }

  /** Whoever reads sees what was written last, wherever it lies by now. */
  async expectContent(): Promise<void> {
    await this.#ended();
    for (const [id, { ino, now }] of this.#files) {
      const found = await readAll(this.#lab.vfs, ino);
      expect(found.equals(now), `content of f${id}, ${found.length} bytes`).toBe(true);
    }
  }

  /** What has no room, or finds another job running, may fail. */
  async #job({ kind, block, blocks, ends }: Extract<Step, { op: 'job' }>): Promise<void> {
    const { fs } = this.#lab;
    if (fs.job()?.state === 'running') return;
    const at = { offset: block * bs, length: blocks * bs };
    const { total, bad } = fs.status().blocks;
    switch (kind) {
      case 'defragment':
        fs.startJob({ kind, ino: undefined });
        break;
      case 'evacuate':
      case 'retire':
        if (block === 0 || block + blocks >= total || (kind === 'retire' && bad > 60)) return;
        fs.startJob({ kind: 'evacuate', ...at, retire: kind === 'retire' });
        break;
      case 'shrink':
      case 'grow':
        fs.startJob({ kind: 'resize', size: kind === 'grow' ? undefined : (total - (blocks >> 2)) * bs });
        break;
    }
    if (ends) await this.#ended();
  }

  async #ended(): Promise<void> {
    const { fs } = this.#lab;
    while (fs.job()?.state === 'running') await new Promise(setImmediate);
    const error = fs.job()?.error;
    if (error !== undefined) expect(['ENOSPC', 'EINVAL'], error.detail).toContain(error.code);
  }

  async #crash(): Promise<void> {
    const crashed = await this.#lab.afterCrash();
    try {
      const handle = await crashed.vfs.opendir(crashed.vfs.rootIno, root);
      const entries = await crashed.vfs.readdir(handle, 2, 100, root);
      await crashed.vfs.release(handle);
      for (const { ino, name } of entries) {
        const { past } = this.#inodes.get(ino) ?? { past: [] };
        const found = await readAll(crashed.vfs, ino);
        expect(
          past.map(({ length: size }) => size),
          `size of ${name}`,
        ).toContain(found.length);
        const wrong = found.findIndex((byte, i) => byte !== 0 && !past.some((each) => each[i] === byte));
        if (wrong !== -1) expect.fail(`${name} (inode ${ino}) has ${found[wrong]} at byte ${wrong}, as it never had`);
      }
      expect(await crashed.problems(), 'found by fsck').toEqual([]);
    } finally {
      await crashed.remove();
    }
  }

  #change(content: Content, size: number, apply: (now: Buffer) => unknown): void {
    const next = Buffer.alloc(size);
    content.now.copy(next);
    apply(next);
    content.now = next;
    content.past.push(next);
  }

  #add(id: number, ino: number, now: Buffer): Content {
    const content = { ino, now, past: [now] };
    this.#files.set(id, content);
    this.#inodes.set(ino, content);
    return content;
  }

  async #open(id: number): Promise<Content> {
    const known = this.#files.get(id);
    if (known !== undefined) return known;
    const { vfs } = this.#lab;
    const { ino } = await vfs.mknod(vfs.rootIno, n(`f${id}`), 0o100644, 0, root);
    return this.#add(id, ino, Buffer.alloc(0));
  }

  async #unlink(id: number): Promise<void> {
    if (!this.#files.delete(id)) return;
    await this.#lab.vfs.unlink(this.#lab.vfs.rootIno, n(`f${id}`), root);
  }
}

test.prop([fc.array(step, { minLength: 1, maxLength: 40, size: 'max' })], {
  numRuns: Number(process.env['IOPMEMFS_RUNS'] ?? 60),
})(
  'a crash shows of each file only what the file itself held',
  async (steps) => {
    const lab = await Lab.create(1 << 20);
    try {
      const exerciser = new Exerciser(lab);
      for (const s of steps) await exerciser.apply(s);
      await exerciser.apply({ op: 'crash' });
      await exerciser.expectContent();
      expect(await lab.problems(), 'found by fsck').toEqual([]);
    } finally {
      await lab.remove();
    }
  },
  runsMs,
);
