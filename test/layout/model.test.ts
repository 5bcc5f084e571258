import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import type { BreakReason, Iomode, RecallReply, StateId } from '../../layout/types.ts';
import { newLayouts, read, rw } from './lab.ts';
import { bytesOf, clients, deadlineMs, fileBytes, Ledger, type Span, type Wanted } from './ledger.ts';

/** The table under test and what an observer wrote down beside it. Every step checks all that must be true. */
class Bench {
  readonly layouts = newLayouts({
    recallDeadlineMs: deadlineMs,
    segmentsPerClientMax: 100,
    segmentsHighMark: 1000,
    segmentsMax: 2000,
  });
  readonly ledger = new Ledger();
  now = 0;
  readonly #stateids = new Map<number, StateId>();

  get(client: number, iomode: Iomode, { offset, length }: Span, forgets: boolean, own?: number): void {
    const span = { offset, length };
    const { ledger } = this;
    const stateid = forgets || own !== undefined ? undefined : this.#current(client);
    const recalled = ledger.asked(client, span);
    const turn = ledger.turnOf(own);
    const obstacles = ledger.breaksBefore(client, iomode, span, turn);
    const result = this.layouts.get(this.now, { client, ino: 1, iomode, ...span, minlength: 0, stateid }, own);
    switch (result.kind) {
      case 'refused':
        if (result.status === 'ADMIN_REVOKED') expect(ledger.revoked.has(client)).toBe(true);
        else if (result.status === 'RECALLCONFLICT') {
          expect(recalled || (forgets && ledger.asked(client, { offset: 0, length: Infinity }))).toBe(true);
        } else expect([result.status, forgets]).toEqual(['LAYOUTTRYLATER', true]);
        break;
      case 'reserved': {
        ledger.observe(result.actions);
        expect(obstacles, 'no grant on a range with a break before it').toEqual([]);
        expect(ledger.revoked.has(client) || recalled).toBe(false);
        ledger.grants.set(result.grant, { id: result.grant, client, iomode, ...span, turn, settled: false });
        break;
      }
      case 'conflict': {
        const wanted: Wanted = { kind: 'get', client, iomode };
        const justified = obstacles.length > 0 || ledger.inTheWay(wanted, span).length > 0;
        expect(justified, 'a get waits only for somebody').toBe(true);
        ledger.begin(result.breakId, wanted, span, own === undefined ? undefined : turn);
        ledger.observe(result.actions);
      }
    }
    if (own !== undefined) this.endBreak(own);
  }

  confirm(id: number): void {
    const { ledger } = this;
    const grant = ledger.grants.get(id);
    if (grant === undefined) return;
    const { client, iomode } = grant;
    const result = this.layouts.confirm(this.now, id);
    const revoked = ledger.revoked.has(client);
    if (revoked) grant.settled = true;
    else ledger.grants.delete(id);
    if (result.kind === 'granted') {
      expect(revoked).toBe(false);
      expect(ledger.breaksBefore(client, iomode, grant, grant.turn)).toEqual([]);
      expect(ledger.asked(client, grant, iomode), 'no grant crosses a recall').toBe(false);
      expect(result.stateid.seqid).toBe((ledger.seqids.get(client) ?? 0) + 1);
      ledger.seqids.set(client, result.stateid.seqid);
      this.#stateids.set(client, result.stateid);
      ledger.give(client, result.segment);
    } else if (!revoked) {
      const before = ledger.breaksBefore(client, iomode, grant, grant.turn);
      expect(before.length > 0 || ledger.asked(client, grant, iomode), 'a grant is dropped for a reason').toBe(true);
      ledger.take(client, []);
    }
    ledger.observe(result.actions);
  }

  cancel(id: number): void {
    const grant = this.ledger.grants.get(id);
    if (grant === undefined) return;
    const actions = this.layouts.cancel(this.now, id);
    if (this.ledger.revoked.has(grant.client)) grant.settled = true;
    else {
      this.ledger.grants.delete(id);
      this.ledger.take(grant.client, []);
    }
    this.ledger.observe(actions);
  }

  return(client: number, iomode: 1 | 2 | 3, { offset, length }: Span): void {
    const span = { offset, length };
    const stateid = this.#current(client);
    if (stateid === undefined) return;
    const { ledger } = this;
    const expected = [read, rw].flatMap((mode) =>
      iomode === mode || iomode === 3 ? bytesOf(span).filter((byte) => ledger.held(client, mode).has(byte)) : [],
    );
    const result = this.layouts.return(this.now, { client, ino: 1, iomode, ...span, stateid });
    if (result.kind === 'refused') {
      expect([result.status, ledger.revoked.has(client)]).toEqual(['ADMIN_REVOKED', true]);
      return;
    }
    expect(result.released.flatMap(bytesOf)).toEqual(expected);
    ledger.answered(client, iomode, span);
    if (expected.length > 0) ledger.progressed(client, span);
    ledger.take(client, result.released);
    if (result.stateid !== undefined) {
      expect(result.stateid.seqid).toBe((ledger.seqids.get(client) ?? 0) + 1);
      ledger.seqids.set(client, result.stateid.seqid);
    } else expect(ledger.holds(client)).toBe(false);
    ledger.observe(result.actions);
  }

