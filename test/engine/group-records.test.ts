/** Which records a group holds: what came and went within it leaves none, and what the store may have is deleted. */
import { expect } from 'vitest';
import { describeKey } from '../../fs/format/keys.ts';
import type { MetaStore, StoreOp } from '../../fs/meta/store.ts';
import { GatedStore } from '../meta/gated-store.ts';
import { n, root, withHandle } from '../support/filesystem.ts';
import { test as base, bs, list, makeDir, makeFile, pattern } from './fixture.ts';
import { until } from './trees.ts';

/** The filesystem is mounted on a store that notes what is written. */
const test = base.extend<{ written: Map<string, StoreOp> }>({
  written: async ({ lab }, use) => {
    const written = new Map<string, StoreOp>();
    await lab.unmount();
    await lab.mount(undefined, {
      store: (store: MetaStore): MetaStore => ({
        get room() {
          return store.room;
        },
        get: (key) => store.get(key),
        range: (from, to) => store.range(from, to),
        batch: (ops, expected) => {
          for (const op of ops) written.set(describeKey(op.key), op);
          return store.batch(ops, expected);
        },
        close: () => store.close(),
      }),
    });
    await use(written);
  },
});

test('a file that came and went leaves none', async ({ lab, written }) => {
  const { vfs } = lab;
  const kept = await makeFile(vfs, 'kept');
  await vfs.syncfs();
  written.clear();

  const ino = await makeFile(vfs, 'temporary');
  await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, pattern(2 * bs), root));
  await vfs.rename(1, n('temporary'), 1, n('renamed'), 'replace', root);
  await vfs.unlink(1, n('renamed'), root);
  await vfs.setattr(kept, { mode: 0o600 }, root);
  await vfs.syncfs();
  expect([...written.keys()].filter((key) => !key.startsWith('S')).sort()).toEqual(['I 1', `I ${kept}`]);
  expect(await lab.problems()).toEqual([]);
});

test('one that was there is deleted, with its extents and its name', async ({ lab, written }) => {
  const { vfs } = lab;
  const ino = await makeFile(vfs, 'f');
  await withHandle(vfs, ino, 2, (handle) => vfs.write(handle, 0, pattern(bs), root));
  await vfs.syncfs();
  written.clear();

  await vfs.unlink(1, n('f'), root);
  await vfs.syncfs();
  for (const key of [`I ${ino}`, `E ${ino} 0`, 'D 1 "f"'])
    expect(written.get(key), key).toHaveProperty('value', undefined);
});

test('a name that was there, taken and given up again is deleted', async ({ lab, written }) => {
  const { vfs } = lab;
  await makeFile(vfs, 'f');
  await vfs.syncfs();
  written.clear();

  await vfs.unlink(1, n('f'), root);
  await makeFile(vfs, 'f');
  await vfs.unlink(1, n('f'), root);
  await vfs.syncfs();
  expect(written.get('D 1 "f"')).toHaveProperty('value', undefined);
});

test('an orphan that got a name, lost it and got one again is none afterwards', async ({ lab, written }) => {
  const { vfs } = lab;
  const { attr, handle } = await vfs.tmpfile(1, 0o600, 2, root);
  await vfs.syncfs();
  expect(written.get(`O ${attr.ino}`)?.value).toBeDefined();
  written.clear();

  await vfs.link(attr.ino, 1, n('once'), root);
  await vfs.unlink(1, n('once'), root);
  await vfs.link(attr.ino, 1, n('again'), root);
  await vfs.syncfs();
  expect(written.get(`O ${attr.ino}`)).toHaveProperty('value', undefined);
  await vfs.release(handle);
  expect(await lab.problems()).toEqual([]);
});

test('an orphan that came and went leaves none', async ({ lab, written }) => {
  const { vfs } = lab;
  const { attr, handle } = await vfs.tmpfile(1, 0o600, 2, root);
  await vfs.release(handle);
  await makeFile(vfs, 'other');
  await vfs.syncfs();
  expect([...written.keys()].filter((key) => key.endsWith(` ${attr.ino}`))).toEqual([]);
});

base('what a group adds to its records when it is sealed is no change of the next one', async ({ lab }) => {
  await lab.unmount();
  const gated: { store?: GatedStore } = {};
  await lab.mount(undefined, { store: (store) => (gated.store = new GatedStore(store)) });
  const { vfs, fs } = lab;
  const dir = await makeDir(vfs, 'd');
  await fs.setQuota(dir, 100 * bs, 100);
  await makeFile(vfs, 'd/f');
  const begun = gated.store?.begun ?? 0;
  gated.store?.hold();
  const closed = lab.unmount();
  // The last of what was under way ends when the last but one group is being written.
  await until('a group is being written', () => (gated.store?.begun ?? 0) > begun);
  await makeFile(vfs, 'd/g');
  gated.store?.open();
  await closed;
  await lab.mount();
  expect(await list(lab.vfs, dir)).toEqual(['.', '..', 'f', 'g']);
});
