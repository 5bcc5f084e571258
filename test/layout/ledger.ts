import { expect } from 'vitest';
import type { Action, BreakReason, HeldLayout, Iomode, Segment } from '../../layout/types.ts';
import { read, rw } from './lab.ts';

export const deadlineMs = 5000;
export const fileBytes = 16;
export const clients = [1, 2, 3] as const;

export interface Span {
  readonly offset: number;
  readonly length: number;
}

export type Wanted =
  | { readonly kind: BreakReason; readonly client: number | undefined }
  | { readonly kind: 'get'; readonly client: number; readonly iomode: Iomode };

interface LedgerBreak extends Span {
  readonly id: number;
  readonly wanted: Wanted;
  readonly turn: number;
  broken: boolean;
}

interface LedgerGrant extends Span {
  readonly id: number;
  readonly client: number;
  readonly iomode: Iomode;
  /** Infinity: it did not wait. */
  readonly turn: number;
  /** Confirmed or cancelled, though its client was revoked: only the fence takes it out of the way. */
  settled: boolean;
}

type LedgerRecall = Extract<Action, { readonly type: 'recall' }>;

/** Bytes 0 to 15; the 17th stands for all beyond. */
export function bytesOf({ offset, length }: Span): number[] {
  const all: number[] = [];
  for (let byte = offset; byte < Math.min(offset + length, fileBytes + 1); byte++) all.push(byte);
  return all;
}

/** The rules of who stands in whose way, written down once more, for one byte. */
function hurts(wanted: Wanted, client: number, iomode: Iomode): boolean {
  if (wanted.kind === 'unmap' || wanted.kind === 'remap') return true;
  if (wanted.kind === 'share' || wanted.kind === 'extend') return iomode === rw;
  if (wanted.kind === 'close') return client === wanted.client && iomode === rw;
  if (client === wanted.client) return false;
  return wanted.kind !== 'get' || wanted.iomode === rw || iomode === rw;
}

/**
 * What an observer of one 16-byte file knows from results and actions alone: for each byte and iomode, who has it. It
 * knows nothing of segments, indexes or queues, and checks every answer against the bytes.
 */
export class Ledger {
  readonly breaks = new Map<number, LedgerBreak>();
  readonly grants = new Map<number, LedgerGrant>();
  readonly recalls = new Map<number, LedgerRecall>();
  readonly fences = new Map<number, number>();
  readonly revoked = new Set<number>();
  /** The newest seqid that each client was told, 0 where it has no state. */
  readonly seqids = new Map<number, number>();
  now = 0;
  /** Of each recall. */
  readonly #due = new Map<number, { readonly start: number; at: number }>();
  readonly #held = new Map<string, Set<number>>();

  held(client: number, iomode: Iomode): Set<number> {
    const key = `${client}/${iomode}`;
    let bytes = this.#held.get(key);
    if (bytes === undefined) {
      bytes = new Set();
      this.#held.set(key, bytes);
    }
    return bytes;
  }

  holds(client: number): boolean {
    return this.held(client, read).size > 0 || this.held(client, rw).size > 0;
  }

  give(client: number, segment: Segment): void {
    for (const byte of bytesOf(segment)) this.held(client, segment.iomode).add(byte);
  }

  /** Everything released was held, and nothing is released twice. */
  take(client: number, segments: readonly Segment[]): void {
    for (const segment of segments) {
      for (const byte of bytesOf(segment)) {
        expect(this.held(client, segment.iomode).delete(byte), `byte ${byte} was not held`).toBe(true);
      }
    }
    this.#settle(client);
  }

  /** A return, or NOMATCHING_LAYOUT: recalls that it matches in full are over. */
  answered(client: number, iomode: number, { offset, length }: Span): void {
    for (const recall of this.recalls.values()) {
      const matches = iomode === 3 || iomode === recall.iomode;
      const within = offset <= recall.offset && recall.offset + recall.length <= offset + length;
      if (recall.client === client && matches && within) this.recalls.delete(recall.recallId);
    }
  }

  /** The client gave back or committed some of `span`: it has a whole deadline again, four in all. */
  progressed(client: number, span: Span): void {
    for (const recall of this.recalls.values()) {
      const due = this.#due.get(recall.recallId);
      if (recall.client !== client || !overlap(recall, span) || due === undefined) continue;
      due.at = Math.min(this.now + deadlineMs, due.start + 4 * deadlineMs);
    }
  }

