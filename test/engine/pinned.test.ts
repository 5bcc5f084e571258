/** Pinned files: in one piece where they were asked to be, and never anywhere else. */
import { describe, expect } from 'vitest';
import type { JobRequest } from '../../fs/engine/filesystem.ts';
import type { BreakReason, ByteRange, LayoutBreak } from '../../fs/engine/leases.ts';
import { FsError } from '../../fs/errors.ts';
import { CrashRecorder } from '../support/crash-recorder.ts';
import { alice, bob, errnoOfCall, Lab, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { FakeLeases } from './fake-leases.ts';
import { bs, clientRecord, Gate, makeFile, makeScattered, pattern, test } from './fixture.ts';

const mib = 2 ** 20;

/** One of the questions is answered when the test says so. */
class SlowOnce extends FakeLeases {
  questionsLeft = 0;
  readonly reached = new Gate();
  readonly #gate: Gate;

  constructor(gate: Gate) {
    super();
    this.#gate = gate;
  }

  override breakLayouts(
    ino: number,
    range: ByteRange,
    reason: BreakReason,
    client: number | undefined,
  ): LayoutBreak | undefined {
    if (--this.questionsLeft !== 0) return super.breakLayouts(ino, range, reason, client);
    this.reached.open();
    return { done: this.#gate.passed, release: () => undefined };
  }
}

async function place(lab: Lab, ino: number): Promise<number> {
  const [extent, ...others] = await lab.fs.map(ino);
  expect(others).toEqual([]);
  expect(extent?.unwritten).toBe(false);
  return extent?.storageOffset ?? -1;
}

async function expectContent(lab: Lab, ino: number, content: Buffer): Promise<void> {
  expect((await readAll(lab.vfs, ino)).equals(content), `content of inode ${ino}`).toBe(true);
}

async function jobError(lab: Lab, request: JobRequest): Promise<{ code: string; detail: string } | undefined> {
  const id = lab.fs.startJob(request);
  for (;;) {
    const job = lab.fs.job();
    if (job?.id === id && job.state !== 'running') return job.error;
    await new Promise(setImmediate);
  }
}

async function messageOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'no error',
    (error: unknown) => (error instanceof FsError ? error.message : String(error)),
  );
}

