import { node } from 'koffi';
import type { Endpoint } from '../../fs/fabric/endpoint.ts';
import { rmaLimits } from './limits.ts';

/**
 * Keeps an endpoint at work that others read from and write to. Nothing tells of their transfers but the descriptor of the
 * completion queue, where there is one: what they do leaves no completions here.
 */
export class Progress {
  readonly #endpoint: Endpoint;
  readonly #handle: node.PollHandle | undefined;
  #timer: NodeJS.Timeout | undefined;
  #next: NodeJS.Immediate | undefined;
  #spinUntil = 0;
  #seenAt = performance.now();
  #arrived = 0;
  #stopped = false;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    if (endpoint.wakes) {
      this.#handle = node.poll(endpoint.descriptor(), { readable: true }, () => {
        this.#seen();
        // Callbacks of a poll handle do not run the promise queue; an immediate does.
        setImmediate(() => {});
      });
      this.#handle.stop();
    }
    this.#seen();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#next);
    this.#handle?.close();
  }

  #seen(): void {
    this.#handle?.stop();
    this.#seenAt = performance.now();
    this.#spinUntil = this.#seenAt + rmaLimits.spinMs;
    if (this.#next === undefined) this.#turn();
  }

  #turn(): void {
    this.#next = undefined;
    if (this.#stopped) return;
    this.#endpoint.poll(nothing);
    const now = performance.now();
    this.#count(now);
    if (now < this.#spinUntil) this.#next = setImmediate(() => this.#turn());
    else this.#sleep(now);
  }

  /** Where nothing wakes us: something has come since the last look. */
  #count(now: number): void {
    const { arrived } = this.#endpoint;
    if (arrived === this.#arrived) return;
    this.#arrived = arrived;
    this.#seenAt = now;
    this.#spinUntil = now + rmaLimits.spinMs;
  }

  #sleep(now: number): void {
    if (this.#handle === undefined) {
      const ms = now - this.#seenAt < rmaLimits.idleAfterMs ? rmaLimits.lookMs : rmaLimits.lookIdleMs;
      this.#timer = setTimeout(() => this.#turn(), ms);
    } else if (this.#endpoint.maySleep()) {
      this.#handle.start({ readable: true }, () => {
        this.#seen();
        setImmediate(nothing);
      });
    } else this.#seen();
  }
}

function nothing(): void {}
