/** Trees of files for tests: made, compared, snapshot, deleted. */
import type { Attr, Vfs } from '../../fs/vfs.ts';
import { Lab, n, readAll, root } from '../support/filesystem.ts';
import { until } from '../support/until.ts';
import { FakeLeases } from './fake-leases.ts';
import { at, list } from './fixture.ts';

export { until } from '../support/until.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

/** Everything deleted is gone, and its blocks are free. */
export async function reaped(lab: Lab): Promise<void> {
  await until('everything deleted is gone', () => lab.fs.status().reaping.trees === 0);
  await lab.vfs.syncfs();
}

export async function takeSnapshot(vfs: Vfs, path: string, name: string): Promise<number> {
  const { ino } = await at(vfs, `${path}/.snapshots`);
  return (await vfs.mkdir(ino, n(name), 0o777, root)).ino;
}

export async function deleteSnapshot(vfs: Vfs, path: string, name: string): Promise<void> {
  const { ino } = await at(vfs, `${path}/.snapshots`);
  await vfs.rmdir(ino, n(name), root);
}

/** A directory with `directories` of them below it, each with `files` small files. */
export async function makeTree(vfs: Vfs, path: string, directories: number, files: number): Promise<number> {
  const slash = path.lastIndexOf('/');
  const parent = await at(vfs, path.slice(0, Math.max(0, slash)));
  const top = (await vfs.mkdir(parent.ino, n(path.slice(slash + 1)), 0o755, root)).ino;
  for (let d = 0; d < directories; d++) {
    const dir = (await vfs.mkdir(top, n(`d${d}`), 0o755, root)).ino;
    for (let f = 0; f < files; f++) {
      const { handle } = await vfs.create(dir, n(`f${f}`), 0o644, 2, root);
      await vfs.write(handle, 0, Buffer.from(`content ${d} ${f}`), root);
      await vfs.release(handle);
    }
  }
  return top;
}

/** What stat(2), readlink, read and getxattr tell of everything in a tree, by path; hard links by the first of their names. */
export async function describeTree(vfs: Vfs, top: number): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const names = new Map<number, string>();
  await walk(top, '');
  return found;

  async function walk(ino: number, path: string): Promise<void> {
    const attr = await vfs.getattr(ino, root);
    const first = names.get(ino) ?? path;
    names.set(ino, first);
    found.set(path, JSON.stringify([first, attributes(attr, path), await content(attr), await xattrs(ino)]));
    if ((attr.mode & S_IFMT) !== S_IFDIR) return;
    for (const name of await list(vfs, ino)) {
      if (name === '.' || name === '..') continue;
      await walk((await vfs.lookup(ino, n(name), root)).ino, `${path}/${name}`);
    }
  }

  async function content({ ino, mode }: Attr): Promise<string> {
    if ((mode & S_IFMT) === S_IFREG) return (await readAll(vfs, ino)).toString('base64');
    if ((mode & S_IFMT) === S_IFLNK) return Buffer.from(await vfs.readlink(ino, root)).toString();
    return '';
  }

  async function xattrs(ino: number): Promise<string[]> {
    const values: string[] = [];
    for (const name of [...(await vfs.listxattr(ino, root))].sort()) {
      values.push(`${name}=${Buffer.from(await vfs.getxattr(ino, name, root)).toString('hex')}`);
    }
    return values;
  }
}

/** Without what reading changes, what differs between inodes, and what the name of the root itself changes. */
function attributes({ mode, nlink, uid, gid, rdev, size, mtime, ctime, btime }: Attr, path: string): unknown {
  return { mode, nlink, uid, gid, rdev, size, mtime, ...(path !== '' && { ctime, btime }) };
}

/** A filesystem of 16 MiB with layouts out that the test decides on. Whatever happens all of it goes. */
export async function withLeases(work: (lab: Lab, leases: FakeLeases) => Promise<void>): Promise<void> {
  const leases = new FakeLeases();
  const lab = await Lab.create(16 << 20, leases);
  try {
    await work(lab, leases);
  } finally {
    leases.giveBackAll();
    await lab.remove();
  }
}
