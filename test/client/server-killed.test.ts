import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { test as base, expect } from 'vitest';
import { connect } from '../../client/index.ts';
import { Lab } from '../support/filesystem.ts';
import { pattern } from './rig.ts';

const typescript = fileURLToPath(new URL('../support/typescript.mjs', import.meta.url));
const program = fileURLToPath(new URL('./server-program.ts', import.meta.url));

/** A filesystem and the process that serves it. */
class Served {
  readonly lab: Lab;
  readonly address: string;
  #child: ChildProcess | undefined;

  constructor(lab: Lab) {
    this.lab = lab;
    this.address = `unix:${join(lab.dir, 'mds.sock')}`;
  }

  async start(): Promise<void> {
    const { image, meta } = this.lab;
    const child = spawn(process.execPath, ['--import', typescript, program, image, meta, this.address], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout })) if (line === 'ready') return;
    throw new Error('the server ended before it served');
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }
}

const test = base.extend<{ served: Served }>({
  // oxlint-disable-next-line eslint/no-empty-pattern -- vitest reads from the pattern which fixtures are needed
  served: async ({}, use) => {
    const lab = await Lab.create(64 << 20);
    const served = new Served(lab);
    try {
      await lab.unmount();
      await served.start();
      await use(served);
    } finally {
      await served.kill();
      await lab.remove();
    }
  },
});

test('a program whose server is killed and started again syncs what it had written directly', async ({ served }) => {
  const client = await connect(served.address);
  try {
    const file = await client.open('data', 'w+');
    const content = pattern(300_000, 1);
    expect(await file.write(content, 0, content.length, 0)).toMatchObject({ path: 'direct' });
    await file.sync();
    pattern(5000, 2).copy(content, 100);
    await file.write(content, 100, 5000, 100);
    const more = pattern(50_000, 3);
    expect(await file.write(more, 0, more.length, content.length)).toMatchObject({ path: 'direct' });
    await served.kill();
    await served.start();
    await file.sync();
    const other = await connect(served.address, { device: 'none' });
    const seen = await (await other.open('data', 'r')).readFile();
    expect(seen.equals(Buffer.concat([content, more]))).toBe(true);
    await other.close();
    await file.close();
  } finally {
    await client.close();
  }
  await served.kill();
  expect(await served.lab.problems()).toEqual([]);
});
