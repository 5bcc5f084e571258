import { type ChildProcess, spawn } from 'node:child_process';
import { link, mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect } from '../../client/index.ts';
import { canMount, printed, Sandbox } from './sandbox.ts';

/** Local readers see the data of a peer no later than its commit, whatever their kernel has cached. */
const block = (letter: string): Buffer => Buffer.alloc(4096, letter);

/** A program that maps a file shared and does what it is told on its input, answering a line each. */
const mapping = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, 0, mmap.MAP_SHARED)
print('mapped', flush=True)
for line in sys.stdin:
    what, at, text = line.split()
    at = int(at)
    if what == 'load': print(m[at:at + int(text)].decode(), flush=True)
    elif what == 'store': m[at:at + len(text)] = text.encode(); print('stored', flush=True)
    else: m.flush(); print('synced', flush=True)
`;

class Mapping {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(path: string) {
    this.#child = spawn('python3', ['-c', mapping, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new Error('no output');
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  static async of(path: string): Promise<Mapping> {
    const mapped = new Mapping(path);
    await mapped.#next();
    return mapped;
  }

  load(at: number, length: number): Promise<string> {
    return this.#ask(`load ${at} ${length}`);
  }

  store(at: number, text: string): Promise<string> {
    return this.#ask(`store ${at} ${text}`);
  }

  sync(): Promise<string> {
    return this.#ask('sync 0 -');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #ask(line: string): Promise<string> {
    this.#child.stdin?.write(`${line}\n`);
    return this.#next();
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error('the mapping program ended');
    return value;
  }
}

describe.runIf(canMount).each(['kernel', 'kernel,direct_io', 'fuse-native'])(
  'peers and the mount through %s',
  (driver) => {
    let box: Sandbox;
    let address: string;
    let peer: Client;
    const mappings: Mapping[] = [];
    const mapped = async (name: string): Promise<Mapping> => {
      const one = await Mapping.of(box.path(name));
      mappings.push(one);
      return one;
    };
    beforeEach(async () => {
      box = await Sandbox.create();
      await box.must('mkfs', box.image);
      address = `unix:${join(box.dir, 'mds.sock')}`;
      await box.mount('-o', `driver=${driver}`, '--listen', address);
      peer = await connect(address);
    });
    afterEach(async () => {
      for (const one of mappings.splice(0)) one.kill();
      try {
        await peer.close();
      } finally {
        await box.remove();
      }
    });

    test('a file that is open here shows what a peer wrote directly and committed', async () => {
      await writeFile(box.path('file'), Buffer.concat([block('a'), block('a')]));
      const local = await open(box.path('file'), 'r');
      const page = Buffer.alloc(8192);
      await local.read(page, 0, 8192, 0); // now in the kernel's page cache
      const remote = await peer.open('/file', 'r+');
      await remote.write(block('b'), 0, 4096, 4096);
      await remote.sync();
      await local.read(page, 0, 8192, 0);
      expect(page.toString('latin1', 4090, 4102)).toBe('aaaaaabbbbbb');
      await remote.close();
      await local.close();
    });

    test('sizes that a peer changed show at once', async () => {
      await writeFile(box.path('file'), 'short');
      expect((await stat(box.path('file'))).size).toBe(5);
      await peer.truncate('/file', 100_000);
      expect((await stat(box.path('file'))).size).toBe(100_000);
      await peer.truncate('/file', 2);
      expect(await readFile(box.path('file'), 'utf8')).toBe('sh');
    });

    test('what is written here is what a peer reads', async () => {
      const local = await open(box.path('file'), 'w+');
      await local.write(block('x'), 0, 4096, 0);
      const remote = await peer.open('/file', 'r');
      const buffer = Buffer.alloc(4096);
      await remote.read(buffer, 0, 4096, 0);
      expect(buffer.equals(block('x'))).toBe(true);
      await local.write(block('y'), 0, 4096, 0); // recalls the layout of the peer
      await remote.read(buffer, 0, 4096, 0);
      expect(buffer.equals(block('y'))).toBe(true);
      await remote.close();
      await local.close();
    });

    test('names that a peer makes, moves and removes', async () => {
      await mkdir(box.path('dir'));
      expect(await readdir(box.path('dir'))).toEqual([]);
      await (await peer.open('/dir/one', 'w')).close();
      expect(await readdir(box.path('dir'))).toEqual(['one']);
      await peer.rename('/dir/one', '/dir/two');
      expect(await readdir(box.path('dir'))).toEqual(['two']);
      await writeFile(box.path('dir', 'two'), 'by name');
      await peer.unlink('/dir/two');
      await expect(readFile(box.path('dir', 'two'))).rejects.toMatchObject({ code: 'ENOENT' });
    });

    test('a file that a peer opens with O_TRUNC is empty here at once', async () => {
      await writeFile(box.path('file'), block('a'));
      const local = await open(box.path('file'), 'r');
      await local.read(Buffer.alloc(4096), 0, 4096, 0);
      expect((await stat(box.path('file'))).size).toBe(4096); // now believed for a second
      const remote = await peer.open('/file', 'w');
      expect((await stat(box.path('file'))).size).toBe(0);
      expect((await local.read(Buffer.alloc(4096), 0, 4096, 0)).bytesRead).toBe(0);
      await remote.close();
      await local.close();
    });

    test('link counts and directory times follow what a peer links, replaces and removes', async () => {
      await writeFile(box.path('one'), '');
      await link(box.path('one'), box.path('two'));
      const local = await open(box.path('one'), 'r');
      const links = async (): Promise<number> => (await local.stat()).nlink;
      expect(await links()).toBe(2);
      await peer.unlink('/two');
      expect(await links()).toBe(1);
      await peer.link('/one', '/three');
      expect(await links()).toBe(2);
      await (await peer.open('/other', 'w')).close();
      await peer.rename('/other', '/three');
      expect(await links()).toBe(1);
      expect((await stat(box.mountPoint)).nlink).toBe(2);
      await peer.mkdir('/dir');
      expect((await stat(box.mountPoint)).nlink).toBe(3);
      await local.close();
    });

    test('a program with a mapping sees what a peer committed', async () => {
      await writeFile(box.path('file'), block('a'));
      const local = await mapped('file');
      expect(await local.load(0, 2)).toBe('aa');
      const remote = await peer.open('/file', 'r+');
      await remote.write(block('b'), 0, 4096, 0);
      await remote.sync();
      expect(await local.load(0, 2)).toBe('bb');
      await remote.close();
    });

    test.each([
      ['on the blocks', {}],
      ['through the server', { device: 'none' }],
    ] as const)('stores through a mapping and writes of a peer %s to one page all last', async (_, options) => {
      const other = await connect(address, options);
      try {
        await writeFile(box.path('file'), Buffer.concat([block('-'), block('-')]));
        const local = await mapped('file');
        const remote = await other.open('/file', 'r+');
        for (const [at, mine, theirs] of [
          [0, 'A', 'a'],
          [10, 'B', 'b'],
          [20, 'C', 'c'],
        ] as const) {
          await remote.write(Buffer.from(theirs), 0, 1, at); // holds the page for writing, if it can
          await local.store(at + 1, mine); // the page is dirty now
          await remote.write(Buffer.from(theirs), 0, 1, at + 2);
          await remote.sync();
          expect(await local.load(at, 3)).toBe(theirs + mine + theirs);
        }
        await local.sync();
        const page = Buffer.alloc(30);
        await remote.read(page, 0, 30, 0);
        expect(page.toString()).toBe(await local.load(0, 30));
        expect(page.toString()).toBe('aAa-------bBb-------cCc-------');
        await remote.close();
      } finally {
        await other.close();
      }
    });
  },
);

/** Each invalidation waits for the page that a store made dirty, its WRITE for a peer that does not return its layout. */
test.runIf(canMount).for(['background', 'foreground'])(
  'files whose pages cannot be dropped yet hold up no others, with the daemon in the %s',
  async (where) => {
    const box = await Sandbox.create();
    const address = `unix:${join(box.dir, 'mds.sock')}`;
    const mappings: Mapping[] = [];
    const clients: Client[] = [];
    try {
      await box.must('mkfs', box.image);
      if (where === 'background') await box.mount('--listen', address);
      else
        await printed(box.start('iopmemfs', 'mount', box.image, box.mountPoint, '--listen', address, '-f'), /serving/);
      const [slow, eager, peer] = await Promise.all([connect(address), connect(address), connect(address)]);
      clients.push(slow, eager, peer);
      await writeFile(box.path('free'), block('a'));
      const page = await open(box.path('free'), 'r');
      await page.read(Buffer.alloc(4096), 0, 4096, 0);

      let over = 0;
      const waiting: Promise<unknown>[] = [];
      const held: { return(): Promise<void> }[] = [];
      for (let n = 0; n < 6; n++) {
        const name = `file${n}`;
        await writeFile(box.path(name), block('a'));
        const kept = await slow.open(`/${name}`, 'r');
        held.push(await kept.layout({ iomode: 'READ', offset: 0, length: 4096, onRecall: 'ignore' }));
        const local = await Mapping.of(box.path(name));
        mappings.push(local);
        await local.store(0, 'dirty');
        waiting.push(eager.truncate(`/${name}`, 1).then(() => over++));
      }
      const remote = await peer.open('/free', 'r+');
      await remote.write(block('b'), 0, 4096, 0);
      await remote.sync();
      const seen = Buffer.alloc(4096);
      await page.read(seen, 0, 4096, 0);
      expect(seen.equals(block('b'))).toBe(true);
      expect(over).toBe(0);

      await Promise.all(held.map((layout) => layout.return()));
      await Promise.all(waiting);
      expect((await readFile(box.path('file0'))).toString()).toBe('d');
      await page.close();
    } finally {
      for (const one of mappings) one.kill();
      await Promise.all(clients.map((client) => client.close()));
      await box.remove();
    }
  },
);
