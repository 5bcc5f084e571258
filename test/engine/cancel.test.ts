/** An operation that waits can be given up: it ends with EINTR, has changed nothing, and stands in nobody's way. */
import { constants } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { after, cancel, cancellable } from '../../fs/reply.ts';
import type { Handle, Reply, Vfs } from '../../fs/vfs.ts';
import { errnoOfCall, n, readAll, root, withHandle, writeFile } from '../support/filesystem.ts';
import { bs, Gate, list, makeFile, pattern } from './fixture.ts';
import { withLeases } from './trees.ts';

const { O_RDWR, O_TRUNC } = constants;

/** What needs the layout on `f` back. */
const operations: Readonly<Record<string, (vfs: Vfs, ino: number, handle: Handle) => Reply<unknown>>> = {
  write: (vfs, _ino, handle) => vfs.write(handle, 0, pattern(bs, 9), root),
  truncate: (vfs, ino) => vfs.setattr(ino, { size: 0 }, root),
  'open with O_TRUNC': (vfs, ino) => vfs.open(ino, O_RDWR | O_TRUNC, root),
  punch: (vfs, _ino, handle) => vfs.fallocate(handle, 'punch', 0, bs, root),
};

/** What needs it back where nobody has the file open. */
const endings: Readonly<Record<string, (vfs: Vfs) => Reply<unknown>>> = {
  unlink: (vfs) => vfs.unlink(vfs.rootIno, n('f'), root),
  'rename over it': (vfs) => vfs.rename(vfs.rootIno, n('g'), vfs.rootIno, n('f'), 'replace', root),
};

function waiting(reply: Reply<unknown>): Promise<unknown> {
  if (reply instanceof Promise) return reply;
  throw new Error('it does not wait');
}

describe('cancelled while it waits for a layout', () => {
  const given = [
    ...Object.entries(operations).map(([name, operation]) => ({ name, operation, isOpen: true })),
    ...Object.entries(endings).map(([name, operation]) => ({ name, operation, isOpen: false })),
  ];

  test.each(given)('$name', async ({ operation, isOpen }) => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      const ino = await writeFile(vfs, 'f', pattern(2 * bs));
      await makeFile(vfs, 'g');
      const before = await vfs.getattr(ino, root);
      const held = leases.hold(ino, 0, 2 * bs, 9);
      const handle = await vfs.open(ino, O_RDWR, root);
      if (!isOpen) await vfs.release(handle);
      const reply = waiting(operation(vfs, ino, handle));
      expect(leases.open).toBe(1);
      expect(cancel(reply)).toBe(true);
      expect(await errnoOfCall(() => reply)).toBe('EINTR');
      expect(leases.open, 'grants are refused no longer').toBe(0);
      leases.giveBack(held);
      expect(await vfs.getattr(ino, root)).toEqual(before);
      expect((await readAll(vfs, ino)).equals(pattern(2 * bs))).toBe(true);
      expect(await list(vfs, vfs.rootIno)).toEqual(['.', '..', 'f', 'g']);
      if (isOpen) await vfs.release(handle);
      expect(await lab.problems()).toEqual([]);
    });
  });

  test('others that wait for the same go on', async () => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      const ino = await writeFile(vfs, 'f', pattern(2 * bs));
      const held = leases.hold(ino, 0, 2 * bs, 9);
      await withHandle(vfs, ino, O_RDWR, async (handle) => {
        const [first, second] = [1, 2].map((seed) => waiting(vfs.write(handle, 0, pattern(bs, seed), root)));
        if (first === undefined || second === undefined) throw new Error('two of them');
        cancel(first);
        expect(await errnoOfCall(() => first)).toBe('EINTR');
        leases.giveBack(held);
        expect(await second).toBe(bs);
      });
      expect((await readAll(vfs, ino)).subarray(0, bs).equals(pattern(bs, 2))).toBe(true);
    });
  });

  test('too late it is as if nobody had asked', async () => {
    await withLeases(async (lab, leases) => {
      const { vfs } = lab;
      const ino = await writeFile(vfs, 'f', pattern(2 * bs));
      const held = leases.hold(ino, 0, 2 * bs, 9);
      const reply = waiting(vfs.setattr(ino, { size: 0 }, root));
      leases.giveBack(held);
      await reply;
      cancel(reply);
      expect((await vfs.getattr(ino, root)).size).toBe(0);
    });
  });
});

describe('of two steps', () => {
  test('the one under way is cancelled', async () => {
    const asked: string[] = [];
    const step = (name: string, until: Promise<void>): Promise<void> =>
      cancellable(until.then(), () => {
        asked.push(name);
        return true;
      });
    const first = new Gate();
    const both = waiting(after(step('first', first.passed), () => step('second', new Promise(() => undefined))));
    expect(cancel(both)).toBe(true);
    first.open();
    await new Promise((resolve) => setImmediate(resolve));
    expect(cancel(both)).toBe(true);
    expect(asked).toEqual(['first', 'second']);
  });

  test('one that cannot be cancelled now is not', async () => {
    const stuck = new Promise<void>(() => undefined);
    expect(cancel(waiting(after(stuck, () => undefined)))).toBe(false);
    expect(
      cancel(
        waiting(
          after(
            cancellable(stuck.then(), () => false),
            () => undefined,
          ),
        ),
      ),
    ).toBe(false);
    const done = waiting(after(Promise.resolve(), () => undefined));
    await done;
    expect(cancel(done)).toBe(false);
  });
});
