import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import type { MetaStore } from '../../fs/meta/store.ts';

/** A directory of the test's own, gone when the test is. */
export async function tempDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'iopmemfs-meta-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A new store, closed when the test is over. */
export async function tempStore(): Promise<{ readonly store: MetaStore; readonly dir: string }> {
  const dir = join(await tempDir(), 'store');
  const store = await openLevelStore(dir, { create: true });
  onTestFinished(() => store.close());
  return { store, dir };
}

export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
export const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString('latin1');

/** Every entry of the range, as text. */
export async function entries(store: MetaStore, from = '\x00', to = '\xff'): Promise<[string, string][]> {
  const found: [string, string][] = [];
  for await (const page of store.range(bytes(from), bytes(to))) {
    for (const [key, value] of page) found.push([text(key) ?? '', text(value) ?? '']);
  }
  return found;
}
