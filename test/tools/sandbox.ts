/** The programs as a user runs them: real processes, with state, run directory, images and mount points of their own. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { whileInUse } from '../support/unmount.ts';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type Program = 'mkfs' | 'fsck' | 'mount' | 'iopmemfs';

const programs = resolve('dist/tools');
export const canMount = process.geteuid?.() === 0 && existsSync('/dev/fuse');

/** Where programs run, if not simply here: userland.ts. */
export interface Elsewhere {
  readonly programs: string;
  readonly node: string;
  commandLine(cwd: string, command: readonly string[]): readonly string[];
  end(): void;
}

export class Sandbox {
  readonly dir: string;
  readonly state: string;
  readonly image: string;
  readonly mountPoint: string;
  readonly #run: string;
  /** Of the programs: where they find each other. */
  readonly env: NodeJS.ProcessEnv;
  readonly #elsewhere: Elsewhere | undefined;
  readonly #children = new Set<ChildProcess>();

  private constructor(dir: string, elsewhere?: Elsewhere) {
    this.dir = dir;
    this.#elsewhere = elsewhere;
    this.image = join(dir, 'image');
    this.mountPoint = join(dir, 'mnt');
    if (elsewhere === undefined) {
      this.state = join(dir, 'state');
      this.#run = join(dir, 'run');
      this.env = { ...process.env, IOPMEMFS_STATE: this.state, IOPMEMFS_RUN: this.#run };
    } else {
      // What programs find in a user's environment, and nothing of ours.
      this.state = join(dir, '.local', 'state', 'iopmemfs');
      this.#run = join(dir, 'runtime', 'iopmemfs');
      this.env = { PATH: process.env.PATH, HOME: dir, XDG_RUNTIME_DIR: join(dir, 'runtime') };
    }
  }

  static async create(size = 64 << 20): Promise<Sandbox> {
    const box = new Sandbox(await newDirectory());
    await mkdir(box.mountPoint);
    await box.makeImage(box.image, size);
    return box;
  }

  /** All of it is the user's, and so are its programs. */
  static async ofUser(
    user: { readonly uid: number; readonly gid: number },
    elsewhere: (dir: string) => Promise<Elsewhere>,
    size = 64 << 20,
  ): Promise<Sandbox> {
    const dir = await newDirectory();
    await mkdir(join(dir, 'land'));
    const box = new Sandbox(dir, await elsewhere(join(dir, 'land')));
    await mkdir(box.mountPoint);
    await mkdir(join(dir, 'runtime'), { mode: 0o700 });
    await box.makeImage(box.image, size);
    await chmod(dir, 0o755);
    for (const path of [dir, box.mountPoint, join(dir, 'runtime'), box.image]) await chown(path, user.uid, user.gid);
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
    return outcomeOf(this.start(program, ...args));
  }

  /** Any command, to its end, when nobody holds its output open any more. */
  command(command: string, ...args: readonly string[]): Promise<Outcome> {
    return outcomeOf(this.#spawn(command, args));
  }

  /** A program that keeps running; it is ended with the sandbox. */
  start(program: Program, ...args: readonly string[]): ChildProcess {
    const { node, programs: dir } = this.#elsewhere ?? { node: process.execPath, programs };
    return this.#spawn(node, [join(dir, `${program}.js`), ...args]);
  }

  /** A command that is spoken to; it is ended with the sandbox. */
  interactive(command: string, ...args: readonly string[]): ChildProcessWithoutNullStreams {
    const child = spawn(...this.#line(command, args), { ...this.#options, stdio: 'pipe' });
    this.#children.add(child);
    return child;
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

  /** By our own program, which waits for the daemon. */
  async umount(): Promise<void> {
    const { code, stderr } = await whileInUse(this.mountPoint, () => this.run('iopmemfs', 'umount', this.mountPoint));
    if (code !== 0) throw new Error(`iopmemfs umount ${this.mountPoint}: exit code ${code}: ${stderr}`);
  }

  /** By a program of the system, which does not. */
  umountBy(command: string, ...args: readonly string[]): Promise<Outcome> {
    return whileInUse(this.mountPoint, () => this.command(command, ...args, this.mountPoint));
  }

  /** Process numbers of the daemons that registered here. */
  async daemons(): Promise<readonly number[]> {
    const run = this.#run;
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
    spawnSync('umount', ['-l', this.mountPoint]);
    for (const pid of await this.daemons()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // ended by itself
      }
    }
    for (const child of this.#children) child.kill('SIGKILL');
    this.#elsewhere?.end();
    await rm(this.dir, { recursive: true, force: true });
  }

  #spawn(command: string, args: readonly string[]): ChildProcess {
    const child = spawn(...this.#line(command, args), { ...this.#options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  get #options() {
    return { env: this.env, cwd: this.dir };
  }

  #line(command: string, args: readonly string[]): [string, readonly string[]] {
    const [first = command, ...rest] = this.#elsewhere?.commandLine(this.dir, [command, ...args]) ?? [command, ...args];
    return [first, rest];
  }
}

function newDirectory(): Promise<string> {
  return mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'iopmemfs-tools-'));
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
