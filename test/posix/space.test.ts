/** ENOSPC: when the device is full. */
import { describe, expect, test } from 'vitest';
import { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted({ size: 8 << 20 });
const chunk = Buffer.alloc(1 << 20, 'chunk ');

/** Writes until there is no more room. Answers the bytes written. */
async function fill(path: string): Promise<number> {
  const fd = await must(fs.alice.open(path, O_CREAT | O_WRONLY, 0o644));
  let written = 0;
  for (;;) {
    const count = await fs.alice.write(fd, chunk);
    if (typeof count === 'string') {
      expect(count).toBe('ENOSPC');
      break;
    }
    written += count;
  }
  await must(fs.alice.close(fd));
  return written;
}

describe.skipIf(!canMount)('a full device', () => {
  test('takes every last block, keeps what it has taken, and is empty again after an unlink', async () => {
    const dir = await fs.directory();
    const { free } = await must(fs.root.statfs(dir));
    for (let round = 0; round < 3; round++) {
      const written = await fill(`${dir}/file`);
      expect(written).toBe(free * 4096);
      expect(await fs.root.statfs(dir)).toMatchObject({ free: 0, available: 0 });
      const fd = await must(fs.alice.open(`${dir}/file`, O_RDONLY));
      expect(await fs.root.fstat(fd)).toMatchObject({ size: written });
      const end = await must(fs.alice.pread(fd, chunk.length, written - 4096));
      expect(
        end.equals(chunk.subarray((written - 4096) % chunk.length, ((written - 4096) % chunk.length) + 4096)),
      ).toBe(true);
      await must(fs.alice.close(fd));
      await must(fs.alice.unlink(`${dir}/file`));
    }
  });

  test('still takes names, and writes where blocks are already', async () => {
    const dir = await fs.directory();
    await makeFile(fs.alice, `${dir}/old`, 0o644, 'x'.repeat(8192));
    await fill(`${dir}/file`);
    expect(await fs.alice.mkdir(`${dir}/directory`, 0o755)).toBe(0);
    expect(await fs.alice.symlink('target', `${dir}/link`)).toBe(0);
    expect(await fs.alice.rename(`${dir}/old`, `${dir}/renamed`)).toBe(0);
    const fd = await must(fs.alice.open(`${dir}/renamed`, O_RDWR));
    expect(await fs.alice.pwrite(fd, 'overwritten', 4000)).toBe(11);
    expect(String(await fs.alice.pread(fd, 11, 4000))).toBe('overwritten');
    expect(await fs.alice.pwrite(fd, 'x', 8192)).toBe('ENOSPC');
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 8192 });
    await must(fs.alice.close(fd));
    await must(fs.alice.unlink(`${dir}/file`));
  });

  test('a write that fits in part is written in part', async () => {
    const dir = await fs.directory();
    const written = await fill(`${dir}/file`);
    await must(fs.alice.truncate(`${dir}/file`, written - 8192));
    const fd = await must(fs.alice.open(`${dir}/other`, O_CREAT | O_RDWR, 0o644));
    expect(await fs.alice.pwrite(fd, Buffer.alloc(20_000, 1), 0)).toBe(8192);
    expect(await fs.root.fstat(fd)).toMatchObject({ size: 8192 });
    await must(fs.alice.close(fd));
  });
});
