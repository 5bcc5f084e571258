/**
 * Time and processes of a simulation. Whatever happens is an event of a process at a moment of virtual time; events run
 * one after the other, each to the end of its promises, so that one seed makes one run.
 */
import { Random } from '../exercise/random.ts';

/** The real one: between two events all promises run. */
const realImmediate = setImmediate;
const realNow = Date.now;

/** A program that can die, with all that it was about to do, or stand still. */
export class Process {
  readonly name: string;
  #state: 'running' | 'stopped' | 'dead' = 'running';
  #copying = false;
  #quietSince = 0;
  readonly held: (() => void)[] = [];
  /** Called once at its death, by the loop. */
  readonly onDeath: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  get alive(): boolean {
    return this.#state !== 'dead';
  }

  get stopped(): boolean {
    return this.#state === 'stopped';
  }

  /** In the middle of a copy (dma.ts): until its end nothing else happens in this process. */
  get copying(): boolean {
    return this.#copying;
  }

  /** When it last began anew after it had stood still, in ms; Infinity: it stands still. */
  get quietSince(): number {
    return this.stopped || this.#copying ? Infinity : this.#quietSince;
  }

  beginCopy(): void {
    this.#copying = true;
  }

  endCopy(): void {
    this.#copying = false;
    this.#release();
  }

  stop(): void {
    if (this.#state === 'running') this.#state = 'stopped';
  }

  resume(): void {
    if (this.#state !== 'stopped') return;
    this.#state = 'running';
    this.#release();
  }

  kill(): void {
    if (!this.alive) return;
    this.#state = 'dead';
    this.held.length = 0;
    for (const task of this.onDeath) task();
  }

  #release(): void {
    this.#quietSince = loop().now;
    if (!this.stopped) for (const task of this.held.splice(0)) task();
  }
}

export interface Scheduled {
  cancel(): void;
}

interface Event {
  at: number;
  order: number;
  readonly process: Process;
  readonly task: () => void;
  /** It is a piece of a copy of the process. */
  readonly copies: boolean;
  cancelled: boolean;
}

export class Loop {
  readonly random: Random;
  readonly #heap: Event[] = [];
  #now = 0;
  #order = 0;
  #current: Process;
  #events = 0;
  /** The world itself: network, faults, checks. */
  readonly world = new Process('world');

  constructor(seed: number) {
    this.random = new Random(seed);
    this.#current = this.world;
  }

  /** ms since the beginning. */
  get now(): number {
    return this.#now;
  }

  get events(): number {
    return this.#events;
  }

  /** Whose code runs. */
  get current(): Process {
    return this.#current;
  }

  /** Runs `task` as `process` after so many ms, unless it has died by then. */
  after(ms: number, task: () => void, process: Process = this.#current, copies = false): Scheduled {
    const at = this.#now + Math.max(0, ms);
    const event: Event = { at, order: ++this.#order, process, task, copies, cancelled: false };
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /** Settles after so many ms of virtual time. */
  sleep(ms: number, process: Process = this.#current): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve, process);
    });
  }

  /** Runs events until `done`, or until there is none, or for `mostMs` of virtual time. */
  async run(done: () => boolean, mostMs: number): Promise<'done' | 'nothing left' | 'too late'> {
    const end = this.#now + mostMs;
    for (;;) {
      if (done()) return 'done';
      const event = this.#pop();
      if (event === undefined) return 'nothing left';
      if (event.cancelled || !event.process.alive) continue;
      if (event.at > end) return 'too late';
      this.#now = Math.max(this.#now, event.at);
      this.#current = event.process;
      const { process, task, copies } = event;
      if (process.stopped || (process.copying && !copies)) {
        process.held.push(() => {
          event.at = this.#now;
          event.order = ++this.#order;
          this.#push(event);
        });
        continue;
      }
      this.#events++;
      task();
      await new Promise(realImmediate);
      this.#current = this.world;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, event)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || first === last) return first;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const below = right !== undefined && isBefore(right, left) ? right : left;
      if (isBefore(last, below)) break;
      heap[at] = below;
      at = below === left ? 2 * at + 1 : 2 * at + 2;
    }
    heap[at] = last;
    return first;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

let running: Loop | undefined;

export function isEntered(): boolean {
  return running !== undefined;
}

/** The loop of the run under way. */
export function loop(): Loop {
  if (running === undefined) throw new Error('no simulation runs');
  return running;
}

/** A date that no seed changes, in ms. */
const epoch = Date.UTC(2026, 0, 1);

/** Puts virtual time in the place of the real one, for all modules. */
export function enter(entered: Loop): void {
  running = entered;
  const timer = (ms: number, task: () => void): object => {
    const scheduled = entered.after(ms, task);
    const handle = {
      scheduled,
      ref: () => handle,
      unref: () => handle,
      hasRef: () => false,
    };
    return handle;
  };
  const set = (task: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): object =>
    timer(ms, () => task(...args));
  Reflect.set(globalThis, 'setTimeout', set);
  Reflect.set(globalThis, 'clearTimeout', clear);
  Reflect.set(globalThis, 'setImmediate', (task: (...args: unknown[]) => void, ...args: unknown[]) =>
    set(task, 0, ...args),
  );
  Reflect.set(globalThis, 'clearImmediate', clear);
  Object.defineProperty(performance, 'now', { value: () => entered.now, configurable: true });
  // The work of all processes is none in virtual time.
  const idle = { idle: 0, active: 0, utilization: 0 };
  Object.defineProperty(performance, 'eventLoopUtilization', { value: () => idle, configurable: true });
  Date.now = () => epoch + Math.floor(entered.now);
}

/** clearTimeout and clearImmediate, of whatever was made above. */
function clear(handle: unknown): void {
  const scheduled: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'scheduled') : undefined;
  if (isScheduled(scheduled)) scheduled.cancel();
}

function isScheduled(value: unknown): value is Scheduled {
  return typeof value === 'object' && value !== null && 'cancel' in value && typeof value.cancel === 'function';
}

/** Milliseconds of the real clock, for how long a run took. */
export function realMs(): number {
  return realNow();
}
