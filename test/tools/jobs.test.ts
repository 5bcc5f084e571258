/** Data that moves below a mount, by the programs that a user has for it, with a real kernel, peer and kill. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type FileHandle, open, readFile, truncate } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '../../client/index.ts';
import { pattern } from '../engine/fixture.ts';
import { canMount, outcomeOf, Sandbox } from './sandbox.ts';

const block = 4096;
const fileBlocks = 400;

const names = ['a', 'b'] as const;
const content = (name: string): Buffer => pattern(fileBlocks * block, name === 'a' ? 1 : 2);

/** Each starts some twenty programs, of which a loaded machine makes a minute. */
const programsMs = 600_000;

describe.runIf(canMount)('jobs', { timeout: programsMs }, () => {
  let box: Sandbox;
  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    await box.mount();
  });
  afterEach(() => box.remove());

  /** Each file is overwritten backwards, whenever the other one has taken what lies behind it. */
  async function scatter(): Promise<void> {
    const files: FileHandle[] = [];
    for (const name of names) files.push(await open(box.path(name), 'w'));
    for (let at = fileBlocks - 1; at >= 0; at--) {
      for (const [i, file] of files.entries()) {
        await file.write(content(names[i] ?? 'a'), at * block, block, at * block);
      }
    }
    for (const file of files) {
      await file.sync();
      await file.close();
    }
  }

  async function expectContent(): Promise<void> {
    for (const name of names) {
      expect((await readFile(box.path(name))).equals(content(name)), `content of ${name}`).toBe(true);
    }
  }

  interface Job {
    readonly state: string;
    readonly moved: number;
  }
  const job = async (...args: string[]): Promise<Job> => JSON.parse(await box.must('iopmemfs', ...args, '--json'));

  test('defragment, evacuate, retire and resize; status and map tell how it was and is', async () => {
    await scatter();
    expect(await box.must('iopmemfs', 'map', box.path('a'))).toMatch(/\n400 extents, 1 would be ideal\n$/);
    expect(await job('defragment', box.path('a'))).toMatchObject({ state: 'done', moved: fileBlocks * block });
    expect(await box.must('iopmemfs', 'map', box.path('a'))).toMatch(/\n1 extent, 1 would be ideal\n$/);
    expect(await job('defragment', box.mountPoint)).toMatchObject({ state: 'done', moved: fileBlocks * block });
    expect(await job('evacuate', box.mountPoint, '0+8m', '--retire')).toMatchObject({ state: 'done' });
    await truncate(box.image, 96 << 20);
    expect(await job('resize', box.image)).toMatchObject({ state: 'done', size: 96 << 20 });
    expect(await box.must('iopmemfs', 'resize', box.mountPoint, '40m')).toContain(': resize: 40.0 MiB large, ');
    await expectContent();
    const status = await box.must('iopmemfs', 'status', box.mountPoint);
    expect(status).toMatch(/40\.0 MiB: 3\.1 MiB in files .*, 8\.0 MiB bad/);
    expect(status).toMatch(/2 files in 2 extents \(1\.00 each, 2 would be ideal\), 0 % fragmented/);
    expect(status).toMatch(/job 5, done: resize: 100 %/);
    await box.umount();
    await truncate(box.image, 40 << 20);
    expect(await box.run('fsck', '-v', box.image)).toMatchObject({ code: 0, stdout: /2047 bad/ });
    await box.mount();
    await expectContent();
  });

  test('what cannot be done is said, with its errno', async () => {
    await scatter();
    const refused = [
      [['evacuate', box.mountPoint, '0+4k'], /a superblock, which cannot be moved \(EINVAL\)/],
      [['evacuate', box.mountPoint, '4k'], /"4k" is not a range: OFFSET\+LENGTH/],
      [['resize', box.mountPoint, '1g'], /the device has only 67108864 bytes \(EINVAL\)/],
      [['resize', box.mountPoint, '1m'], /lie past the new end, and only .* \(ENOSPC\)/],
      [['cancel', box.mountPoint], /no job is running \(ESRCH\)/],
      [['defragment', '/etc/passwd'], /on a mount; iopmemfs status lists what runs \(ENOENT\)/],
    ] as const;
    for (const [args, stderr] of refused) {
      expect(await box.run('iopmemfs', ...args)).toMatchObject({ code: 1, stderr: expect.stringMatching(stderr) });
    }
    await expectContent();
  });

  test('a peer with a layout gives it back, and finds its data where it is now', async () => {
    await scatter();
    const [socket] = JSON.parse(await box.must('iopmemfs', 'status', '--json', box.mountPoint)).addresses;
    const client = await connect(socket, { device: box.image });
    try {
      const file = await client.open('/a', 'r+');
      const read = async (): Promise<Buffer> => {
        const data = Buffer.alloc(fileBlocks * block);
        let done = 0;
        while (done < data.length) done += (await file.read(data, done, data.length - done, done)).bytesRead;
        return data;
      };
      expect((await read()).equals(content('a'))).toBe(true);
      const changed = Buffer.alloc(block, 9);
      await file.write(changed, 0, block, 7 * block);
      await job('evacuate', box.mountPoint, '4k+16m');
      const expected = content('a');
      changed.copy(expected, 7 * block);
      expect((await read()).equals(expected)).toBe(true);
      await file.close();
      expect((await readFile(box.path('a'))).equals(expected)).toBe(true);
    } finally {
      await client.close();
    }
  });

  test('killed at any moment of a job, the daemon leaves every file whole', async () => {
    await scatter();
    for (const delayMs of [0, 60]) {
      const [pid = 0] = await box.daemons();
      const tool = box.start('iopmemfs', 'evacuate', box.mountPoint, `${4 + (delayMs % 8)}k+12m`);
      const ended = outcomeOf(tool);
      // Whatever has happened by then is as good as anything else.
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 200 + delayMs))]);
      process.kill(pid, 'SIGKILL');
      while (existsSync(`/proc/${pid}`)) await new Promise((resolve) => setTimeout(resolve, 5));
      await ended;
      expect(await box.run('fsck', box.image)).toMatchObject({ code: 0 });
      await box.mount();
      await expectContent();
    }
  });

  test('Ctrl-C ends the job, and what moved stays moved', async () => {
    await scatter();
    const tool = box.start('iopmemfs', 'defragment', box.mountPoint);
    const ended = outcomeOf(tool);
    await once(tool, 'spawn');
    tool.kill('SIGINT');
    const { code } = await ended;
    // Before it had asked for anything (killed), in the middle, or too late.
    expect([null, 0, 130]).toContain(code);
    await expectContent();
    await job('defragment', box.mountPoint);
    await expectContent();
  });
});
