/** Relocation beside the operations: files are brought together, and ranges of the device emptied, again and again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sandbox } from '../tools/sandbox.ts';
import { Random } from './random.ts';

/** Each is a program of its own, which costs more than what it has done here, in ms. */
const pauseMs = 1000;

/** What a job may meet: a mount that goes, is away or comes back, a device without room. */
const interrupted =
  /EBUSY|ECONNRESET|ECONNREFUSED|ENOENT|ENOSPC|ENOTCONN|EPIPE|EXDEV|ESHUTDOWN|ECANCELED|EINTR|ESTALE|another has begun|ended with the filesystem/;

export class Jobs {
  readonly #box: Sandbox;
  readonly #random: Random;
  readonly #stop = new AbortController();
  readonly #done: Promise<string | undefined>;

  /** @param deviceSize in bytes */
  constructor(box: Sandbox, seed: number, deviceSize: number) {
    this.#box = box;
    this.#random = new Random(seed);
    this.#done = this.#run(deviceSize);
  }

  /** No more of them. Answers what went wrong, in words. */
  async end(): Promise<string | undefined> {
    this.#stop.abort();
    return this.#done;
  }

  async #run(deviceSize: number): Promise<string | undefined> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const size = (1 << 20) * (1 + this.#random.below(16));
      const range = `${4096 * this.#random.below((deviceSize - size) / 4096)}+${size}`;
      const args = this.#random.oneIn(2) ? ['defragment', this.#box.mountPoint] : ['evacuate', this.#box.image, range];
      const { code, stderr } = await this.#box.run('iopmemfs', ...args);
      if (code !== 0 && !interrupted.test(stderr)) return `${args.join(' ')}: exit code ${code}: ${stderr}`;
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
    return undefined;
  }
}
