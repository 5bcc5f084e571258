import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { type Action, type Iomode, recallKind, type Segment, type StateId } from '../../layout/types.ts';
import { newLayouts, read, rw } from './lab.ts';
import { bytesOf, clients, deadlineMs, type Span } from './ledger.ts';

const files = [1, 2, 3] as const;

/** So many segments that memory is short every now and then. */
const highMark = 8;

/**
 * Several files, with recalls of everything and gets that are sent away; beside the table stands, for each client, file and
 * iomode, the set of bytes it was told of. It knows nothing of how the table keeps them.
 */
class Bench {
  readonly layouts = newLayouts({
    recallDeadlineMs: deadlineMs,
    segmentsPerClientMax: 100,
    segmentsHighMark: highMark,
    segmentsMax: 2000,
  });
  now = 0;
  readonly held = new Map<string, Set<number>>();
  readonly #stateids = new Map<string, StateId>();
  /** Numbers of recalls of files, by client. */
  readonly #recalls = new Map<number, Extract<Action, { type: 'recall' }>>();
  readonly bulks = new Map<number, number>();
  readonly fences = new Map<number, number>();
  readonly #fenced = new Set<number>();
  readonly #waiting = new Map<number, { readonly client: number; readonly ino: number }>();
  readonly sentAway = new Set<string>();

  bytes(client: number, ino: number, iomode: Iomode): Set<number> {
    const key = `${client}/${ino}/${iomode}`;
    const bytes = this.held.get(key) ?? new Set();
    this.held.set(key, bytes);
    return bytes;
  }

  get(client: number, ino: number, iomode: Iomode, { offset, length }: Span): void {
    const stateid = this.#stateids.get(`${client}/${ino}`);
    const request = { client, ino, iomode, offset, length, minlength: 0, stateid };
    const result = this.layouts.get(this.now, request);
    const isAsked = this.layouts.heldBy(client).length > 0 && [...this.bulks.values()].includes(client);
    if (isAsked) expect(result.kind, 'a client that is asked for everything').toBe('refused');
    if (result.kind === 'conflict') {
      this.#waiting.set(result.breakId, { client, ino });
      this.observe(result.actions);
    }
    if (result.kind !== 'reserved') return;
    this.observe(result.actions);
    const confirmed = this.layouts.confirm(this.now, result.grant);
    if (confirmed.kind === 'granted') {
      this.#stateids.set(`${client}/${ino}`, confirmed.stateid);
      for (const byte of bytesOf(confirmed.segment)) this.bytes(client, ino, iomode).add(byte);
    }
    this.observe(confirmed.actions);
  }

