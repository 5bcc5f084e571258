/** What `npm pack` would ship: a program outside of the repository finds the library, and its types. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const compiler = join(root, 'node_modules/ts7/bin/tsc');

const program = `
import { ClientError, connect, scatterGather, type FileHandle } from 'iopmemfs/client';

export async function main(address: string): Promise<void> {
  const client = await connect(address, { timeoutMs: 5 });
  const file: FileHandle = await client.open('/a', 'a+');
  const text: string = await client.readFile('/a', 'utf8');
  const bytes: Buffer = await client.readFile('/a');
  const { bytesRead, buffer, path, reason } = await file.read({ buffer: new Uint16Array(4), position: 3n });
  const halves: Uint16Array = buffer;
  const why: string | undefined = path === 'direct' ? undefined : reason;
  // @ts-expect-error -- with an encoding it is a string
  const wrong: Buffer = await client.readFile('/a', 'utf8');
  // @ts-expect-error -- no such flags
  await client.open('/a', 'q');
  client.on('lost', (error) => console.log(error.status));
  const [list] = scatterGather([], { offset: 0, length: 1 }, 'read', { maxSegments: 2 });
  console.log(text, bytes, bytesRead, halves, why, wrong, list?.[0]?.busAddress);
}

console.log(new ClientError('TIMEOUT', 'late').code);
`;

test('a program compiles against the types of the package, and runs', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'iopmemfs-package-'));
  try {
    const modules = join(dir, 'node_modules');
    const shipped = join(modules, 'iopmemfs');
    await mkdir(shipped, { recursive: true });
    await copyFile(join(root, 'package.json'), join(shipped, 'package.json'));
    await symlink(join(root, 'node_modules'), join(shipped, 'node_modules'));
    await symlink(join(root, 'node_modules/@types'), join(modules, '@types'));
    await run(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json'), '--outDir', join(shipped, 'dist')]);
    await writeFile(join(dir, 'program.mts'), program);
    const strict = ['--strict', '--target', 'es2023', '--module', 'nodenext', '--skipLibCheck', '--types', 'node'];
    await run(process.execPath, [compiler, ...strict, 'program.mts'], { cwd: dir });
    const { stdout } = await run(process.execPath, ['program.mjs'], { cwd: dir });
    expect(stdout).toBe('ETIMEDOUT\n');
  } finally {
    await rm(dir, { recursive: true });
  }
});
