/** A directory that is being loaded while its entries go: what was read of it is not taken for all of it. */
import { EventEmitter, once } from 'node:events';
import { expect } from 'vitest';
import type { MetaStore } from '../../fs/meta/store.ts';
import { errnoOfCall, n, root } from '../support/filesystem.ts';
import { at, list, makeDir, makeFile, test } from './fixture.ts';

test('a load that ends early is no whole directory, whatever is removed before it is over', async ({ lab }) => {
  const { vfs: before } = lab;
  await makeDir(before, 'd');
  for (const name of ['d/a', 'd/b', 'd/c']) await makeFile(before, name);
  await lab.unmount();

  const pace = new EventEmitter();
  let isSlow = true;
  await lab.mount(undefined, { store: (store) => leftSlowly(store, () => isSlow, pace) });
  const { vfs } = lab;
  const { ino } = await at(vfs, 'd');
  const left = once(pace, 'left');
  const removed = errnoOfCall(() => vfs.rmdir(vfs.rootIno, n('d'), root));
  await left;
  await vfs.unlink(ino, n('a'), root);
  isSlow = false;
  pace.emit('go');
  expect(await removed).toBe('ENOTEMPTY');
  expect(await list(vfs, ino)).toEqual(['.', '..', 'b', 'c']);
});

/** Listings come an entry at a time, and whoever has enough of one goes on when told to. */
function leftSlowly(store: MetaStore, isSlow: () => boolean, pace: EventEmitter): MetaStore {
  return {
    get room() {
      return store.room;
    },
    get: (key) => store.get(key),
    range: async function* (from, to) {
      let isWhole = false;
      try {
        for await (const page of store.range(from, to)) for (const entry of page) yield [entry];
        isWhole = true;
      } finally {
        if (!isWhole && isSlow()) {
          const gone = once(pace, 'go');
          pace.emit('left');
          await gone;
        }
      }
    },
    batch: (ops, expected) => store.batch(ops, expected),
    close: () => store.close(),
  };
}
