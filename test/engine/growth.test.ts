/** What must not depend on how much there is: counted in what is read, not in time. */
import { expect } from 'vitest';
import type { MetaStore } from '../../fs/meta/store.ts';
import { errnoOfCall, type Lab, n, root } from '../support/filesystem.ts';
import { makeDir, test } from './fixture.ts';

/** A directory of empty files f0, f1 and so on, which nothing is resident of. */
async function largeDirectory(
  lab: Lab,
  entries: number,
  counted: (what: 'page' | 'get') => void = () => {},
): Promise<number> {
  const { vfs } = lab;
  const parent = await makeDir(vfs, '/large');
  for (let i = 0; i < entries; i++) await vfs.mknod(parent, n(`f${i}`), 0o100644, 0, root);
  await lab.unmount();
  await lab.mount(undefined, { store: (store) => counting(store, counted) });
  return parent;
}

function counting(store: MetaStore, counted: (what: 'page' | 'get') => void): MetaStore {
  return {
    get room() {
      return store.room;
    },
    get: (key) => {
      counted('get');
      return store.get(key);
    },
    async *range(from, to) {
      for await (const page of store.range(from, to)) {
        counted('page');
        yield page;
      }
    },
    batch: (ops, expected) => store.batch(ops, expected),
    close: () => store.close(),
  };
}

test('a listing of 100 000 entries shows each that stays exactly once, while others come, go and move', async ({
  lab,
}) => {
  const entries = 100_000;
  const parent = await largeDirectory(lab, entries);
  const { vfs } = lab;
  const handle = await vfs.opendir(parent, root);
  const seen = new Map<string, number>();
  const gone = new Set<string>();
  let cookie = 0;
  for (let page = 0; ; page++) {
    const found = await vfs.readdir(handle, cookie, 1000, root);
    if (found.length === 0) break;
    for (const { name } of found) {
      expect(gone.has(name), `${name} was removed before`).toBe(false);
      seen.set(name, (seen.get(name) ?? 0) + 1);
    }
    cookie = found.at(-1)?.cookie ?? cookie;
    // One that was shown and two that were perhaps not go or move; one comes.
    const doomed = [`f${page * 3}`, `f${entries - 1 - page * 7}`];
    for (const name of doomed) {
      await vfs.unlink(parent, n(name), root);
      gone.add(name);
    }
    const moved = `f${50_000 + page * 11}`;
    await vfs.rename(parent, n(moved), parent, n(`moved${page}`), 'noreplace', root);
    gone.add(moved);
    await vfs.mknod(parent, n(`new${page}`), 0o100644, 0, root);
  }
  await vfs.release(handle);
  let stayed = 0;
  for (let i = 0; i < entries; i++) {
    if (gone.has(`f${i}`)) continue;
    stayed++;
    if (seen.get(`f${i}`) !== 1) expect(seen.get(`f${i}`), `f${i}`).toBe(1);
  }
  expect(stayed).toBeGreaterThan(entries - 1000);
  for (const [name, times] of seen) if (times !== 1) expect(times, name).toBe(1);
});

test('what is asked of one entry of many reads one record or two, and no listing', async ({ lab }) => {
  const reads = { page: 0, get: 0 };
  const parent = await largeDirectory(lab, 20_000, (what) => reads[what]++);
  const { vfs } = lab;
  Object.assign(reads, { page: 0, get: 0 });
  await vfs.lookup(parent, n('f17000'), root);
  await vfs.rename(parent, n('f17000'), parent, n('other'), 'replace', root);
  await vfs.unlink(parent, n('f12345'), root);
  expect(await errnoOfCall(() => vfs.lookup(parent, n('f17000'), root))).toBe('ENOENT');
  expect(reads.page).toBe(0);
  expect(reads.get).toBeLessThan(12);
});

test('that a directory is not empty is known from one entry of it, that it is, from none', async ({ lab }) => {
  const reads = { page: 0, get: 0 };
  const parent = await largeDirectory(lab, 20_000, (what) => reads[what]++);
  const { vfs } = lab;
  const small = await makeDir(vfs, '/small');
  await lab.vfs.syncfs();
  reads.page = 0;
  expect(await errnoOfCall(() => vfs.rmdir(vfs.rootIno, n('large'), root))).toBe('ENOTEMPTY');
  expect(await errnoOfCall(() => vfs.rename(vfs.rootIno, n('small'), vfs.rootIno, n('large'), 'replace', root))).toBe(
    'ENOTEMPTY',
  );
  expect(reads.page).toBe(1);

  // All of them go, in the order of a listing, as rm(1) does it.
  const handle = await vfs.opendir(parent, root);
  for (;;) {
    const found = await vfs.readdir(handle, 0, 2000, root);
    if (found.length === 2) break;
    for (const { name } of found) if (name !== '.' && name !== '..') await vfs.unlink(parent, name, root);
  }
  await vfs.release(handle);
  await vfs.rmdir(vfs.rootIno, n('large'), root);
  expect(lab.fs.status().inodes).toBe(2);
  expect((await vfs.getattr(small, root)).nlink).toBe(2);
});

test('a directory takes more subdirectories than a file takes names', async ({ lab }) => {
  const { vfs } = lab;
  const parent = await makeDir(vfs, '/many');
  const count = 66_000;
  for (let i = 0; i < count; i++) await vfs.mkdir(parent, n(`d${i}`), 0o755, root);
  expect((await vfs.getattr(parent, root)).nlink).toBe(count + 2);
});