describe('what pinning makes', () => {
  test('an empty file gets its size, zeroed and written, in one piece aligned as asked', async ({ lab }) => {
    const dirty = await writeFile(lab.vfs, 'dirty', pattern(8 * mib));
    await lab.vfs.unlink(lab.vfs.rootIno, n('dirty'), root);
    await lab.vfs.syncfs();
    const ino = await makeFile(lab.vfs, 'pinned');
    await lab.fs.pin(ino, 3 * mib + 5, mib, root);
    expect((await place(lab, ino)) % mib).toBe(0);
    expect((await lab.vfs.getattr(ino, root)).size).toBe(3 * mib + 5);
    await expectContent(lab, ino, Buffer.alloc(3 * mib + 5));
    expect(dirty).toBeGreaterThan(0);
  });

  test('what a file holds comes along, holes as zeros', async ({ lab }) => {
    const ino = await makeScattered(lab.vfs, 'scattered', 20);
    const content = await readAll(lab.vfs, ino);
    await lab.fs.pin(ino, undefined, bs, root);
    await expectContent(lab, ino, content);
    await place(lab, ino);
    await lab.remount();
    await expectContent(lab, ino, content);
    expect((await lab.vfs.getxattr(ino, 'system.iopmemfs.pinned', root)).toString()).toBe('4096');
  });

  test('a file that lies so already stays where it is', async ({ lab }) => {
    const ino = await writeFile(lab.vfs, 'a', pattern(10 * bs));
    const [before] = await lab.fs.map(ino);
    await lab.fs.pin(ino, undefined, bs, root);
    expect(await place(lab, ino)).toBe(before?.storageOffset);
  });

  test('asked for again it keeps its place; asked for otherwise it is refused', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'a');
    await lab.fs.pin(ino, 2 * mib, mib, root);
    const at = await place(lab, ino);
    await lab.fs.pin(ino, 2 * mib, bs, root);
    expect(await place(lab, ino)).toBe(at);
    expect((await lab.vfs.getxattr(ino, 'system.iopmemfs.pinned', root)).toString()).toBe(String(mib));
    expect(await errnoOfCall(() => lab.fs.pin(ino, 3 * mib, bs, root))).toBe('EBUSY');
  });

  test('blocks that were shared are left to the other file', async ({ lab }) => {
    const content = pattern(6 * bs);
    const ino = await writeFile(lab.vfs, 'a', content);
    const clone = await lab.fs.cloneFile(ino, lab.vfs.rootIno, n('b'), root);
    await lab.fs.pin(ino, undefined, bs, root);
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, Buffer.alloc(bs, 7), root));
    await expectContent(lab, clone.ino, content);
    expect(lab.fs.status().blocks.shared).toBe(0);
  });

  test.for([
    ['no size', 0, bs, 'EINVAL'],
    ['an alignment that is no power of two', mib, 3 * bs, 'EINVAL'],
    ['an alignment of less than a block', mib, 512, 'EINVAL'],
    ['an alignment above 1 GiB', mib, 2 ** 31, 'EINVAL'],
    ['more than there is', 2 ** 40, bs, 'ENOSPC'],
  ] as const)('%s is refused', async ([, size, align, errno], { lab }) => {
    const ino = await makeFile(lab.vfs, 'a');
    const free = (await lab.vfs.statfs()).blocksFree;
    expect(await errnoOfCall(() => lab.fs.pin(ino, size, align, root))).toBe(errno);
    expect((await lab.vfs.statfs()).blocksFree).toBe(free);
  });

  test('only the owner and root pin', async ({ lab }) => {
    await lab.vfs.setattr(lab.vfs.rootIno, { mode: 0o777 }, root);
    const ino = await makeFile(lab.vfs, 'a', 0o666, alice);
    expect(await errnoOfCall(() => lab.fs.pin(ino, mib, bs, bob))).toBe('EPERM');
    await lab.fs.pin(ino, mib, bs, alice);
    expect(await errnoOfCall(() => lab.fs.unpin(ino, bob))).toBe('EPERM');
  });

  test('where no piece is large enough the error names the largest', async ({ lab }) => {
    const { blocksFree } = await lab.vfs.statfs();
    const quarter = Math.floor(blocksFree / 4) * bs;
    for (const i of [0, 1, 2, 3]) await lab.fs.pin(await makeFile(lab.vfs, `part${i}`), quarter, bs, root);
    for (const i of [0, 2]) await lab.vfs.unlink(lab.vfs.rootIno, n(`part${i}`), root);
    const ino = await makeFile(lab.vfs, 'a');
    const said = await messageOf(lab.fs.pin(ino, quarter + mib, bs, root));
    expect(said).toContain('ENOSPC');
    const largest = Number(/the largest such piece has (\d+)/.exec(said)?.[1]);
    expect(largest).toBeGreaterThanOrEqual(quarter);
    expect(largest).toBeLessThan(quarter + mib);
    await lab.fs.pin(ino, quarter, bs, root);
  });

  test('its blocks count in the quota, and one that is used up stops it', async ({ lab }) => {
    const dir = (await lab.vfs.mkdir(lab.vfs.rootIno, n('d'), 0o755, root)).ino;
    await lab.fs.setQuota(dir, mib, Infinity);
    const ino = await makeFile(lab.vfs, 'd/a');
    expect(await errnoOfCall(() => lab.fs.pin(ino, 2 * mib, bs, root))).toBe('EDQUOT');
    await lab.fs.pin(ino, mib, bs, root);
    expect((await lab.fs.quotas())[0]?.bytes).toBe(mib);
  });

  test('a file that is cut meanwhile is not pinned, and none of its blocks is lost', async () => {
    const gate = new Gate();
    const leases = new SlowOnce(gate);
    const lab = await Lab.create(undefined, leases);
    try {
      const ino = await writeFile(lab.vfs, 'a', pattern(4 * mib));
      await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.fallocate(handle, 'punch', bs, bs, root));
      leases.questionsLeft = 3;
      const pinned = lab.fs.pin(ino, undefined, bs, root);
      await leases.reached.passed;
      await lab.vfs.setattr(ino, { size: 3 * bs }, root);
      gate.open();
      expect(await errnoOfCall(() => pinned)).toBe('EBUSY');
      await lab.vfs.unlink(lab.vfs.rootIno, n('a'), root);
      await lab.vfs.syncfs();
      const { blocks } = lab.fs.status();
      expect(blocks.free).toBe(blocks.total - blocks.reserved);
      expect(await lab.problems()).toEqual([]);
    } finally {
      await lab.remove();
    }
  });
});

