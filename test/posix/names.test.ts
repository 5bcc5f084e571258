/** What a name may be: any bytes but NUL and '/', 1 to NAME_MAX of them. */
import { describe, expect, test } from 'vitest';
import { NAME_MAX, O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } from './support/constants.ts';
import { canMount, mounted } from './support/mounted.ts';
import { makeFile } from './support/path-errors.ts';
import { must } from './support/process.ts';

const fs = mounted();

/** `dir/name` as the kernel takes it. */
const at = (dir: string, name: Uint8Array): Buffer => Buffer.concat([Buffer.from(`${dir}/`), name, Buffer.of(0)]);

describe.skipIf(!canMount)('names', () => {
  test('of every single byte', async () => {
    const dir = await fs.directory();
    for (let byte = 1; byte < 256; byte++) {
      if (byte === 0x2f || byte === 0x2e) continue;
      const fd = await must(fs.alice.open(at(dir, Buffer.of(byte)), O_CREAT | O_EXCL | O_WRONLY, 0o644));
      await must(fs.alice.close(fd));
    }
    const fd = await must(fs.alice.open(dir, O_RDONLY));
    let count = 0;
    for (let some = 1; some > 0; count += some) some = (await must(fs.alice.getdents(fd))).length;
    await must(fs.alice.close(fd));
    expect(count).toBe(253 + 2);
  });

  test('of NAME_MAX bytes and no more, whatever they are', async () => {
    const dir = await fs.directory();
    for (const byte of [0x61, 0xff]) {
      expect(await fs.alice.mkdir(at(dir, Buffer.alloc(NAME_MAX, byte)), 0o755)).toBe(0);
      expect(await fs.alice.mkdir(at(dir, Buffer.alloc(NAME_MAX + 1, byte)), 0o755)).toBe('ENAMETOOLONG');
    }
  });

  test('are told apart by their bytes: case, accents in two spellings, blanks at the end', async () => {
    const dir = await fs.directory();
    const names = ['name', 'Name', 'NAME', 'name ', 'name.', '\u00e9', 'e\u0301', '...', '..a', ' '];
    for (const name of names) await makeFile(fs.alice, `${dir}/${name}`, 0o644, name);
    for (const name of names)
      expect(await fs.root.stat(`${dir}/${name}`)).toMatchObject({ size: Buffer.byteLength(name) });
  });
});
