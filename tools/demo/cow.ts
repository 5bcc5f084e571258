/**
 * Step 4: clone and copy-on-write under mappings. A writer returns its layout when it is recalled; a reader that keeps
 * using its old mapping sees the old content of the file and never the blocks of another one.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Checks } from './checks.ts';
import type { Stage } from './stage.ts';
import { digestOf } from './stage.ts';

const MiB = 1 << 20;
const fileBytes = 16 * MiB;
const overwriteAt = 4 * MiB;
const overwriteBytes = 2 * MiB;

export interface ShownExtent {
  readonly offset: number;
  readonly length: number;
  readonly storageOffset: number;
}

/** Device address of a byte of the file. */
export function addressOf(extents: readonly ShownExtent[], offset: number): number | undefined {
  const extent = extents.find((e) => offset >= e.offset && offset < e.offset + e.length);
  return extent === undefined ? undefined : extent.storageOffset + offset - extent.offset;
}

export async function mapOf(stage: Stage, name: string): Promise<readonly ShownExtent[]> {
  const text = await stage.must(stage.program('iopmemfs', 'map', '--json', stage.path(name)));
  const shown: { extents: ShownExtent[] } = JSON.parse(text);
  return shown.extents;
}

export async function cowUnderMappings(stage: Stage, checks: Checks): Promise<void> {
  checks.begin('4 copy-on-write under mappings');
  await stage.must(
    stage.run('dd', 'if=/dev/urandom', `of=${stage.path('db')}`, 'bs=1M', `count=${fileBytes / MiB}`, 'conv=fsync'),
  );
  const before = await readFile(stage.path('db'));

  const writer = await stage.peer();
  await writer.ask({ do: 'hold', path: '/db', iomode: 'rw', offset: 0, length: fileBytes, answer: 'return' });
  await stage.must(stage.program('iopmemfs', 'clone', stage.path('db'), stage.path('db.clone')));
  const heard = await writer.ask({ do: 'held' });
  checks.hold(heard.recalled === true && heard.returned === true, 'the writer was recalled for the clone and returned');
  checks.done('a client held a RW layout; clone recalled it, the client returned, the clone was made');

  const reader = await stage.peer();
  const held = await reader.ask({
    do: 'hold',
    path: '/db',
    iomode: 'read',
    offset: 0,
    length: fileBytes,
    answer: 'ignore',
  });
  const kept = await reader.ask({ do: 'held' });
  checks.hold(kept.digest === digestOfBytes(before), 'the reader sees the file through its layout');

  const oldMap = await mapOf(stage, 'db');
  await stage.must(
    stage.run(
      'dd',
      'if=/dev/urandom',
      `of=${stage.path('db')}`,
      'bs=1M',
      `seek=${overwriteAt / MiB}`,
      `count=${overwriteBytes / MiB}`,
      'conv=notrunc,fsync',
    ),
  );
  const newMap = await mapOf(stage, 'db');
  const [from, to] = [addressOf(oldMap, overwriteAt), addressOf(newMap, overwriteAt)];
  checks.hold(from !== undefined && to !== undefined && from !== to, 'the overwritten blocks were relocated');
  checks.hold(addressOf(await mapOf(stage, 'db.clone'), overwriteAt) === from, 'the clone kept the old blocks');
  checks.hold(addressOf(newMap, 0) === addressOf(oldMap, 0), 'blocks that were not overwritten stayed');
  checks.hold((await digestOf(stage.path('db.clone'))) === digestOfBytes(before), 'the clone keeps the old content');
  const after = await readFile(stage.path('db'));
  const untouched = after.subarray(0, overwriteAt).equals(before.subarray(0, overwriteAt));
  const changed = !after
    .subarray(overwriteAt, overwriteAt + overwriteBytes)
    .equals(before.subarray(overwriteAt, overwriteAt + overwriteBytes));
  checks.hold(
    untouched && changed && after.length === before.length,
    'the file has the new content where it was overwritten',
  );
  checks.done(
    `overwrote 2 MiB of db: device offset ${hex(from)} -> ${hex(to)}, the clone still at ${hex(from)} with the old content`,
  );

  // Give up every block of the old content, and fill the device: the reader that never returned must not see any of that.
  await stage.must(stage.run('rm', stage.path('db'), stage.path('db.clone')));
  await fillWithPattern(stage, 'filler');
  const still = await reader.ask({ do: 'held' });
  checks.hold(still.recalled === true, 'the reader heard the recall');
  checks.hold(still.digest === digestOfBytes(before), 'the reader that kept its layout sees only what the file held');
  await stage.must(stage.run('rm', stage.path('filler')));
  await writer.ask({ do: 'close' });
  reader.kill();
  checks.done(
    `a reader that kept its READ layout (${held.segments?.length ?? 0} extents) still sees the old file only, with the BAR filled by others`,
  );
}

/** Writes until the device is full. */
export async function fillWithPattern(stage: Stage, name: string): Promise<void> {
  const full = await stage.run(
    'sh',
    '-c',
    `tr '\\0' '\\245' </dev/zero | dd of="$0" bs=1M iflag=fullblock conv=fsync 2>&1`,
    stage.path(name),
  );
  if (full.code === 0 || !/No space left/.test(full.stdout + full.stderr)) throw new Error('the device was not filled');
}

export function hex(value: number | undefined): string {
  return value === undefined ? 'none' : `0x${value.toString(16)}`;
}

function digestOfBytes(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