describe('what a pinned file does not do', () => {
  test('it does not grow, and has no holes', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'a');
    await lab.fs.pin(ino, 4 * bs, bs, root);
    const at = await place(lab, ino);
    const write = (offset: number) =>
      withHandle(lab.vfs, ino, 2, (h) => lab.vfs.write(h, offset, Buffer.alloc(bs, 1), root));
    expect(await errnoOfCall(() => write(4 * bs))).toBe('EFBIG');
    expect(await errnoOfCall(() => lab.vfs.setattr(ino, { size: 5 * bs }, root))).toBe('EFBIG');
    for (const mode of ['punch', 'collapse', 'insert'] as const) {
      const call = () => withHandle(lab.vfs, ino, 2, (h) => lab.vfs.fallocate(h, mode, 0, bs, root));
      expect(await errnoOfCall(call), mode).toBe('EOPNOTSUPP');
    }
    expect(
      await errnoOfCall(() => withHandle(lab.vfs, ino, 2, (h) => lab.vfs.fallocate(h, 'allocate', 0, 5 * bs, root))),
    ).toBe('EFBIG');
    await write(3 * bs);
    await withHandle(lab.vfs, ino, 2, (h) => lab.vfs.fallocate(h, 'zero', bs, 2 * bs, root));
    expect(await place(lab, ino)).toBe(at);
  });

  test('it shrinks, and what is left stays', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'a');
    await lab.fs.pin(ino, 4 * bs, bs, root);
    const at = await place(lab, ino);
    await lab.vfs.setattr(ino, { size: bs + 1 }, root);
    expect(await place(lab, ino)).toBe(at);
    expect((await lab.fs.map(ino))[0]?.length).toBe(2 * bs);
    await lab.vfs.setattr(ino, { size: 0 }, root);
    expect(await errnoOfCall(() => lab.vfs.setattr(ino, { size: 1 }, root))).toBe('EFBIG');
    await lab.fs.pin(ino, 6 * bs, bs, root);
    expect((await lab.vfs.getattr(ino, root)).size).toBe(6 * bs);
  });

  test('its blocks are shared with nobody: copies are copies', async ({ lab }) => {
    const content = pattern(6 * bs);
    const dir = (await lab.vfs.mkdir(lab.vfs.rootIno, n('d'), 0o755, root)).ino;
    const ino = await makeFile(lab.vfs, 'd/a');
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, content, root));
    await lab.fs.pin(ino, undefined, bs, root);
    const at = await place(lab, ino);
    expect(await errnoOfCall(() => lab.fs.cloneFile(ino, dir, n('b'), root))).toBe('EOPNOTSUPP');
    const copy = await makeFile(lab.vfs, 'c');
    const copied = await withHandle(lab.vfs, ino, 0, (from) =>
      withHandle(lab.vfs, copy, 2, (to) => lab.vfs.copyRange(from, 0, to, 0, content.length, root)),
    );
    expect(copied).toBe(content.length);
    const tree = await lab.fs.cloneTree(dir, lab.vfs.rootIno, n('tree'), root);
    const twin = await lab.vfs.lookup(tree.ino, n('a'), root);
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, Buffer.alloc(bs, 9), root));
    await expectContent(lab, copy, content);
    await expectContent(lab, twin.ino, content);
    expect(await place(lab, ino)).toBe(at);
    expect(lab.fs.status().blocks.shared).toBe(0);
    expect((await lab.vfs.getxattr(twin.ino, 'system.iopmemfs.pinned', root)).toString()).toBe('off');
  });

  test('it is not made `cow`, and one that is `cow` is not pinned', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'a');
    const cow = (value: string) => lab.vfs.setxattr(ino, 'system.iopmemfs.cow', Buffer.from(value), 'either', root);
    await cow('on');
    expect(await errnoOfCall(() => lab.fs.pin(ino, bs, bs, root))).toBe('EOPNOTSUPP');
    await cow('off');
    await lab.fs.pin(ino, bs, bs, root);
    expect(await errnoOfCall(() => cow('on'))).toBe('EOPNOTSUPP');
  });

  test('nothing moves it: defragment leaves it alone, evacuate and shrink refuse and name it', async ({ lab }) => {
    const ino = await makeFile(lab.vfs, 'a');
    await lab.fs.pin(ino, mib, 2 * mib, root);
    const at = await place(lab, ino);
    expect(await jobError(lab, { kind: 'defragment', ino: undefined })).toBeUndefined();
    const evacuated = await jobError(lab, { kind: 'evacuate', offset: at + mib / 2, length: bs, retire: false });
    expect(evacuated?.code).toBe('EBUSY');
    expect(evacuated?.detail).toContain(`inode ${ino}`);
    expect((await jobError(lab, { kind: 'resize', size: at + mib / 2 }))?.code).toBe('EBUSY');
    expect(await place(lab, ino)).toBe(at);
    await lab.fs.unpin(ino, root);
    expect(await jobError(lab, { kind: 'evacuate', offset: at + mib / 2, length: bs, retire: false })).toBeUndefined();
  });

  test('a fenced client takes nothing of it away; its blocks are held once the file gives them up', async ({ lab }) => {
    await lab.fs.putClient(clientRecord(7));
    const ino = await makeFile(lab.vfs, 'a');
    await lab.fs.pin(ino, 4 * bs, bs, root);
    const at = await place(lab, ino);
    await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 4 * bs }, 7);
    await lab.fs.layouts.quarantine(7, [{ ino, offset: 0, length: 4 * bs, access: 'write' }]);
    await withHandle(lab.vfs, ino, 2, (handle) => lab.vfs.write(handle, 0, pattern(4 * bs), root));
    expect(await place(lab, ino)).toBe(at);
    await lab.remount();
    expect(await place(lab, ino)).toBe(at);
    await lab.vfs.unlink(lab.vfs.rootIno, n('a'), root);
    await lab.vfs.syncfs();
    expect(lab.fs.status().blocks.quarantined).toBe(4);
    await lab.fs.layouts.releaseQuarantine(7);
    expect(lab.fs.status().blocks.quarantined).toBe(0);
  });
});