  commit(client: number, span: Span): void {
    const stateid = this.#current(client);
    if (stateid === undefined) return;
    const refusal = this.layouts.checkCommit({ client, ino: 1, stateid }, [span]);
    const all = (iomode: Iomode) => bytesOf(span).every((byte) => this.ledger.held(client, iomode).has(byte));
    if (this.ledger.revoked.has(client)) expect(refusal?.status).toBe('ADMIN_REVOKED');
    else if (all(rw)) {
      expect(refusal).toBeUndefined();
      this.layouts.committed(this.now, client, 1, [span]);
      this.ledger.progressed(client, span);
    } else expect(refusal?.status).toBe(all(read) ? 'BADIOMODE' : 'BADLAYOUT');
  }

  break(reason: BreakReason, client: number | undefined, span: Span): void {
    const wanted: Wanted = { kind: reason, client };
    const inTheWay = this.ledger.inTheWay(wanted, span);
    const begun = this.layouts.break(this.now, { ino: 1, ...span, reason, client });
    expect(begun !== undefined, `in the way: ${inTheWay.join()}`).toBe(inTheWay.length > 0);
    if (begun === undefined) return;
    this.ledger.begin(begun.breakId, wanted, span);
    this.ledger.observe(begun.actions);
  }

  endBreak(id: number): void {
    this.ledger.breaks.delete(id);
    this.ledger.observe(this.layouts.endBreak(this.now, id));
  }

  reply(recallId: number, reply: RecallReply): void {
    const recall = this.ledger.recalls.get(recallId);
    if (reply === 'nomatching' && recall !== undefined) this.ledger.answered(recall.client, recall.iomode, recall);
    this.ledger.observe(this.layouts.recallReply(this.now, recallId, reply));
    if (recall !== undefined) this.ledger.take(recall.client, []);
  }

  pass(ms: number): void {
    this.now += ms;
    this.ledger.pass(ms);
    this.ledger.observe(this.layouts.tick(this.now));
    this.ledger.checkDeadlines();
    expect(this.layouts.nextDeadline() ?? Infinity).toBeGreaterThan(this.now);
  }

  lose(client: number): void {
    const fences = this.ledger.fences.size;
    const expected = this.layouts.holdsAny(client) && !this.ledger.revoked.has(client);
    this.ledger.observe(this.layouts.clientLost(this.now, client));
    expect(this.ledger.fences.size).toBe(fences + (expected ? 1 : 0));
    if (!this.layouts.holdsAny(client)) this.ledger.dropRecalls(client);
  }

  fenced(id: number): void {
    const client = this.ledger.fences.get(id) ?? 0;
    this.ledger.fenced(id);
    this.ledger.observe(this.layouts.fenced(this.now, id));
    expect(this.layouts.holdsAny(client)).toBe(false);
  }

  forget(client: number): void {
    if (this.layouts.holdsAny(client)) return;
    this.lose(client);
    this.layouts.forgetClient(client);
    this.ledger.revoked.delete(client);
    this.#stateids.delete(client);
  }

  check(): void {
    for (const client of clients) {
      const gone = (this.ledger.seqids.get(client) ?? 0) === 0 && !this.ledger.revoked.has(client);
      if (gone) this.#stateids.delete(client);
    }
    this.ledger.check(this.layouts.held());
  }

  /** Grants are settled, deadlines pass, fences hold, and whoever is served is done: then nobody may wait any more. */
  drain(): void {
    for (let round = 0; this.#busy(); round++) {
      expect(round, 'somebody waits for ever').toBeLessThan(100);
      for (const { id } of this.ledger.unsettled()) this.confirm(id);
      for (const id of this.ledger.fences.keys()) this.fenced(id);
      for (const open of this.ledger.breaks.values()) {
        if (!open.broken) continue;
        const { wanted } = open;
        if (wanted.kind === 'get') this.get(wanted.client, wanted.iomode, open, false, open.id);
        else this.endBreak(open.id);
      }
      this.check();
      this.pass(deadlineMs);
      this.check();
    }
  }

