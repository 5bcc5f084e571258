import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock } from '../clock.ts';

export interface Run {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly input: string;
  /** Bytes of output and errors together that are kept, the first ones. */
  readonly outputMax: number;
  readonly limitMs: number;
  readonly clock: Clock;
  /** Ends it; the reason is words. */
  readonly signal: AbortSignal;
}

export interface Ran {
  /** Exit code, or why there is none. */
  readonly exit: number | string;
  readonly output: string;
}

/**
 * Runs a program without a shell, in a process group of its own, which is killed with SIGKILL when the time is over. It is over when
 * the program is, whatever it left running holds its output open. Never rejects.
 */
export function runProgram({ path, args, env, input, outputMax, limitMs, clock, signal }: Run): Promise<Ran> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve({ exit: `was not started: ${signal.reason}`, output: '' });
    const child = spawn(path, args, { env, cwd: '/', detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    const output = new Head(outputMax, [child.stdout, child.stderr]);
    let killed: string | undefined;
    const kill = (why: string): void => {
      killed ??= why;
      killGroup(child);
    };
    const givenUp = (): void => kill(`was killed: ${signal.reason}`);
    const cancel = clock.after(limitMs, () => kill(`was killed: it did not end within ${limitMs} ms`));
    signal.addEventListener('abort', givenUp);
    const settle = (exit: number | string): void => {
      cancel();
      signal.removeEventListener('abort', givenUp);
      child.stdin.destroy();
      resolve({ exit, output: output.take() });
    };
    child.once('error', (error) => settle(`could not be run: ${error.message}`));
    child.once('exit', (code, name) => afterReading(() => settle(killed ?? code ?? `was killed by ${name}`)));
    child.stdin.on('error', () => {}); // it need not read
    child.stdin.end(input);
  });
}

/** What it wrote right before its end is read between one turn of the event loop and the next. */
function afterReading(task: () => void): void {
  setImmediate(() => setImmediate(task));
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** The first bytes of some streams; all of them are read, so that nobody who writes gets stuck. */
class Head {
  readonly #streams: readonly Readable[];
  readonly #kept: Buffer[] = [];
  #left: number;

  constructor(most: number, streams: readonly Readable[]) {
    this.#left = most;
    this.#streams = streams;
    for (const stream of streams) {
      stream.on('error', () => {});
      stream.on('data', (chunk: Buffer) => {
        const kept = chunk.subarray(0, this.#left);
        this.#left -= kept.length;
        if (kept.length > 0) this.#kept.push(kept);
      });
    }
  }

  take(): string {
    for (const stream of this.#streams) stream.destroy();
    return Buffer.concat(this.#kept).toString('utf8').trimEnd();
  }
}
