/** What endpoints in shared memory leave behind when their process is killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { removeLeftovers } from '../../fs/fabric/leftovers.ts';
import { missing } from '../client/rma-lab.ts';

const typescript = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));
const program = fileURLToPath(new URL('./open-endpoint.ts', import.meta.url));
const reason = missing('shm');

/** A process with an endpoint, and the file of that. */
async function owner(): Promise<{ readonly child: ChildProcess; readonly file: string }> {
  const child = spawn(process.execPath, ['--import', typescript, program], { stdio: ['pipe', 'pipe', 'inherit'] });
  const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  return { child, file: `/dev/shm/${String(value).replace('fi_shm://', '')}` };
}

describe.skipIf(reason !== undefined)(`files in /dev/shm${reason === undefined ? '' : `: ${reason}`}`, () => {
  test('are removed when their process is gone, and not before', async () => {
    const [alive, killed] = [await owner(), await owner()];
    try {
      killed.child.kill('SIGKILL');
      await once(killed.child, 'close');
      expect([existsSync(alive.file), existsSync(killed.file)]).toEqual([true, true]);
      removeLeftovers();
      expect([existsSync(alive.file), existsSync(killed.file)]).toEqual([true, false]);
    } finally {
      killed.child.kill('SIGKILL');
      alive.child.stdin?.end();
      await once(alive.child, 'close');
    }
    expect(existsSync(alive.file)).toBe(false);
  });
});