  /** Recalls whose time is over, with nothing held below them, are over too. */
  pass(ms: number): void {
    this.now += ms;
    for (const recall of this.recalls.values()) {
      if ((this.#due.get(recall.recallId)?.at ?? 0) > this.now || this.#stillHeld(recall)) continue;
      this.recalls.delete(recall.recallId);
      this.#settle(recall.client);
    }
  }

  /** Nobody is waited for beyond his time. */
  checkDeadlines(): void {
    for (const { recallId } of this.recalls.values()) {
      expect(this.#due.get(recallId)?.at, `recall ${recallId}`).toBeGreaterThan(this.now);
    }
  }

  /** A client that holds nothing is gone: what it was asked for is of no interest. */
  dropRecalls(client: number): void {
    for (const recall of this.recalls.values()) if (recall.client === client) this.recalls.delete(recall.recallId);
    this.#settle(client);
  }

  #settle(client: number): void {
    const asked = [...this.recalls.values()].some((recall) => recall.client === client);
    if (!this.holds(client) && !this.#hasGrant(client) && !asked) this.seqids.set(client, 0);
  }

  /** Held or reserved bytes in the way; who has them. */
  inTheWay(wanted: Wanted, span: Span): number[] {
    const found = new Set<number>();
    for (const client of clients) {
      for (const iomode of [read, rw]) {
        if (hurts(wanted, client, iomode) && bytesOf(span).some((byte) => this.#has(client, iomode, byte)))
          found.add(client);
      }
    }
    return [...found];
  }

  /** Breaks that a get has to wait for: operations, and gets whose turn comes first. */
  breaksBefore(client: number, iomode: Iomode, span: Span, turn: number): LedgerBreak[] {
    return [...this.breaks.values()].filter(
      (open) =>
        hurts(open.wanted, client, iomode) && overlap(open, span) && (open.wanted.kind !== 'get' || open.turn < turn),
    );
  }

  /** Is a recall to `client` out that overlaps `span`, of any iomode or of one? */
  asked(client: number, span: Span, iomode?: Iomode): boolean {
    return [...this.recalls.values()].some(
      (recall) =>
        recall.client === client &&
        overlap(recall, span) &&
        (iomode === undefined || recall.iomode === 3 || recall.iomode === iomode),
    );
  }

  /** The turn of a get that waited in break `own`. */
  turnOf(own: number | undefined): number {
    return own === undefined ? Infinity : (this.breaks.get(own)?.turn ?? Infinity);
  }

  begin(id: number, wanted: Wanted, span: Span, turn = id): void {
    this.breaks.set(id, { id, wanted, offset: span.offset, length: span.length, turn, broken: false });
  }

  unsettled(): LedgerGrant[] {
    return [...this.grants.values()].filter((grant) => !grant.settled);
  }

  observe(actions: readonly Action[]): void {
    for (const action of actions) {
      switch (action.type) {
        case 'recall':
          this.#recall(action);
          break;
        case 'released':
          expect(action.segments.length).toBeGreaterThan(0);
          this.take(action.client, action.segments);
          break;
        case 'fence':
          this.#fence(action.fenceId, action.client, action.segments);
          break;
        case 'broken':
          this.#broken(action.breakId);
          break;
        case 'bulk-recall':
        case 'bulk-ended':
        case 'recall-any':
        case 'available':
          break;
      }
    }
  }

  fenced(fenceId: number): void {
    const client = this.fences.get(fenceId) ?? 0;
    this.fences.delete(fenceId);
    for (const iomode of [read, rw]) this.held(client, iomode).clear();
    for (const grant of this.grants.values()) if (grant.client === client) this.grants.delete(grant.id);
    this.seqids.set(client, 0);
  }

  /** What must be true at any moment. */
  check(listed: readonly HeldLayout[]): void {
    for (let byte = 0; byte <= fileBytes; byte++) {
      const writers = clients.filter((client) => this.#has(client, rw, byte));
      const readers = clients.filter((client) => this.#has(client, read, byte));
      expect(writers.length, `byte ${byte} has writers ${writers.join()}`).toBeLessThanOrEqual(1);
      const [writer] = writers;
      if (writer !== undefined)
        expect(
          readers.every((reader) => reader === writer),
          `byte ${byte}`,
        ).toBe(true);
    }
    this.#checkWaiters();
    for (const client of clients) {
      const layout = listed.find((each) => each.client === client);
      for (const iomode of [read, rw]) {
        const bytes = (layout?.segments ?? []).filter((segment) => segment.iomode === iomode).flatMap(bytesOf);
        expect(bytes, `client ${client}, iomode ${iomode}`).toEqual(
          [...this.held(client, iomode)].sort((a, b) => a - b),
        );
      }
      if (layout !== undefined) expect(layout.stateid.seqid).toBe(this.seqids.get(client));
    }
  }

  /** Nobody waits for nothing: a break not yet broken waits for bytes that are being recalled, reserved or fenced, or for a turn. */
  #checkWaiters(): void {
    for (const open of this.breaks.values()) {
      if (open.broken) continue;
      const holders = this.inTheWay(open.wanted, open);
      expect(holders.length + this.#elders(open).length, `break ${open.id} waits for nothing`).toBeGreaterThan(0);
      for (const client of holders) this.#checkAsked(open, client);
    }
  }

  #checkAsked(open: LedgerBreak, client: number): void {
    const comes = [...this.grants.values()].some(
      (grant) =>
        grant.client === client && grant.turn < open.turn && overlap(grant, open) && open.wanted.kind === 'get',
    );
    if (this.revoked.has(client) || comes) return;
    for (const iomode of [read, rw]) {
      for (const byte of bytesOf(open)) {
        if (!hurts(open.wanted, client, iomode) || !this.held(client, iomode).has(byte)) continue;
        const asked = [...this.recalls.values()].filter((recall) => asksFor(recall, client, iomode, byte));
        expect(asked.length, `client ${client} is asked for byte ${byte}, iomode ${iomode}`).toBe(1);
      }
    }
  }

  #elders({ wanted, turn, ...span }: LedgerBreak): LedgerBreak[] {
    return wanted.kind === 'get' ? this.breaksBefore(wanted.client, wanted.iomode, span, turn) : [];
  }

  #has(client: number, iomode: Iomode, byte: number): boolean {
    if (this.held(client, iomode).has(byte)) return true;
    return [...this.grants.values()].some(
      (grant) => grant.client === client && grant.iomode === iomode && bytesOf(grant).includes(byte),
    );
  }

  #hasGrant(client: number): boolean {
    return [...this.grants.values()].some((grant) => grant.client === client);
  }

  #stillHeld(recall: LedgerRecall): boolean {
    return [read, rw].some((iomode) =>
      bytesOf(recall).some(
        (byte) => asksFor(recall, recall.client, iomode, byte) && this.held(recall.client, iomode).has(byte),
      ),
    );
  }

  #recall(recall: LedgerRecall): void {
    const before = this.recalls.get(recall.recallId);
    this.recalls.set(recall.recallId, recall);
    expect(this.revoked.has(recall.client), 'a revoked client is not asked').toBe(false);
    if (before !== undefined) {
      expect(recall, 'a recall is repeated as it was').toEqual(before);
      return;
    }
    expect(this.#stillHeld(recall), 'what is recalled is held').toBe(true);
    this.#due.set(recall.recallId, { start: this.now, at: this.now + deadlineMs });
    expect(recall.stateid.seqid).toBe((this.seqids.get(recall.client) ?? 0) + 1);
    this.seqids.set(recall.client, recall.stateid.seqid);
    const wanted = [...this.breaks.values()].some(
      (open) => !open.broken && bytesOf(recall).every((byte) => bytesOf(open).includes(byte)),
    );
    expect(wanted, 'no more is recalled than a break needs').toBe(true);
  }

  #fence(fenceId: number, client: number, segments: readonly Segment[]): void {
    expect(this.revoked.has(client), 'one fence is enough').toBe(false);
    for (const iomode of [read, rw]) {
      const fenced = new Set(segments.filter((segment) => segment.iomode === iomode).flatMap(bytesOf));
      for (let byte = 0; byte <= fileBytes; byte++) expect(fenced.has(byte)).toBe(this.#has(client, iomode, byte));
    }
    this.fences.set(fenceId, client);
    this.revoked.add(client);
    for (const recall of this.recalls.values()) if (recall.client === client) this.recalls.delete(recall.recallId);
  }

  #broken(breakId: number): void {
    const open = this.breaks.get(breakId);
    expect(open?.broken, `break ${breakId} is broken once, while it lasts`).toBe(false);
    if (open === undefined) return;
    expect(this.inTheWay(open.wanted, open), `break ${breakId} is broken`).toEqual([]);
    expect(this.#elders(open), `break ${breakId} has its turn`).toEqual([]);
    open.broken = true;
  }
}

function asksFor(recall: LedgerRecall, client: number, iomode: Iomode, byte: number): boolean {
  return (
    recall.client === client && (recall.iomode === 3 || recall.iomode === iomode) && bytesOf(recall).includes(byte)
  );
}

function overlap(a: Span, b: Span): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}
