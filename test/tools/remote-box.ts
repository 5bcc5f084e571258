/** A server, and mounts over it: each its own daemon, as on different machines. */
import { mkdir, mkdtemp, readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Sandbox } from './sandbox.ts';

export class RemoteBox {
  readonly box: Sandbox;
  readonly #options: readonly string[];
  #addresses: readonly string[] = [];

  private constructor(box: Sandbox, options: readonly string[]) {
    this.box = box;
    this.#options = options;
  }

  /** `options` of `iopmemfs serve`. */
  static async create(...options: readonly string[]): Promise<RemoteBox> {
    const box = await Sandbox.create();
    const remote = new RemoteBox(box, options);
    await box.must('mkfs', box.image);
    await remote.serve();
    return remote;
  }

  get address(): string {
    return `unix:${this.box.dir}/server`;
  }

  async serve(): Promise<void> {
    const listen = ['--listen', this.address];
    const served = await this.box.must('iopmemfs', 'serve', this.box.image, ...listen, ...this.#options, '--json');
    const summary: { readonly addresses: readonly string[] } = JSON.parse(served);
    this.#addresses = summary.addresses;
  }

  /**
   * The next server, which begins when the answer is called. Made before a file is open: a program that starts another
   * one closes there what is open here, and close(2) waits for the server.
   */
  standby(): () => void {
    const serve = ['serve', this.box.image, '--listen', this.address, ...this.#options];
    const program = [process.execPath, resolve('dist/tools/iopmemfs.js')];
    const shell = this.box.interactive('sh', '-c', 'read go; exec "$0" "$@"', ...program, ...serve);
    return () => void shell.stdin.end('go\n');
  }

  /** Where the server listens, its control socket too. */
  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** A new one. */
  directory(): Promise<string> {
    return mkdtemp(join(this.box.dir, 'd'));
  }

  /** Of the server. */
  async server(): Promise<number> {
    const [pid] = await this.box.daemons();
    if (pid === undefined) throw new Error('no server runs');
    return pid;
  }

  /** Mounts on a directory of this name, which it answers. */
  mount(name: string, ...options: readonly string[]): Promise<string> {
    return this.mountFrom(this.address, name, ...options);
  }

  async mountFrom(source: string, name: string, ...options: readonly string[]): Promise<string> {
    const directory = join(this.box.dir, name);
    await mkdir(directory);
    await this.box.must('iopmemfs', 'mount', source, directory, ...options);
    return directory;
  }

  umount(directory: string): Promise<string> {
    return this.box.must('iopmemfs', 'umount', directory);
  }

  /** Of the daemon that mounted there. */
  async daemonOf(directory: string): Promise<number> {
    for (const { pid, mountPoint } of await this.#registered()) if (mountPoint === directory) return pid;
    throw new Error(`nothing is mounted on ${directory}`);
  }

  async remove(): Promise<void> {
    for (const { pid, mountPoint } of await this.#registered()) {
      await this.box.command('umount', '-l', mountPoint);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended by itself
      }
    }
    await this.box.remove();
  }

  async #registered(): Promise<readonly { readonly pid: number; readonly mountPoint: string }[]> {
    const mounts = join(this.box.dir, 'run', 'mounts');
    const files = (await readdir(mounts).catch(() => [])).filter((name) => name.endsWith('.json'));
    return Promise.all(files.map(async (name) => JSON.parse(await readFile(join(mounts, name), 'utf8'))));
  }
}
