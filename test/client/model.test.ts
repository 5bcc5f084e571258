import { fc, test } from '@fast-check/vitest';
import { describe, expect, vi } from 'vitest';
import type { Client, FileHandle } from '../../client/index.ts';
import { n, readAll, root, withHandle } from '../support/filesystem.ts';
import { ClientRig, pattern } from './rig.ts';

/** Milliseconds that 'time passes' has made of the clocks that everybody here reads. */
const time = vi.hoisted(() => ({ passed: 0 }));
vi.mock(import('../../client/clock.ts'), async (original) => {
  const { leaseNow } = await original();
  return { leaseNow: () => leaseNow() + time.passed };
});

const block = 4096;
/** Positions and lengths cluster at the borders of blocks and of what one layout covers. */
const position = fc.oneof(
  fc.nat(40 * block),
  fc.nat(40).map((blocks) => blocks * block),
  fc.nat(3).map((pages) => pages * 2 ** 21 + block),
);
const length = fc.oneof(
  fc.integer({ min: 1, max: 3 * block }),
  fc.integer({ min: 1, max: 4 }).map((blocks) => blocks * block),
);
const who = fc.nat(1);

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('write' as const), who, position, length, seed: fc.nat(1000) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const), who, position, length }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('truncate' as const), who, position }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clone' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sync' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('local write' as const), position, length, seed: fc.nat(1000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('local truncate' as const), position }) },
  /** Longer than any hold after a refusal or a recall, shorter than a lease. */
  { weight: 1, arbitrary: fc.record({ do: fc.constant('time passes' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Two clients and the mount on one file, one operation after the other; content as an array of bytes would have it. */
class Play {
  readonly #rig: ClientRig;
  readonly #clients: readonly Client[];
  readonly #files: FileHandle[];
  #content: Buffer = Buffer.alloc(0);
  readonly #clones: { readonly name: string; readonly content: Buffer }[] = [];
  #writer = 0;

  constructor(rig: ClientRig, clients: readonly Client[], files: FileHandle[]) {
    this.#rig = rig;
    this.#clients = clients;
    this.#files = files;
  }

  async run(one: Step): Promise<void> {
    // What is not committed others may see late; one who writes after another begins with what that one wrote.
    const own = 'who' in one ? one.who : undefined;
    if (own !== this.#writer) await this.#file(this.#writer).sync();
    if (own !== undefined) this.#writer = own;
    switch (one.do) {
      case 'write': {
        const bytes = pattern(one.length + 3, one.seed).subarray(0, one.length);
        const written = await this.#file(one.who).write(bytes, 0, bytes.length, one.position);
        expect(written.bytesWritten).toBe(bytes.length);
        this.#put(bytes, one.position);
        break;
      }
      case 'read': {
        const buffer = Buffer.alloc(one.length);
        const { bytesRead } = await this.#file(one.who).read(buffer, 0, one.length, one.position);
        const expected = this.#content.subarray(one.position, one.position + one.length);
        expect(bytesRead).toBe(expected.length);
        expect(buffer.subarray(0, bytesRead).equals(expected)).toBe(true);
        break;
      }
      case 'truncate':
        await this.#file(one.who).truncate(one.position);
        this.#resize(one.position);
        break;
      case 'clone': {
        const name = `clone-${this.#clones.length}`;
        await this.#clients[one.who]?.clone('file', name);
        this.#clones.push({ name, content: Buffer.from(this.#content) });
        break;
      }
      case 'sync':
        await this.#file(one.who).sync();
        expect(await this.#local('file')).toBe(true);
        break;
      case 'reopen': {
        await this.#file(one.who).close();
        const client = this.#clients[one.who];
        if (client !== undefined) this.#files[one.who] = await client.open('file', 'r+');
        break;
      }
      case 'cut':
        this.#rig.wire.cut();
        break;
      case 'local write': {
        const bytes = pattern(one.length + 3, one.seed).subarray(0, one.length);
        const { vfs } = this.#rig.lab;
        await withHandle(vfs, this.#file(0).ino, 2, (handle) => vfs.write(handle, one.position, bytes, root));
        this.#put(bytes, one.position);
        break;
      }
      case 'local truncate':
        await this.#rig.lab.vfs.setattr(this.#file(0).ino, { size: one.position }, root);
        this.#resize(one.position);
        break;
      case 'time passes':
        time.passed += 12_000;
        break;
    }
  }

  /** Everything is as it should be for everybody, clones included. */
  async end(): Promise<void> {
    for (const file of this.#files) await file.close();
    expect(await this.#local('file')).toBe(true);
    for (const { name, content } of this.#clones) expect(await this.#local(name, content), name).toBe(true);
    expect(this.#rig.server.status().layouts).toEqual([]);
  }

  #file(index: number): FileHandle {
    const file = this.#files[index];
    if (file === undefined) throw new Error(`no file ${index}`);
    return file;
  }

  #put(bytes: Buffer, at: number): void {
    if (this.#content.length < at + bytes.length) this.#resize(at + bytes.length);
    bytes.copy(this.#content, at);
  }

  #resize(size: number): void {
    this.#content = Buffer.concat([
      this.#content.subarray(0, size),
      Buffer.alloc(Math.max(0, size - this.#content.length)),
    ]);
  }

  async #local(name: string, content: Buffer = this.#content): Promise<boolean> {
    const { vfs } = this.#rig.lab;
    const { ino } = await vfs.lookup(vfs.rootIno, n(name), root);
    return (await readAll(vfs, ino)).equals(content);
  }
}

describe('two clients and the mount on one file', () => {
  test.prop([fc.array(step, { minLength: 5, maxLength: 40 })], { numRuns: 25 })(
    'read what was written last, whoever wrote it and which way it went',
    async (steps) => {
      const rig = await ClientRig.start();
      const now = performance.now.bind(performance);
      const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + time.passed);
      try {
        const clients = [await rig.connect(), await rig.connect()];
        const files = [await clients[0]?.open('file', 'w+'), await clients[1]?.open('file', 'r+')];
        const play = new Play(
          rig,
          clients,
          files.filter((file) => file !== undefined),
        );
        for (const one of steps) await play.run(one);
        await play.end();
      } finally {
        clock.mockRestore();
        await rig.stop();
      }
    },
    600_000, // a machine under load takes its time
  );
});
