/** The mount that the tests of one file share, and those who use it. */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { canMount, Sandbox } from '../../tools/sandbox.ts';
import { alice, bob, root } from './identity.ts';
import { type Caller, Process } from './process.ts';

export { canMount };

/** `Sandbox` lies on a tmpfs. */
export const filesystems = ['the mount', 'tmpfs'] as const;
export type Filesystem = (typeof filesystems)[number];

/**
 * What the suites run on: the mount of the daemon that serves the filesystem, or one over its server. For a test that cannot hold
 * on the other: docs/remote-mount.md has the reasons.
 */
export const isRemote = process.env.IOPMEMFS_TEST_MOUNT === 'remote';

export interface Options {
  /** Bytes of the device. */
  readonly size?: number;
  /** As -o takes them. */
  readonly options?: string;
}

/** Everything is there once the tests run, and gone afterwards whatever happened. */
export class Mounted {
  #box: Sandbox | undefined;
  #processes: Process[] = [];
  #options: readonly string[] = [];
  #directories = 0;

  /** Root, and two ordinary users, in one process. */
  get root(): Caller {
    return this.process.as(root);
  }
  get alice(): Caller {
    return this.process.as(alice);
  }
  get bob(): Caller {
    return this.process.as(bob);
  }

  get process(): Process {
    const [first] = this.#processes;
    if (first === undefined) throw new Error('not mounted');
    return first;
  }

  get box(): Sandbox {
    if (this.#box === undefined) throw new Error('not mounted');
    return this.#box;
  }

  /** The `number`-th process besides the first, for what processes do to each other; started when it is not there. */
  async another(number = 1): Promise<Process> {
    const known = this.#processes[number];
    if (known?.isAlive === true) return known;
    const process = await Process.start();
    this.#processes[number] = process;
    return process;
  }

  /** A new empty directory on the mount, that everybody may write to. */
  async directory(): Promise<string> {
    const path = this.box.path(`d${++this.#directories}`);
    await mkdir(path);
    await chmod(path, 0o777);
    return path;
  }

  /** The same on a tmpfs beside the mount: a test that holds on both tests what it says. */
  async directoryOn(filesystem: Filesystem): Promise<string> {
    if (filesystem === 'the mount') return this.directory();
    const path = join(this.box.dir, `tmpfs${++this.#directories}`);
    await mkdir(path);
    await chmod(path, 0o777);
    return path;
  }

  /** Unmounts, and mounts again once the daemon has ended. Processes besides the first one end. */
  async remount(...options: readonly string[]): Promise<void> {
    await Promise.all(this.#processes.splice(1).map((process) => process.end()));
    await this.box.umount();
    await this.#mount(...this.#options, ...options);
  }

  /** Kills the daemon where it stands, and mounts again. */
  async crash(): Promise<void> {
    for (const pid of await this.box.daemons()) process.kill(pid, 'SIGKILL');
    await this.box.command('umount', '-l', this.box.mountPoint);
    if (isRemote) await this.#serve();
    await this.#mount(...this.#options);
  }

  async up(options: Options): Promise<void> {
    const [box, process] = await Promise.all([Sandbox.create(options.size ?? 64 << 20), Process.start()]);
    this.#box = box;
    this.#processes = [process];
    await chmod(box.dir, 0o755);
    await box.must('mkfs', box.image);
    this.#options = options.options === undefined ? [] : ['-o', options.options];
    if (isRemote) await this.#serve();
    await this.#mount(...this.#options);
    await chmod(box.mountPoint, 0o755);
  }

  async #serve(): Promise<void> {
    await this.box.must('iopmemfs', 'serve', this.box.image, '--listen', this.#address);
  }

  async #mount(...options: readonly string[]): Promise<void> {
    if (isRemote) await this.box.must('iopmemfs', 'mount', this.#address, this.box.mountPoint, ...options);
    else await this.box.mount(...options);
  }

  get #address(): string {
    return `unix:${this.box.dir}/server`;
  }

  async down(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.end()));
    await this.#box?.remove();
  }
}

export function mounted(options: Options = {}): Mounted {
  const mount = new Mounted();
  if (!canMount) return mount;
  beforeAll(() => mount.up(options));
  afterAll(() => mount.down());
  return mount;
}
