/** A mount for a test, served by a process of its own (served.ts), gone afterwards whatever happened. */
import { type ChildProcess, fork } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { umount, umountFlag } from '../../../fs/fuse/kernel/libc.ts';
import type { Ask, Kind, Told } from './served.ts';

const program = fileURLToPath(new URL('./served.ts', import.meta.url));
const typescript = fileURLToPath(new URL('../../support/typescript.mjs', import.meta.url));

export class Mounted {
  readonly dir: string;
  /** Resolves when the serving process says that the mount ended. */
  readonly ended: Promise<string | undefined>;
  readonly #child: ChildProcess;
  readonly #answers: ((told: Told) => void)[] = [];

  private constructor(dir: string, child: ChildProcess) {
    this.dir = dir;
    this.#child = child;
    this.ended = new Promise((resolve, reject) => {
      child.on('message', (told: Told) => {
        if (told.told === 'unmounted') resolve(told.error);
        else this.#answers.shift()?.(told);
      });
      child.on('exit', (code) => reject(new Error(`served.ts ended with ${code}`)));
    });
    this.ended.catch(() => undefined);
  }

  static async create(kind: Kind, ...options: string[]): Promise<Mounted> {
    const dir = await mkdtemp(join(tmpdir(), 'iopmemfs-kernel-'));
    await chmod(dir, 0o755);
    const child = fork(program, [kind, dir, ...options], { execArgv: ['--import', typescript], stdio: 'inherit' });
    const mounted = new Mounted(dir, child);
    try {
      await Promise.race([mounted.#next(), mounted.ended]);
    } catch (error) {
      await rm(dir, { recursive: true, force: true });
      throw error;
    }
    return mounted;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  ask(ask: Ask): Promise<Told> {
    const answer = this.#next();
    this.#child.send(ask);
    return answer;
  }

  async remove(): Promise<void> {
    await umount(this.dir, umountFlag.detach).catch(() => undefined);
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      if (this.#child.connected) this.#child.disconnect();
      await Promise.race([exited, sleep(8000, undefined, { ref: false })]);
      this.#child.kill('SIGKILL');
      await exited;
    }
    await rm(this.dir, { recursive: true, force: true });
  }

  #next(): Promise<Told> {
    return new Promise((resolve) => this.#answers.push(resolve));
  }
}
