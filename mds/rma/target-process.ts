import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { BarDevice } from '../../fs/bar/device.ts';
import { FsError } from '../../fs/errors.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { rmaLimits } from './limits.ts';
import { type Answer, isReply, type Work } from './messages.ts';

const program = fileURLToPath(new URL(`target-program${import.meta.url.slice(-3)}`, import.meta.url));

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (why: FsError) => void;
  readonly cancel: () => void;
}

/**
 * One run of the target process. It ends once, by itself or because it does not answer, and then it reaches nothing any
 * more: `ended` settles when the kernel has said so.
 */
export class TargetProcess {
  /** Settles, and never rejects, when the process is gone, and all keys with it. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #gone: FsError | undefined;

  private constructor(child: ChildProcess, clock: Clock, log: Log) {
    this.#child = child;
    this.#clock = clock;
    this.#log = log;
    this.ended = new Promise((resolve) => {
      const end = (why: string): void => {
        this.#gone ??= new FsError('EIO', { op: 'rma', detail: why });
        for (const waiting of this.#waiting.values()) {
          waiting.cancel();
          waiting.reject(this.#gone);
        }
        this.#waiting.clear();
        resolve();
      };
      child.once('exit', (code, signal) => end(`the target process ended (${signal ?? code})`));
      child.once('error', (error) => {
        // Also that a message could not be sent: the end follows.
        if (child.pid === undefined) end(`the target process could not be started: ${error.message}`);
      });
    });
  }

  /** @throws FsError EIO with the reason: libfabric is missing, the device cannot be mapped */
  static async start(
    device: Pick<BarDevice, 'path' | 'accessWidth' | 'writable'>,
    clock: Clock,
    log: Log,
  ): Promise<TargetProcess> {
    const child = fork(program, [device.path, String(device.accessWidth), String(device.writable)], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      cwd: '/',
    });
    const target = new TargetProcess(child, clock, log);
    await target.#ready();
    return target;
  }

  get running(): boolean {
    return this.#gone === undefined;
  }

  /** One after the other, in the order of the calls. @throws FsError EIO: it failed, or the process is gone */
  async do(work: Work): Promise<Exclude<Answer, { readonly kind: 'failed' }>> {
    const answer = await this.#ask(work);
    if (answer.kind === 'failed') throw new FsError('EIO', { op: 'rma', detail: answer.why });
    return answer;
  }

  /** Settles when it is gone. */
  kill(why: string): Promise<void> {
    if (this.running) this.#log.warn({ pid: this.#child.pid, why }, 'the target of one-sided access is killed');
    this.#child.kill('SIGKILL');
    return this.ended;
  }

  /** In good order, if it is still able to: nothing of it stays behind in shared memory then. Settles when it is gone. */
  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const cancel = this.#clock.after(rmaLimits.answerMs, () => void this.kill('it does not end'));
    await this.ended;
    cancel();
  }

  #ask(work: Work): Promise<Answer> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(rmaLimits.answerMs, () => void this.kill(`${work.kind} is not answered`));
      this.#waiting.set(id, { resolve, reject, cancel });
      this.#child.send({ id, work }, () => {});
    });
  }

  #ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(rmaLimits.startMs, () => void this.kill('it does not start'));
      void this.ended.then(() => reject(this.#gone));
      this.#child.on('message', (message) => {
        if (!isReply(message)) return;
        if ('ready' in message) {
          cancel();
          if (message.ready) return resolve();
          this.#gone = new FsError('EIO', { op: 'rma', detail: message.why });
          this.#child.kill('SIGKILL');
          return reject(this.#gone);
        }
        const waiting = this.#waiting.get(message.id);
        this.#waiting.delete(message.id);
        waiting?.cancel();
        waiting?.resolve(message.answer);
      });
    });
  }
}
