/** The programs as a user runs them: real processes, with state, run directory, images and mount points of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type Program = 'mkfs' | 'fsck' | 'mount' | 'iopmemfs';

const programs = resolve('dist/tools');
export const canMount = process.geteuid?.() === 0 && existsSync('/dev/fuse');

export class Sandbox {
  readonly dir: string;
  readonly state: string;
  readonly image: string;
  readonly mountPoint: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #children = new Set<ChildProcess>();

  private constructor(dir: string) {
    this.dir = dir;
    this.state = join(dir, 'state');
    this.image = join(dir, 'image');
    this.mountPoint = join(dir, 'mnt');
    this.#env = { ...process.env, IOPMEMFS_STATE: this.state, IOPMEMFS_RUN: join(dir, 'run') };
  }

  static async create(size = 64 << 20): Promise<Sandbox> {
    const box = new Sandbox(await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'iopmemfs-tools-')));
    await mkdir(box.mountPoint);
    await box.makeImage(box.image, size);
    return box;
  }

  async makeImage(path: string, size: number): Promise<void> {
    const file = await open(path, 'w');
    await file.truncate(size);
    await file.close();
  }

  path(...names: readonly string[]): string {
    return join(this.mountPoint, ...names);
  }

  /** One of ours. */
  run(program: Program, ...args: readonly string[]): Promise<Outcome> {
    return this.command(process.execPath, join(programs, `${program}.js`), ...args);
  }

  /** Any command, to its end, when nobody holds its output open any more. */
  command(command: string, ...args: readonly string[]): Promise<Outcome> {
    return outcomeOf(this.#spawn(command, args));
  }

  /** A program that keeps running; it is ended with the sandbox. */
  start(program: Program, ...args: readonly string[]): ChildProcess {
    return this.#spawn(process.execPath, [join(programs, `${program}.js`), ...args]);
  }

  /** As `run`, and a failure of the test unless it exits with 0. Answers what it printed. */
  async must(program: Program, ...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(program, ...args);
    if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit code ${code}: ${stderr}`);
    return stdout;
  }

  mount(...options: readonly string[]): Promise<string> {
    return this.must('iopmemfs', 'mount', this.image, this.mountPoint, ...options);
  }

  async umount(): Promise<void> {
    await this.must('iopmemfs', 'umount', this.mountPoint);
  }

  /** Process numbers of the daemons that registered here. */
  async daemons(): Promise<readonly number[]> {
    const run = join(this.dir, 'run');
    const files = existsSync(run) ? (await readdir(run)).filter((name) => name.endsWith('.json')) : [];
    const pids = files.map(async (name) => {
      try {
        const entry: { readonly pid: number } = JSON.parse(await readFile(join(run, name), 'utf8'));
        return [entry.pid];
      } catch {
        return []; // being taken away this moment
      }
    });
    return (await Promise.all(pids)).flat();
  }

  async remove(): Promise<void> {
    await this.command('umount', '-l', this.mountPoint);
    for (const pid of await this.daemons()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended by itself
      }
    }
    for (const child of this.#children) child.kill('SIGKILL');
    await rm(this.dir, { recursive: true, force: true });
  }

  #spawn(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(command, args, { env: this.#env, cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }
}

export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  return new Promise((done, failed) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
    child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
    child.once('error', failed);
    child.once('close', (code) => done({ code, stdout, stderr }));
  });
}

/** Settles when `child` has printed something that matches. */
export function printed(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((done, failed) => {
    let text = '';
    child.stdout?.on('data', (data: Buffer) => {
      text += data.toString();
      if (pattern.test(text)) done(text);
    });
    child.once('close', (code) => failed(new Error(`ended with ${code} before it printed ${pattern}: ${text}`)));
  });
}
