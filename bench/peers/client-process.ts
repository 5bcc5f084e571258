/** A client of a server in a process and on a core of its own, told over the channel of fork() what to do. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { FsError } from '../../fs/errors.ts';

export class ClientProcess {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** @param script beside this module; it says anything when it is ready. @throws FsError EIO: it ended */
  static async start(script: string, args: readonly string[], core: string): Promise<ClientProcess> {
    const path = fileURLToPath(new URL(script, import.meta.url));
    const execution = { execPath: 'taskset', execArgv: ['-c', core, process.execPath] };
    const client = new ClientProcess(fork(path, [...args], execution));
    await client.#next();
    return client;
  }

  /** What it answers: a number. @throws FsError EIO: it ended */
  async ask(task: object): Promise<number> {
    this.#child.send(task);
    return Number(await this.#next());
  }

  async end(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }

  async #next(): Promise<unknown> {
    const answered = new AbortController();
    const { signal } = answered;
    const gone = once(this.#child, 'exit', { signal }).then(() => {
      throw new FsError('EIO', { detail: 'a client ended' });
    });
    try {
      const [message] = await Promise.race([once(this.#child, 'message', { signal }), gone]);
      return message;
    } finally {
      gone.catch(() => {});
      answered.abort();
    }
  }
}
