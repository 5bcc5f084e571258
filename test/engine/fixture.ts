import { constants } from 'node:fs';
import { test as base, expect } from 'vitest';
import type { ClientRecord } from '../../fs/format/records.ts';
import type { Attr, Caller, Handle, Vfs } from '../../fs/vfs.ts';
import { Lab, n, root, withHandle } from '../support/filesystem.ts';

/** A test with an empty, mounted filesystem of 16 MiB; when the test is over fsck must find nothing, and it goes. */
export const test = base.extend<{ lab: Lab; vfs: Vfs }>({
  // oxlint-disable-next-line eslint/no-empty-pattern -- vitest reads from the pattern which fixtures are needed
  lab: async ({}, use) => {
    const lab = await Lab.create();
    try {
      await use(lab);
      expect(await lab.problems(), 'found by fsck').toEqual([]);
    } finally {
      await lab.remove();
    }
  },
  vfs: async ({ lab }, use) => use(lab.vfs),
});

/** Of a client whose accesses are over at once, and that no process is known of. */
export const clientRecord = (clientId: number): ClientRecord => ({
  clientId,
  owner: Buffer.from('owner'),
  verifier: Buffer.alloc(8, 1),
  since: 5,
  uid: 0,
  leaseMs: 0,
  ioMaxMs: 0,
  boot: new Uint8Array(0),
  process: new Uint8Array(0),
});

/** The inode at a path from the root, as root sees it. */
export async function at(vfs: Vfs, path: string): Promise<Attr> {
  let attr = await vfs.getattr(vfs.rootIno, root);
  for (const name of path.split('/').filter((part) => part !== '')) attr = await vfs.lookup(attr.ino, n(name), root);
  return attr;
}

export async function makeDir(vfs: Vfs, path: string, mode = 0o755, by: Caller = root): Promise<number> {
  const { parent, name } = await split(vfs, path);
  return (await vfs.mkdir(parent, n(name), mode, by)).ino;
}

/** An empty file. */
export async function makeFile(vfs: Vfs, path: string, mode = 0o644, by: Caller = root): Promise<number> {
  const { parent, name } = await split(vfs, path);
  const { attr, handle } = await vfs.create(parent, n(name), mode, 0, by);
  await vfs.release(handle);
  return attr.ino;
}

/** A file of `extents` extents of one block, with a hole of one behind each. */
export async function makeScattered(vfs: Vfs, path: string, extents: number): Promise<number> {
  const ino = await makeFile(vfs, path);
  await withHandle(vfs, ino, constants.O_RDWR, async (handle) => {
    for (let i = 0; i < extents; i++) await vfs.write(handle, 2 * i * bs, pattern(bs, i), root);
  });
  return ino;
}

async function split(vfs: Vfs, path: string): Promise<{ parent: number; name: string }> {
  const slash = path.lastIndexOf('/');
  return { parent: (await at(vfs, path.slice(0, Math.max(slash, 0)))).ino, name: path.slice(slash + 1) };
}

/** Names of a directory in the order of the listing, a page of `page` entries at a time. */
export async function list(vfs: Vfs, ino: number, page = 100): Promise<string[]> {
  const handle = await vfs.opendir(ino, root);
  try {
    return await listFrom(vfs, handle, page);
  } finally {
    await vfs.release(handle);
  }
}

async function listFrom(vfs: Vfs, handle: Handle, page: number): Promise<string[]> {
  const names: string[] = [];
  for (let cookie = 0; ; ) {
    const entries = await vfs.readdir(handle, cookie, page, root);
    if (entries.length === 0) return names;
    expect(entries.length).toBeLessThanOrEqual(page);
    for (const entry of entries) names.push(entry.name);
    cookie = entries.at(-1)?.cookie ?? cookie;
  }
}

/** `length` bytes, all different from zero, that tell files and places apart. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = ((i * 31 + seed * 97 + (i >> 8)) % 255) + 1;
  return bytes;
}

export const bs = 4096;

/** Something that a test lets happen when it wants. */
export class Gate {
  readonly passed: Promise<void>;
  #pass: () => void = () => undefined;

  constructor() {
    this.passed = new Promise((resolve) => {
      this.#pass = resolve;
    });
  }

  open(): void {
    this.#pass();
  }
}