  return(client: number, ino: number, { offset, length }: Span): void {
    const stateid = this.#stateids.get(`${client}/${ino}`);
    if (stateid === undefined || this.#fenced.has(client)) return;
    const isAsked = [...this.bulks.values()].includes(client);
    const result = this.layouts.return(this.now, { client, ino, iomode: 3, offset, length, stateid });
    if (result.kind === 'refused') {
      expect([result.status, isAsked]).toEqual(['RECALLCONFLICT', true]);
      return;
    }
    expect(isAsked, 'a file is returned by itself while everything is asked for').toBe(false);
    this.#gone(client, ino, result.released);
    for (const recall of this.#recalls.values()) {
      const within = offset <= recall.offset && recall.offset + recall.length <= offset + length;
      if (recall.client === client && recall.ino === ino && within) this.#recalls.delete(recall.recallId);
    }
    if (result.stateid === undefined) this.#stateids.delete(`${client}/${ino}`);
    else this.#stateids.set(`${client}/${ino}`, result.stateid);
    this.observe(result.actions);
  }

  returnAll(client: number): void {
    const result = this.layouts.returnAll(this.now, client, recallKind.all);
    if (result.kind !== 'returned') throw new Error('the kind that was asked for is refused');
    if (this.#fenced.has(client)) return;
    for (const { ino, segments } of result.released) this.#gone(client, ino, segments);
    for (const ino of files) {
      this.#stateids.delete(`${client}/${ino}`);
      for (const mode of [read, rw]) expect(this.bytes(client, ino, mode).size, 'nothing is left').toBe(0);
    }
    for (const recall of this.#recalls.values()) if (recall.client === client) this.#recalls.delete(recall.recallId);
    this.observe(result.actions);
  }

  recallAll(client: number): void {
    this.observe(this.layouts.recallAll(this.now, client, recallKind.all, false)?.actions ?? []);
  }

  giveUp(nth: number): void {
    const breakId = [...this.#waiting.keys()][nth % Math.max(this.#waiting.size, 1)];
    if (breakId === undefined) return;
    this.#waiting.delete(breakId);
    this.observe(this.layouts.giveUp(this.now, breakId, true).actions);
  }

  pass(ms: number): void {
    this.now += ms;
    this.observe(this.layouts.tick(this.now));
    expect(this.layouts.nextDeadline() ?? Infinity).toBeGreaterThan(this.now);
  }

  fenceHolds(nth: number): void {
    const [fenceId, client] = [...this.fences][nth % Math.max(this.fences.size, 1)] ?? [];
    if (fenceId === undefined || client === undefined) return;
    this.fences.delete(fenceId);
    for (const ino of files) for (const mode of [read, rw]) this.bytes(client, ino, mode).clear();
    this.observe(this.layouts.fenced(this.now, fenceId));
    this.layouts.forgetClient(client);
    this.#fenced.delete(client);
    for (const ino of files) this.#stateids.delete(`${client}/${ino}`);
  }

  observe(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.type === 'recall') {
        if (!this.#recalls.has(action.recallId))
          expect([...this.bulks.values()], 'a recall beside one of everything').not.toContain(action.client);
        this.#recalls.set(action.recallId, action);
        const known = this.#stateids.get(`${action.client}/${action.ino}`);
        if (known?.other === action.stateid.other) this.#stateids.set(`${action.client}/${action.ino}`, action.stateid);
      } else if (action.type === 'bulk-recall') {
        const others = [...this.#recalls.values()].filter(({ client }) => client === action.client);
        expect(others, 'everything is asked for beside another recall').toEqual([]);
        this.bulks.set(action.recallId, action.client);
      } else if (action.type === 'bulk-ended') this.bulks.delete(action.recallId);
      else if (action.type === 'recall-any') this.#keepOnly(action.client, action.keep);
      else if (action.type === 'fence') this.#fence(action.fenceId, action.client);
      else if (action.type === 'broken') {
        const { client, ino } = this.#waiting.get(action.breakId) ?? {};
        this.#waiting.delete(action.breakId);
        this.observe(this.layouts.endBreak(this.now, action.breakId));
        expect([client, ino], 'who is served waited').not.toContain(undefined);
      }
    }
  }

  /** At any moment, for every byte: one writer or many readers, and the table says the same as its answers did. */
  check(): void {
    for (const ino of files) {
      const writers = new Map<number, number>();
      for (const client of clients) for (const byte of this.bytes(client, ino, rw)) add(writers, byte, client);
      for (const client of clients) {
        for (const byte of this.bytes(client, ino, read)) {
          if ((writers.get(byte) ?? client) !== client)
            throw new Error(`byte ${byte} of file ${ino} is read and written`);
        }
        const segments = this.layouts.heldOn(client, ino)?.segments ?? [];
        for (const mode of [read, rw]) {
          const listed = segments.filter(({ iomode }) => iomode === mode).flatMap(bytesOf);
          const known = [...this.bytes(client, ino, mode)].sort((a, b) => a - b);
          if (listed.join() !== known.join()) expect(listed, `client ${client}, file ${ino}`).toEqual(known);
        }
      }
    }
  }

  /** With time, nobody is asked any more, and nobody waits. */
  drain(): void {
    for (let round = 0; round < 8; round++) {
      this.pass(deadlineMs);
      for (let n = this.fences.size; n > 0; n--) this.fenceHolds(0);
      this.check();
    }
    expect([this.bulks.size, this.#waiting.size, this.layouts.nextDeadline()]).toEqual([0, 0, undefined]);
  }

  #gone(client: number, ino: number, segments: readonly Segment[]): void {
    for (const segment of segments) {
      for (const byte of bytesOf(segment)) {
        expect(this.bytes(client, ino, segment.iomode).delete(byte), `byte ${byte} was not held`).toBe(true);
      }
    }
  }

  /** Only where there is too much, only who can still give something back, and who holds most. */
  #keepOnly(client: number, keep: number): void {
    const held = clients.map((each) => [each, this.#segments(each)] as const);
    const all = held.reduce((sum, [, count]) => sum + count, 0);
    expect(all, 'memory is not short').toBeGreaterThan(highMark);
    expect(this.#fenced.has(client) || [...this.bulks.values()].includes(client), 'it is on its way out').toBe(false);
    const layouts = files.filter((ino) => this.#on(client, ino) > 0).length;
    expect(keep, `of ${layouts} layouts`).toBeLessThan(layouts);
    // Nobody is spared who holds more; those who are on their way out cannot be asked, and others were asked before.
    const mean = highMark / clients.length;
    expect(this.#segments(client), 'it holds less than its share').toBeGreaterThan(mean * 0.75 - 1);
  }

  #segments(client: number): number {
    return files.reduce((sum, ino) => sum + this.#on(client, ino), 0);
  }

  /** Held, or about to be. */
  #on(client: number, ino: number): number {
    return (this.layouts.heldOn(client, ino)?.segments.length ?? 0) + this.layouts.reservedOn(client, ino).length;
  }

  #fence(fenceId: number, client: number): void {
    this.fences.set(fenceId, client);
    this.#fenced.add(client);
    for (const [recallId, of] of this.bulks) if (of === client) this.bulks.delete(recallId);
    for (const recall of this.#recalls.values()) if (recall.client === client) this.#recalls.delete(recall.recallId);
  }
}

function add(writers: Map<number, number>, byte: number, client: number): void {
  if (writers.has(byte)) throw new Error(`byte ${byte} has two writers`);
  writers.set(byte, client);
}

const who = fc.constantFrom(...clients);
const file = fc.constantFrom(...files);
const span = fc.record({ offset: fc.integer({ min: 0, max: 12 }), length: fc.integer({ min: 1, max: 4 }) });
const whole = { offset: 0, length: Infinity };

type Step = readonly [name: string, run: (bench: Bench) => void];
const get = fc
  .tuple(who, file, fc.constantFrom<Iomode>(read, rw), span)
  .map(([c, f, mode, s]): Step => [`get ${c} ${f} ${mode} ${s.offset}+${s.length}`, (b) => b.get(c, f, mode, s)]);
const step: fc.Arbitrary<Step> = fc.oneof(
  { arbitrary: get, weight: 8 },
  {
    arbitrary: fc
      .tuple(who, file, span)
      .map(([c, f, s]): Step => [`return ${c} ${f} ${s.offset}+${s.length}`, (b) => b.return(c, f, s)]),
    weight: 2,
  },
  fc.tuple(who, file).map(([c, f]): Step => [`return ${c} ${f} all`, (b) => b.return(c, f, whole)]),
  who.map((c): Step => [`recall all ${c}`, (b) => b.recallAll(c)]),
  who.map((c): Step => [`return all ${c}`, (b) => b.returnAll(c)]),
  fc.nat(7).map((n): Step => [`give up ${n}`, (b) => b.giveUp(n)]),
  fc.nat(3000).map((ms): Step => [`pass ${ms}`, (b) => b.pass(ms)]),
  fc.nat(3).map((n): Step => [`fence holds ${n}`, (b) => b.fenceHolds(n)]),
);
const named = step.map(([name, run]) => ({ run, [fc.toStringMethod]: () => name }));

test.prop([fc.array(named, { maxLength: 50, size: 'max' })], { numRuns: 300 })(
  'a recall of everything runs alone and leaves nothing; who holds most is asked to keep less when memory is short; nobody waits for ever',
  (steps) => {
    const bench = new Bench();
    for (const { run } of steps) {
      run(bench);
      bench.check();
    }
    bench.drain();
  },
);
