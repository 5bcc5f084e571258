import { expect, test } from 'vitest';
import { kernelLimits } from '../../../fs/fuse/kernel/limits.ts';
import { Polling } from '../../../fs/fuse/kernel/polling.ts';

const max = 0.2;

/** A channel that asks the polling, on a clock of its own. */
class Loop {
  #now = 1000;
  readonly polling: Polling;

  constructor(maxMs = max) {
    this.polling = new Polling(maxMs, () => this.#now);
    this.polling.turn();
  }

  /** The next request comes after so many ms. Answers how many of them were looked through, rather than slept. */
  request(afterMs: number): number {
    const step = 0.001;
    const end = this.#now + afterMs;
    let looked = 0;
    let isAsleep = false;
    while (this.#now < end) {
      if (!isAsleep) {
        const wait = this.polling.none(false);
        if (wait === 'sleep') isAsleep = true;
        else looked += step;
        if (wait === 'others') this.polling.turn();
      }
      this.#now += step;
    }
    this.polling.arrived();
    return looked;
  }

  pass(ms: number): void {
    this.#now += ms;
  }
}

test('requests that follow one another are looked for, from the second on', () => {
  const loop = new Loop();
  expect(loop.request(0.05)).toBe(0);
  expect(loop.request(0.05)).toBeCloseTo(0.05, 2);
  expect(loop.request(0.1)).toBeCloseTo(0.1, 2);
});

test('while they come seldom nothing is looked for, after a few that were looked for in vain', () => {
  const loop = new Loop();
  loop.request(0.05);
  const looked = Array.from({ length: 10 }, () => loop.request(5));
  expect(looked[0]).toBeCloseTo(max, 2);
  expect(looked[1]).toBeCloseTo(max / 2, 2);
  expect(looked.at(-1)).toBe(0);
  expect(looked.reduce((sum, each) => sum + each)).toBeLessThan(2 * max + 0.01);
});

test('one request that comes soon brings the looking back', () => {
  const loop = new Loop();
  for (let n = 0; n < 10; n++) loop.request(5);
  expect(loop.request(0.1)).toBe(0);
  expect(loop.request(0.1)).toBeCloseTo(0.1, 2);
});

test('others have a turn in between', () => {
  const loop = new Loop();
  loop.request(0.05);
  loop.polling.turn();
  expect(loop.polling.none(false)).toBe('look');
  loop.pass(kernelLimits.pollTurnMs + 0.001);
  expect(loop.polling.none(false)).toBe('others');
  loop.polling.turn();
  expect(loop.polling.none(false)).toBe('look');
});

test('where something else is to happen first it is slept, and the next time looked again', () => {
  const loop = new Loop();
  loop.request(0.05);
  expect(loop.polling.none(true)).toBe('sleep');
  loop.polling.arrived();
  expect(loop.polling.none(false)).toBe('look');
});

test('while others want the processor nothing is looked for', () => {
  const loop = new Loop();
  loop.request(0.05);
  expect(loop.polling.none(false)).toBe('look');
  loop.pass(kernelLimits.pollPreemptedMs + 0.1);
  expect(loop.polling.none(false)).toBe('sleep');
  loop.polling.arrived();
  expect([loop.request(0.05), loop.request(0.05)]).toEqual([0, 0]);
  loop.pass(kernelLimits.pollRestMs);
  loop.request(0.05);
  expect(loop.request(0.05)).toBeCloseTo(0.05, 2);
});

test('what the event loop does between two turns is nobody else on the processor', () => {
  const loop = new Loop();
  loop.request(0.05);
  expect(loop.polling.none(false)).toBe('look');
  loop.pass(0.1);
  loop.polling.turn();
  expect(loop.polling.none(false)).toBe('look');
});

test('switched off it always sleeps', () => {
  const loop = new Loop(0);
  expect([loop.request(0.01), loop.request(0.01), loop.request(0.01)]).toEqual([0, 0, 0]);
});
