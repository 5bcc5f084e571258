/** After the mount, records come into memory by themselves; then a lookup reads nothing, whether the name is there or not. */
import { expect } from 'vitest';
import type { MetaStore } from '../../fs/meta/store.ts';
import { errnoOfCall, type Lab, n, root } from '../support/filesystem.ts';
import { makeDir, test } from './fixture.ts';
import { until } from './trees.ts';

const files = 3000;

interface Reads {
  get: number;
  /** Listings begun, and those of them that ended. */
  begun: number;
  ended: number;
}

function counting(store: MetaStore, reads: Reads): MetaStore {
  return {
    get room() {
      return store.room;
    },
    get: (key) => {
      reads.get++;
      return store.get(key);
    },
    range: async function* (from, to, entries) {
      reads.begun++;
      try {
        yield* store.range(from, to, entries);
      } finally {
        reads.ended++;
      }
    },
    batch: (ops, expected) => store.batch(ops, expected),
    close: () => store.close(),
  };
}

/** Mounted again, with a directory of files f0, f1 and so on. */
async function warming(lab: Lab, readOnly: boolean): Promise<{ parent: number; reads: Reads }> {
  const parent = await makeDir(lab.vfs, 'd');
  for (let i = 0; i < files; i++) await lab.vfs.mknod(parent, n(`f${i}`), 0o100644, 0, root);
  await lab.unmount();
  const reads: Reads = { get: 0, begun: 0, ended: 0 };
  await lab.mount(undefined, { readOnly, warmUp: true, store: (store) => counting(store, reads) });
  return { parent, reads };
}

for (const readOnly of [false, true]) {
  test(`nothing is read for a lookup any more, mounted ${readOnly ? 'for reading only' : 'for writing'}`, async ({
    lab,
  }) => {
    const { parent, reads } = await warming(lab, readOnly);
    const { vfs } = lab;
    let at = 0;
    await until('all records are in memory', async () => {
      const before = reads.get;
      const attr = await vfs.lookup(parent, n(`f${at++ % files}`), root);
      await errnoOfCall(() => vfs.lookup(parent, n(`none${at}`), root));
      return attr.ino > 0 && reads.get === before && reads.ended === reads.begun;
    });
    reads.get = 0;
    for (let i = 0; i < files; i++) {
      expect((await vfs.lookup(parent, n(`f${i}`), root)).mode).toBe(0o100644);
      expect(await errnoOfCall(() => vfs.lookup(parent, n(`g${i}`), root))).toBe('ENOENT');
    }
    expect(reads.get).toBe(0);
  });
}

test('what changes meanwhile is as it was changed', async ({ lab }) => {
  const { parent, reads } = await warming(lab, false);
  const { vfs } = lab;
  for (let i = 0; i < files; i++) {
    if (i % 3 === 0) await vfs.unlink(parent, n(`f${i}`), root);
    if (i % 3 === 1) await vfs.rename(parent, n(`f${i}`), parent, n(`r${i}`), 'noreplace', root);
    if (i % 50 === 0) await vfs.syncfs();
  }
  await vfs.syncfs();
  await until('no listing goes on', () => reads.ended === reads.begun);
  for (let i = 0; i < files; i++) {
    const names = [`f${i}`, `r${i}`].map((name) => errnoOfCall(() => vfs.lookup(parent, n(name), root)));
    const wanted = i % 3 === 0 ? ['ENOENT', 'ENOENT'] : i % 3 === 1 ? ['ENOENT', undefined] : [undefined, 'ENOENT'];
    expect(await Promise.all(names), `f${i}`).toEqual(wanted);
  }
  expect(await lab.problems()).toEqual([]);
});

test('an unmount ends it', async ({ lab }) => {
  const { reads } = await warming(lab, false);
  await lab.unmount();
  expect(reads.ended).toBe(reads.begun);
  expect(await lab.problems()).toEqual([]);
});
