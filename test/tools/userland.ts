/**
 * A mount namespace in which an ordinary user can do what users of a common machine can: open /dev/fuse (udev gives it
 * mode 0666), and reach node and our programs, wherever they are. Outside nothing changes, and what is mounted inside
 * goes with its last process.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { canMount } from './sandbox.ts';

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** fusermount3 wants a name for it, in /etc/passwd. */
export const ordinaryUser: User = { uid: 54_321, gid: 54_321 };

const fusermount = '/bin/fusermount3';

/** Whether fusermount3(1) can do its work: it has to be set-user-ID root, and that has to be heeded. */
export const canMountAsUser =
  canMount &&
  existsSync(fusermount) &&
  (statSync(fusermount).mode & 0o4000) !== 0 &&
  /^NoNewPrivs:\t0$/m.test(readFileSync('/proc/self/status', 'latin1')) &&
  spawnSync('unshare', ['-m', 'true']).status === 0;

/** $1 a directory for it, $2 the repository, $3 node */
const furnish = `set -e
mount -t tmpfs -o mode=755 none "$1"
mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" && mount --bind "$1/fuse" /dev/fuse
mkdir "$1/repository" && mount --bind "$2" "$1/repository"
touch "$1/node" && mount --bind "$3" "$1/node"
{ cat /etc/passwd; echo 'ordinary:x:54321:54321::/:/bin/sh'; } > "$1/passwd" && mount --bind "$1/passwd" /etc/passwd
touch "$1/fuse.conf" && if [ -e /etc/fuse.conf ]; then mount --bind "$1/fuse.conf" /etc/fuse.conf; fi
echo ready
exec cat`;

export class Userland {
  readonly programs: string;
  readonly node: string;
  readonly #dir: string;
  readonly #holder: ChildProcess;

  private constructor(dir: string, holder: ChildProcess) {
    this.programs = join(dir, 'repository', 'dist', 'tools');
    this.node = join(dir, 'node');
    this.#dir = dir;
    this.#holder = holder;
  }

  /** `dir`: an empty directory that users may enter. */
  static async create(dir: string): Promise<Userland> {
    const args = ['-m', 'sh', '-c', furnish, 'sh', dir, resolve('.'), process.execPath];
    const holder = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(holder, 'exit').then(([code]) => {
      throw new Error(`the namespace could not be made: ${code}`);
    });
    ended.catch(() => undefined);
    await Promise.race([once(holder.stdout, 'data'), ended]);
    return new Userland(dir, holder);
  }

  /** The same path as those inside see it. */
  inside(path: string): string {
    return join('/proc', String(this.#holder.pid), 'root', path);
  }

  /** /proc/mounts of those inside. */
  mounts(): string {
    return readFileSync(join('/proc', String(this.#holder.pid), 'mounts'), 'utf8');
  }

  /** The command line that runs `command` inside, in this directory, as the ordinary user. */
  commandLine(cwd: string, command: readonly string[], user: User = ordinaryUser): readonly string[] {
    const ids = ['-S', String(user.uid), '-G', String(user.gid)];
    return ['nsenter', '-t', String(this.#holder.pid), '-m', `-w${cwd}`, ...ids, '--', ...command];
  }

  /** /etc/fuse.conf inside. */
  async configure(text: string): Promise<void> {
    await writeFile(this.inside(join(this.#dir, 'fuse.conf')), text);
  }

  /** A shell command of root's inside. */
  root(script: string): void {
    const [command = '', ...args] = this.commandLine('/', ['sh', '-c', script], { uid: 0, gid: 0 });
    execFileSync(command, args);
  }

  end(): void {
    this.#holder.kill('SIGKILL');
  }
}
