/** Pinned files below a mount, by the programs that a user has for it. */
import { existsSync } from 'node:fs';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '../../client/index.ts';
import { pattern } from '../engine/fixture.ts';
import { until } from '../support/until.ts';
import { canMount, Sandbox } from './sandbox.ts';

const mib = 2 ** 20;
const block = 4096;
const programsMs = 600_000;

interface Extent {
  readonly length: number;
  readonly storageOffset: number;
  readonly unwritten: boolean;
}

describe.runIf(canMount)('pinned files', { timeout: programsMs }, () => {
  let box: Sandbox;
  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    await box.mount();
  });
  afterEach(() => box.remove());

  const extents = async (name: string): Promise<readonly Extent[]> => {
    const { extents: found }: { extents: readonly Extent[] } = JSON.parse(
      await box.must('iopmemfs', 'map', '--json', box.path(name)),
    );
    return found;
  };

  test('pin makes one, or takes one that is there; it stays over a kill and a mount, until it is let go', async () => {
    await box.must('iopmemfs', 'pin', box.path('new'), '--size', '3m', '--align', '1m');
    await writeFile(box.path('old'), pattern(5 * block));
    await box.must('iopmemfs', 'pin', box.path('old'));
    const [place] = await extents('new');
    expect(place).toMatchObject({ length: 3 * mib, unwritten: false });
    expect((place?.storageOffset ?? 1) % mib).toBe(0);
    expect((await readFile(box.path('new'))).equals(Buffer.alloc(3 * mib))).toBe(true);
    expect((await readFile(box.path('old'))).equals(pattern(5 * block))).toBe(true);

    const refused = [
      [['pin', box.path('new'), '--size', '4m'], /pinned already, .* unpin it first \(EBUSY\)/],
      [['pin', box.path('huge'), '--size', '1t'], /the largest such piece has \d+ \(ENOSPC\)/],
      [['clone', box.path('new'), box.path('twin')], /shared with no other file: copy it \(EOPNOTSUPP\)/],
      [['evacuate', box.mountPoint, `${place?.storageOffset ?? 0}+4k`], /inode \d+ is pinned at .* \(EBUSY\)/],
    ] as const;
    for (const [args, stderr] of refused) {
      expect(await box.run('iopmemfs', ...args)).toMatchObject({ code: 1, stderr: expect.stringMatching(stderr) });
    }
    await expect(stat(box.path('huge'))).rejects.toMatchObject({ code: 'ENOENT' });

    for (const pid of await box.daemons()) {
      process.kill(pid, 'SIGKILL');
      await until('the daemon is gone', () => !existsSync(`/proc/${pid}`));
    }
    await box.mount();
    expect(await extents('new')).toMatchObject([{ length: 3 * mib, storageOffset: place?.storageOffset }]);
    await box.umount();
    expect(await box.run('fsck', '-n', box.image)).toMatchObject({ code: 0 });
    await box.mount();
    await box.must('iopmemfs', 'unpin', box.path('new'));
    await box.must('iopmemfs', 'evacuate', box.mountPoint, `${place?.storageOffset ?? 0}+4k`);
  });

  test('programs read at once what a device stores there, and it what they write, while a peer holds it RW', async () => {
    await box.must('iopmemfs', 'pin', box.path('p'), '--size', '1m');
    const [{ storageOffset } = { storageOffset: 0 }] = await extents('p');
    const [socket] = JSON.parse(await box.must('iopmemfs', 'status', '--json', box.mountPoint)).addresses;
    const client = await connect(socket, { device: box.image });
    const memory = await open(box.image, 'r+');
    const program = await open(box.path('p'), 'r+');
    try {
      const file = await client.open('/p', 'r+');
      const layout = await file.layout({ offset: 0, length: mib, iomode: 'RW' });
      let recalls = 0;
      layout.on('recall', () => recalls++);
      for (let round = 1; round < 4; round++) {
        await memory.write(pattern(block, round), 0, block, storageOffset);
        const found = Buffer.alloc(block);
        await program.read(found, 0, block, 0);
        expect(found.equals(pattern(block, round)), `round ${round}`).toBe(true);
        await program.write(pattern(block, 100 + round), 0, block, block);
        await memory.read(found, 0, block, storageOffset + block);
        expect(found.equals(pattern(block, 100 + round)), `round ${round}`).toBe(true);
      }
      expect(recalls).toBe(0);
      expect(layout.live).toBe(true);
      await file.close();
    } finally {
      await program.close();
      await memory.close();
      await client.close();
    }
  });
});