  #busy(): boolean {
    const { grants, fences, breaks } = this.ledger;
    return grants.size + fences.size + breaks.size > 0;
  }

  #current(client: number): StateId | undefined {
    const known = this.#stateids.get(client);
    if (known === undefined) return undefined;
    return { seqid: this.ledger.seqids.get(client) || known.seqid, other: known.other };
  }
}

/** The nth, counted round. */
function pick<T>(all: Iterable<T>, nth: number): T | undefined {
  const list = [...all];
  return list[nth % Math.max(list.length, 1)];
}

class Step implements fc.Command<Ledger, Bench> {
  readonly #name: string;
  readonly #run: (bench: Bench) => void;

  constructor(name: string, run: (bench: Bench) => void) {
    this.#name = name;
    this.#run = run;
  }

  check(): boolean {
    return true;
  }

  run(_ledger: Ledger, bench: Bench): void {
    this.#run(bench);
    bench.check();
  }

  toString(): string {
    return this.#name;
  }
}

const client = fc.constantFrom(...clients);
const iomode = fc.constantFrom(read, rw);
const span = fc
  .tuple(fc.nat(fileBytes - 1), fc.integer({ min: 1, max: fileBytes }))
  .map(([offset, length]): Span => ({ offset, length: offset + length > fileBytes ? Infinity : length }));
const nth = fc.nat(20);

const steps = [
  fc
    .tuple(client, iomode, span, fc.integer({ min: 0, max: 9 }))
    .map(([who, mode, where, dice]) =>
      step(`get ${who} ${mode} ${at(where)} ${dice}`, (b) => b.get(who, mode, where, dice === 0)),
    ),
  nth.map((n) =>
    step(`ask again ${n}`, (b) => {
      const open = pick(
        [...b.ledger.breaks.values()].filter((each) => each.broken && each.wanted.kind === 'get'),
        n,
      );
      if (open?.wanted.kind === 'get') b.get(open.wanted.client, open.wanted.iomode, open, false, open.id);
    }),
  ),
  nth.map((n) => step(`confirm ${n}`, (b) => b.confirm(pick(b.ledger.unsettled(), n)?.id ?? 0))),
  nth.map((n) => step(`cancel ${n}`, (b) => b.cancel(pick(b.ledger.unsettled(), n)?.id ?? 0))),
  fc
    .tuple(client, fc.constantFrom<1 | 2 | 3>(1, 2, 3), span)
    .map(([who, mode, where]) => step(`return ${who} ${mode} ${at(where)}`, (b) => b.return(who, mode, where))),
  nth.map((n) =>
    step(`return what is recalled ${n}`, (b) => {
      const recall = pick(b.ledger.recalls.values(), n);
      if (recall !== undefined) b.return(recall.client, recall.iomode, recall);
    }),
  ),
  fc.tuple(client, span).map(([who, where]) => step(`commit ${who} ${at(where)}`, (b) => b.commit(who, where))),
  fc
    .tuple(
      fc.constantFrom<BreakReason>('write', 'remap', 'unmap', 'extend', 'share'),
      fc.option(client, { nil: undefined }),
      span,
    )
    .map(([why, who, where]) => step(`break ${why} ${who} ${at(where)}`, (b) => b.break(why, who, where))),
  nth.map((n) => step(`end break ${n}`, (b) => b.endBreak(pick(b.ledger.breaks.keys(), n) ?? 0))),
  fc
    .tuple(nth, fc.constantFrom<RecallReply>('ok', 'nomatching', 'delay', 'bad-stateid', 'unreachable'))
    .map(([n, how]) => step(`reply ${n} ${how}`, (b) => b.reply(pick(b.ledger.recalls.keys(), n) ?? 0, how))),
  fc.integer({ min: 1, max: 2000 }).map((ms) => step(`pass ${ms}`, (b) => b.pass(ms))),
  client.map((who) => step(`lose ${who}`, (b) => b.lose(who))),
  nth.map((n) => step(`fenced ${n}`, (b) => b.fenced(pick(b.ledger.fences.keys(), n) ?? 0))),
  client.map((who) => step(`forget ${who}`, (b) => b.forget(who))),
];

function step(name: string, run: (bench: Bench) => void): Step {
  return new Step(name, run);
}

function at({ offset, length }: Span): string {
  return `${offset}+${length}`;
}

/** More gets and confirms than losses, so that much is held when something happens. */
const weighted = steps.flatMap((each, index) =>
  index < 3 ? [each, each, each, each] : index < 11 ? [each, each] : [each],
);

test.prop([fc.commands(weighted, { maxCommands: 60, size: 'max' })], { numRuns: 600 })(
  'one writer or many readers, no grant against a break, every break broken once, nobody left waiting',
  (commands) => {
    const bench = new Bench();
    fc.modelRun(() => ({ model: bench.ledger, real: bench }), commands);
    bench.drain();
  },
);
