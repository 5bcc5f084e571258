/**
 * What goes wrong: anything at any time, and in some worlds (`Aim`) just the one thing, at the moment where it does most harm.
 */
import type { Loop, Process } from './loop.ts';
import type { Moment } from './memory.ts';
import type { Network } from './network.ts';
import type { Scene } from './scene.ts';

/** A client's machine, on which one program after the other runs. */
export interface Machine {
  readonly owner: string;
  /** It is another one than the server's, and reaches the device only through that. */
  readonly isRemote: boolean;
  process: Process;
  runs: number;
  steps: number;
}

export interface Surroundings {
  readonly loop: Loop;
  readonly network: Network;
  readonly scene: Scene;
  /** Virtual ms. */
  readonly leaseMs: number;
  readonly machines: readonly Machine[];
  readonly say: (line: string) => void;
  /** Ends the program of the machine; the next one begins after so many ms. */
  replace(machine: Machine, afterMs: number): void;
  /** With `power` the machine loses its power, else only the server dies. */
  crash(power: boolean): void;
  readonly isOver: () => boolean;
}

export class Faults {
  readonly #on: Surroundings;

  constructor(on: Surroundings) {
    this.#on = on;
  }

  /** From now on, one after the other. */
  schedule(): void {
    const { loop, isOver } = this.#on;
    const task = (): void => {
      if (isOver()) return;
      this.#any();
      this.schedule();
    };
    loop.after(20 + loop.random.below(600), task, loop.world);
  }

  /** A message leaves its sender: is this the moment? */
  strike(moment: Moment, process: Process): void {
    const { loop, leaseMs, scene, isOver } = this.#on;
    const { random } = loop;
    const machine = this.#on.machines.find((each) => each.process === process);
    if (machine === undefined || isOver()) return;
    if (scene.aim === 'lost-grants' && moment === 'granted' && random.oneIn(8)) {
      this.#breakOff(process, 20 + random.below(random.oneIn(2) ? 300 : 3 * leaseMs));
    } else if (scene.aim === 'lost-answers' && moment === 'answered' && random.oneIn(3)) {
      this.#on.say(`what ${process.name} answers is lost`);
      this.#on.network.resetPeers(process);
    } else if (scene.aim === 'sleepers' && moment === 'granted' && random.oneIn(10)) {
      loop.after(random.below(60), () => this.#stop(process, leaseMs + random.below(4 * leaseMs)), loop.world);
    } else if (scene.aim === 'unstable-writes' && moment === 'written' && random.oneIn(12)) {
      loop.after(random.below(2000) / 1000, () => this.#on.crash(!random.oneIn(4)), loop.world);
    }
  }

  #any(): void {
    const { loop, leaseMs, machines, network, scene, say } = this.#on;
    const { random } = loop;
    const machine = random.pickAny(machines);
    if (machine === undefined) return;
    const { process } = machine;
    if (!process.alive) return;
    if (scene.aim === 'power-after-crash' && scene.serverDies && random.oneIn(4)) return this.#on.crash(false);
    const what = random.below(10);
    if (what < 3) {
      const ms = random.below(3 * leaseMs);
      say(`${process.name} is cut off for ${ms} ms`);
      network.cut(process, ms);
    } else if (what < 5) {
      say(`${process.name}: its connections break`);
      network.reset(process);
    } else if (what < 7) this.#stop(process, random.below(3 * leaseMs));
    else if (what < 8) {
      say(`${process.name} dies`);
      this.#on.replace(machine, random.below(3 * leaseMs));
    } else if (scene.serverDies) this.#on.crash(what === 9);
  }

  #breakOff(process: Process, ms: number): void {
    this.#on.say(`${process.name}: its connections break, and it is cut off for ${ms} ms`);
    this.#on.network.reset(process);
    this.#on.network.cut(process, ms);
  }

  #stop(process: Process, ms: number): void {
    if (!process.alive || this.#on.isOver()) return;
    this.#on.say(`${process.name} stands still for ${ms} ms`);
    process.stop();
    this.#on.loop.after(ms, () => process.resume(), this.#on.loop.world);
  }
}