test('a layout for writing is all READ_WRITE_DATA and ends with the file', async ({ lab }) => {
  const ino = await makeFile(lab.vfs, 'a');
  await lab.fs.pin(ino, 4 * bs, bs, root);
  const extents = await lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 4 * bs }, 7);
  expect(extents).toMatchObject([{ state: 0, offset: 0, length: 4 * bs, storageOffset: await place(lab, ino) }]);
  expect(await errnoOfCall(() => lab.fs.layouts.mapForWrite(ino, { offset: 0, length: 5 * bs }, 7))).toBe('EFBIG');
});

test('layouts on the file are asked back before it is pinned, and before it is let go', async () => {
  const leases = new FakeLeases();
  const lab = await Lab.create(undefined, leases);
  try {
    const ino = await makeFile(lab.vfs, 'a');
    for (const call of [() => lab.fs.pin(ino, bs, bs, root), () => lab.fs.unpin(ino, root)]) {
      const held = leases.hold(ino, 0, bs, 7);
      const called = call();
      await new Promise(setImmediate);
      expect(leases.recalled.length).toBeGreaterThan(0);
      leases.giveBack(held);
      await called;
      leases.recalled.length = 0;
    }
    expect(leases.open).toBe(0);
    expect(await lab.problems()).toEqual([]);
  } finally {
    await lab.remove();
  }
});

test('a crash at any moment leaves the file as it was and not pinned, or pinned as a whole', async () => {
  const recorder = await CrashRecorder.create(256 * bs);
  const { vfs } = recorder.fs;
  const content = pattern(5 * bs);
  const { ino } = await vfs.mknod(vfs.rootIno, n('a'), 0o100644, 0, root);
  await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, content, root));
  await withHandle(vfs, ino, 2, (handle) => vfs.fallocate(handle, 'punch', bs, bs, root));
  content.fill(0, bs, 2 * bs);
  await vfs.syncfs();
  recorder.mark(1);
  await recorder.fs.pin(ino, 9 * bs, 2 * bs, root);
  recorder.mark(2);
  await vfs.setattr(ino, { mode: 0o600 }, root);
  await vfs.syncfs();
  let pinned = 0;
  const crashes = await recorder.forEachCrash(async ({ how, mark, fs }) => {
    if (mark < 1) return;
    const found = await readAll(fs.vfs, ino);
    const isPinned = (await fs.vfs.getxattr(ino, 'system.iopmemfs.pinned', root)).toString() !== 'off';
    if (isPinned) pinned++;
    if (mark === 2) expect(isPinned, how).toBe(true);
    const wanted = isPinned ? Buffer.concat([content, Buffer.alloc(4 * bs)]) : content;
    expect(found.equals(wanted), how).toBe(true);
    if (!isPinned) return;
    const extents = await fs.map(ino);
    expect(extents, how).toMatchObject([{ offset: 0, length: 9 * bs, unwritten: false, shares: 1 }]);
  });
  expect(crashes).toBeGreaterThan(0);
  expect(pinned).toBeGreaterThan(0);
});
