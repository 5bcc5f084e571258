/** What the kernel believes by itself, and for how long: on a mount, where it decides. */
import { execFile } from 'node:child_process';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { Mounted } from './mounted.ts';

/** More than the second for which names are believed that nobody announces. */
const aWhileMs = 1200;
const soon = { timeout: 20_000, interval: 20 };

describe.skipIf(process.getuid?.() !== 0)('names and attributes', () => {
  let mounted: Mounted;
  const start = async (...options: string[]): Promise<Mounted> => {
    mounted = await Mounted.create('memory', ...options);
    return mounted;
  };
  afterEach(() => mounted?.remove());
  const modeOf = async (name: string): Promise<number> => (await stat(mounted.path(name))).mode & 0o777;
  const isThere = (name: string): Promise<boolean> =>
    stat(mounted.path(name)).then(
      () => true,
      () => false,
    );
  /** Lookups and requests for attributes since this was last asked. */
  const asked = async (): Promise<number> => {
    const told = await mounted.ask({ ask: 'count' });
    return told.told === 'count' ? told.lookups + told.getattrs : Number.NaN;
  };

  /** By a program that asks for no time of birth: LOOKUP does not tell it, so node's stat goes on to STATX. */
  const shownMode = async (name: string): Promise<string> =>
    (await promisify(execFile)('stat', ['-c', '%a', mounted.path(name)])).stdout.trim();
  const lookedUp = async (): Promise<number> => {
    const told = await mounted.ask({ ask: 'count' });
    return told.told === 'count' ? told.lookups : Number.NaN;
  };
  /** Requests for a name that does not exist, when it was asked for a while ago. */
  const askedForMissing = async (): Promise<number> => {
    expect(await isThere('file')).toBe(false);
    await sleep(aWhileMs);
    await asked();
    expect(await isThere('file')).toBe(false);
    return asked();
  };

  test.each([
    [true, false],
    [false, true],
  ])('with all changes announced %s: asked for again after a while %s', async (announced, again) => {
    await start(...(announced ? ['announced'] : []));
    await writeFile(mounted.path('file'), 'text');
    const kept = await open(mounted.path('file'), 'r'); // whoever drops caches meanwhile leaves it
    try {
      expect(await modeOf('file')).toBe(0o644);
      await sleep(aWhileMs);
      await asked();
      expect(await modeOf('file')).toBe(0o644);
      expect((await asked()) > 0).toBe(again);
    } finally {
      await kept.close();
    }
  });

  test('a name that is not there is not asked for twice, and is there when that is announced', async () => {
    await start('announced');
    await expect.poll(askedForMissing, soon).toBe(0); // at once, unless somebody drops caches meanwhile
    await mounted.ask({ ask: 'make', name: 'file', text: 'peer', announced: true });
    expect(await readFile(mounted.path('file'), 'utf8')).toBe('peer');
  });

  test('a name that is not there is asked for each time where nothing is announced', async () => {
    await start();
    expect(await isThere('file')).toBe(false);
    await mounted.ask({ ask: 'make', name: 'file', text: 'peer', announced: false });
    expect(await isThere('file')).toBe(true);
  });

  test('open with O_CREAT opens what is there by now, though the kernel has not heard of it yet', async () => {
    await start('announced');
    expect(await isThere('file')).toBe(false);
    await mounted.ask({ ask: 'make', name: 'file', text: 'peer', announced: false });
    await writeFile(mounted.path('file'), ' and I', { flag: 'a' });
    expect(await readFile(mounted.path('file'), 'utf8')).toBe('peer and I');
  });

  test('open with O_CREAT and O_EXCL refuses it', async () => {
    await start('announced');
    expect(await isThere('file')).toBe(false);
    await mounted.ask({ ask: 'make', name: 'file', text: 'peer', announced: false });
    await expect(writeFile(mounted.path('file'), '', { flag: 'wx' })).rejects.toMatchObject({ code: 'EEXIST' });
  });

  test('what changes while a lookup is under way is seen after a second', async () => {
    await start('announced');
    await mounted.ask({ ask: 'make', name: 'file', text: 'peer', announced: true });
    await mounted.ask({ ask: 'lookups', held: true });
    const found = shownMode('file');
    await expect.poll(() => lookedUp(), soon).toBeGreaterThan(0); // it has found the old mode
    await mounted.ask({ ask: 'chmod', name: 'file', mode: 0o600 }); // of an inode that the kernel does not know yet
    await mounted.ask({ ask: 'lookups', held: false });
    expect(['600', '644']).toContain(await found);
    await expect.poll(() => shownMode('file'), soon).toBe('600');
  });

  test('a name in a directory where a lookup waits is announced as soon as that is over', async () => {
    await start('announced');
    expect(await isThere('file')).toBe(false);
    await mounted.ask({ ask: 'lookups', held: true });
    await asked();
    const waiting = isThere('other'); // holds the lock of the directory
    await expect.poll(() => lookedUp(), soon).toBeGreaterThan(0);
    const made = mounted.ask({ ask: 'make', name: 'file', text: 'peer', announced: true });
    expect(await isThere('file')).toBe(false); // not announced yet
    await mounted.ask({ ask: 'lookups', held: false });
    await Promise.all([made, waiting]);
    await expect.poll(() => isThere('file'), soon).toBe(true);
  });
});
