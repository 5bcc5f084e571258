/**
 * The promise of docs/coherence.md on a real mount: whatever programs on it and peers do to a block, one order of all of it explains
 * what each of them saw.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../../../fs/limits.ts';
import { canMount, Sandbox } from '../../tools/sandbox.ts';
import { History } from '../history.ts';
import { blocksPerFile, fileNames, type Kind, type Line, torn } from './story.ts';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const program = fileURLToPath(new URL('./program.ts', import.meta.url));
const typescript = join(repository, 'test/support/typescript.mjs');

/** Of each program. What is in the kernel's pages is read at no cost, and is to be looked at while it is old, if it ever is. */
const accessesBy: Readonly<Record<Kind, number>> = { buffered: 240, direct: 60, peer: 60, server: 60 };

/**
 * With pages one program alone uses them: what a write(2) has put there others on the mount see before it is done, and may cease to see
 * until then (docs/coherence.md, What remains).
 */
const programsBy: Readonly<Record<string, readonly Kind[]>> = {
  kernel: ['buffered', 'direct', 'peer', 'peer', 'server'],
  'kernel,direct_io': ['buffered', 'buffered', 'direct', 'peer', 'server'],
};

/** Runs the programs side by side, each from its own seed. Answers what each of them told. */
async function tellAll(
  box: Sandbox,
  address: string,
  kinds: readonly Kind[],
  seed: number,
): Promise<readonly Line[][]> {
  const running = kinds.map((kind, index) => {
    const where = kind === 'buffered' || kind === 'direct' ? box.mountPoint : address;
    const args = [kind, where, `${seed + index}`, `${accessesBy[kind]}`, `${index + 1}`];
    const child = box.interactive(process.execPath, '--import', typescript, program, ...args);
    child.stderr.pipe(process.stderr);
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  });
  for (const { lines } of running) expect(await lines.next()).toMatchObject({ value: '"ready"' });
  for (const { child } of running) child.stdin.end('go\n');
  return Promise.all(
    running.map(async ({ lines }) => {
      const told: Line[] = [];
      for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
        const line: Line = JSON.parse(next.value);
        told.push(line);
      }
      return told;
    }),
  );
}

/**
 * What nothing is promised about: a read through the server that met a copy half way, since it asks nobody to stop (docs/recalls.md);
 * and what is in the page of a block while another program on the mount writes it past the pages.
 */
function isOpen(line: Line, at: number, by: Kind, others: readonly Line[]): boolean {
  if (line.kind === 'write') return false;
  if (line.byServer) return line.values[at] === torn;
  const block = line.first + at;
  return (
    by === 'buffered' &&
    others.some(
      ({ kind, name, first, values, began, ended }) =>
        kind === 'write' &&
        name === line.name &&
        first <= block &&
        block < first + values.length &&
        began <= line.ended &&
        line.began <= ended,
    )
  );
}

describe.runIf(canMount)('histories through a mount', { timeout: 300_000 }, () => {
  let box: Sandbox;
  let address: string;
  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    address = `unix:${join(box.dir, 'mds.sock')}`;
  });
  afterEach(() => box.remove());

  test.each(Object.entries(programsBy))('of programs on it (%s) and peers are linearizable', async (driver, kinds) => {
    await box.mount('-o', `driver=${driver}`, '--listen', address);
    for (const name of fileNames) {
      await writeFile(box.path(name), Buffer.alloc(blocksPerFile * limits.blockSize));
    }
    const seed = Math.floor(Math.random() * 2 ** 31);
    const told = await tellAll(box, address, kinds, seed);

    const history = new History(() => 0, 0);
    const pastPages = driver === 'kernel' ? told.filter((_, index) => kinds[index] === 'direct').flat() : [];
    for (const [index, by] of kinds.entries()) {
      const lines = told[index] ?? [];
      expect(lines.length, `program ${index} (${by}), seed ${seed}`).toBe(accessesBy[by]);
      for (const line of lines) {
        const { kind, name, first, values, began, ended } = line;
        for (const [at, value] of values.entries()) {
          if (isOpen(line, at, by, pastPages)) continue;
          history.add(kind, `${by}-${index}`, `${name}/${first + at}`, value, began, ended, false);
        }
      }
    }
    expect(history.check(), `seed ${seed}`).toBe(undefined);
    const blocks = fileNames.length * blocksPerFile;
    expect(history.undecided, `seed ${seed}: blocks that nobody can decide on`).toBeLessThan(blocks / 2);
  });
});
