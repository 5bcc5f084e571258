import { execFile } from 'node:child_process';
import { readFile, writeFile as writeFileHere } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect } from 'vitest';
import { n, readAll, root, writeFile } from '../support/filesystem.ts';
import { type ClientRig, pattern, test } from './rig.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const library = pathToFileURL(here('../../client/index.ts')).href;

/** The examples of docs/client.md by the heading above them. */
async function examples(): Promise<ReadonlyMap<string, string>> {
  const page = await readFile(here('../../docs/client.md'), 'utf8');
  const found = page.matchAll(/^## (.+)\n(?:(?!^## )[^])*?```js\n([^]*?)```/gm);
  return new Map([...found].map(([, heading = '', code = '']) => [heading, code]));
}

async function run(rig: ClientRig, heading: string, path: string): Promise<string> {
  const code = (await examples()).get(heading);
  if (code === undefined) throw new Error(`no example under ${heading}`);
  const file = join(rig.lab.dir, 'example.mjs');
  await writeFileHere(file, code.replace("'iopmemfs/client'", JSON.stringify(library)));
  const typescript = here('../support/typescript.mjs');
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--import',
    typescript,
    file,
    rig.directAddress,
    path,
  ]);
  return stdout;
}

describe('the examples of docs/client.md', () => {
  test('read', async ({ rig }) => {
    await writeFile(rig.lab.vfs, 'data', pattern((1 << 20) + 5, 1));
    expect(await run(rig, 'Read', '/data')).toBe('1048576 bytes at 0, direct \n5 bytes at 1048576, direct \n');
  });

  test('write', async ({ rig }) => {
    expect(await run(rig, 'Write', '/data')).toBe('direct 62\n');
    const { ino } = await rig.lab.vfs.lookup(rig.lab.vfs.rootIno, n('data'), root);
    expect((await readAll(rig.lab.vfs, ino)).toString()).toBe('written straight to the device\n'.repeat(2));
  });

  test('a file that stays where it is', async ({ rig }) => {
    const output = await run(rig, 'A file that stays where it is', '/data');
    expect(output).toMatch(/^1048576 bytes at \d+, bus \d+, aligned true\n$/);
  });

  test('memory for the session', async ({ rig }) => {
    expect(await run(rig, 'Memory for the session', '/')).toBe('16 buffers of 4096 true\n');
    expect(rig.server.status().buffers.clients).toEqual([]);
  });

  test('files and directories', async ({ rig }) => {
    const output = await run(rig, 'Files and directories', '/tree');
    const lines = output.trim().split('\n');
    expect(lines[0]).toBe('13 13');
    expect(lines.slice(1, 4).toSorted()).toEqual(['one true', 'three true', 'two true']);
    expect(lines.slice(4)).toEqual(['first', 'second']);
    const { vfs } = rig.lab;
    await expect(async () => vfs.lookup(vfs.rootIno, n('tree'), root)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('view the bytes themselves', async ({ rig }) => {
    const sum = [...Buffer.from('bytes on the device')].reduce((total, byte) => total + byte, 0);
    expect(await run(rig, 'View the bytes themselves', '/data')).toBe(`${sum}\nBYTES on the device\n`);
  });

  test('drive an engine yourself', async ({ rig }) => {
    const output = await run(rig, 'Drive an engine yourself', '/data');
    expect(output).toMatch(/^INVALID_DATA file 0\+\d+ device [0-9a-f]{32} at \d+ bus undefined\n/);
    expect(output).toMatch(/\nsize 100\n$/);
    expect(rig.server.status().layouts).toEqual([]);
  });
});
