/** Which files clients may have layouts on survives a crash, and costs a write only where it is new. */
import { expect } from 'vitest';
import type { MetaStore } from '../../fs/meta/store.ts';
import { n, root, writeFile } from '../support/filesystem.ts';
import { bs, clientRecord, makeFile, pattern, test } from './fixture.ts';

const client = 7;
const all = { offset: 0, length: 4 * bs };

test('a grant survives a crash as soon as it is answered, with the strongest access', async ({ lab }) => {
  const shown = await writeFile(lab.vfs, 'shown', pattern(4 * bs));
  const changed = await writeFile(lab.vfs, 'changed', pattern(4 * bs));
  await lab.fs.putClient(clientRecord(client));
  await lab.fs.layouts.mapForRead(shown, all, client);
  await lab.fs.layouts.mapForRead(changed, all, client);
  await lab.fs.layouts.mapForWrite(changed, all, client);
  await lab.fs.layouts.mapForRead(changed, all, client);
  const crashed = await lab.afterCrash();
  try {
    expect(crashed.fs.layouts.granted(client)).toEqual(
      new Map([
        [shown, 'read'],
        [changed, 'write'],
      ]),
    );
    expect(await crashed.problems()).toEqual([]);
  } finally {
    await crashed.remove();
  }
});

test('what is on record already is granted again without a write', async ({ lab }) => {
  const ino = await writeFile(lab.vfs, 'f', pattern(4 * bs));
  await lab.unmount();
  let batches = 0;
  const counted = (store: MetaStore): MetaStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === 'batch') batches++;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  await lab.mount(undefined, { store: counted });
  await lab.fs.layouts.mapForWrite(ino, all, client);
  const before = batches;
  for (let again = 0; again < 5; again++) {
    await lab.fs.layouts.mapForRead(ino, all, client);
    await lab.fs.layouts.mapForWrite(ino, all, client);
  }
  expect(batches).toBe(before);
});

test('it is forgotten when that is said, when the client is put away, and with its file', async ({ lab }) => {
  const files = [await makeFile(lab.vfs, 'a'), await makeFile(lab.vfs, 'b'), await makeFile(lab.vfs, 'c')];
  const [a = 0, b = 0, c = 0] = files;
  for (const each of [client, client + 1]) await lab.fs.putClient(clientRecord(each));
  for (const ino of files) await lab.fs.layouts.mapForRead(ino, all, client);
  for (const ino of [a, b]) await lab.fs.layouts.mapForRead(ino, all, client + 1);
  lab.fs.layouts.forgetGrant(a, client);
  expect([...lab.fs.layouts.granted(client).keys()]).toEqual([b, c]);
  await lab.fs.layouts.quarantine(client, []);
  await lab.vfs.unlink(lab.vfs.rootIno, n('b'), root);
  await lab.remount();
  expect([...lab.fs.layouts.granted(client)]).toEqual([]);
  expect([...lab.fs.layouts.granted(client + 1)]).toEqual([[a, 'read']]);
});
