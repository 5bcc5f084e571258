import { assert } from './assert.ts';
import type { Break, Purpose } from './breaks.ts';
import { type Claim, Claims } from './claims.ts';
import { type FileContext, FileLeases } from './file-leases.ts';
import { type Holding, LeaseClient } from './holding.ts';
import { Pressure } from './pressure.ts';
import type { Range } from './ranges.ts';
import { type BulkRecall, Recalls } from './recalls.ts';
import { toSegment } from './segments.ts';
import { Table } from './table.ts';
import type { Action, HeldLayout, LayoutOptions, Segment } from './types.ts';

/** Of the tables of files and of clients: a few kilobytes. */
const slotsMin = 1024;

/** The files and clients of a table, found by number, with what all events need of them. */
export class Registry {
  readonly recalls: Recalls;
  readonly claims: Claims;
  readonly pressure: Pressure;
  readonly #context: FileContext;
  readonly #files = new Table<FileLeases>((file) => file.ino, slotsMin);
  readonly #clients = new Table<LeaseClient>((client) => client.id, slotsMin);
  readonly #breaks = new Map<number, { readonly file: FileLeases; readonly open: Break }>();
  /** Grants, breaks and fences share their numbers, so that none is taken for another's. */
  #lastId = 0;

  constructor(options: LayoutOptions) {
    this.recalls = new Recalls(options.recallDeadlineMs);
    this.claims = new Claims(options.recallDeadlineMs);
    this.pressure = new Pressure(options.segmentsHighMark, options.recallDeadlineMs);
    this.#context = { recalls: this.recalls, claims: this.claims, newOther: options.newOther };
  }

  newId(): number {
    return ++this.#lastId;
  }

  file(ino: number): FileLeases | undefined {
    return this.#files.get(ino);
  }

  client(id: number): LeaseClient | undefined {
    return this.#clients.get(id);
  }

  clients(): Iterable<LeaseClient> {
    return this.#clients.values();
  }

  fileOf(ino: number): FileLeases {
    let file = this.#files.get(ino);
    if (file === undefined) {
      file = new FileLeases(ino, this.#context);
      this.#files.add(file);
    }
    return file;
  }

  clientOf(id: number): LeaseClient {
    let client = this.#clients.get(id);
    if (client === undefined) {
      client = new LeaseClient(id, this.pressure.totals);
      this.#clients.add(client);
    }
    return client;
  }

  /** The state that the client has been told of. */
  known(client: number, ino: number): Holding | undefined {
    const holding = this.#files.get(ino)?.holding(client);
    return holding?.since === undefined ? undefined : holding;
  }

  forgetClient(client: number): void {
    const known = this.#clients.get(client);
    assert((known?.layouts ?? 0) === 0, `client ${client} is to be forgotten, yet holds layouts`);
    assert(known?.bulk === undefined, `client ${client} is to be forgotten, yet asked for everything`);
    this.#clients.delete(client);
  }

  // Breaks.

  openBreak(id: number): { readonly file: FileLeases; readonly open: Break } | undefined {
    return this.#breaks.get(id);
  }

  begin(file: FileLeases, purpose: Purpose, range: Range, turn?: number): Break {
    const open = file.begin(this.newId(), purpose, range, turn);
    this.#breaks.set(open.id, { file, open });
    return open;
  }

  end(open: Break, file: FileLeases): void {
    this.#breaks.delete(open.id);
    file.endBreak(open);
  }

  /** Its place in the queue is free; the file has to be decided. */
  endClaim(claim: Claim): void {
    const { open, client, ino } = claim;
    this.claims.end(claim);
    this.#clients.get(client)?.claims.delete(claim);
    this.end(open, this.fileOf(ino));
  }

  lapse(now: number, claim: Claim): Action[] {
    this.endClaim(claim);
    return this.decide(now, this.fileOf(claim.ino), claim.client);
  }

  // What follows from events.

  /** What follows from an event on `file`, of `client`; and what nobody holds or waits for is not remembered. */
  decide(now: number, file: FileLeases, client?: number): Action[] {
    const actions = file.decide(now);
    this.forgetIdle(file);
    const actor = client === undefined ? undefined : this.#clients.get(client);
    if (actor === undefined) return actions;
    actions.push(...this.proceed(now, actor));
    this.settle(actor);
    return actions;
  }

  forgetIdle(file: FileLeases): void {
    if (file.idle) this.#files.delete(file.ino);
  }

  settle(client: LeaseClient): void {
    if (client.idle) this.#clients.delete(client.id);
  }
  letGo(file: FileLeases, holding: Holding, mode: 1 | 2 | 3, range: Range): Action[] {
    const segments = file.release(holding, mode, range);
    return segments.length === 0 ? [] : [{ type: 'released', client: holding.client.id, ino: file.ino, segments }];
  }

  /** The client gave back or committed some of `ranges`, so that recalls of it have more time. */
  progressed(now: number, holding: Holding, ranges: readonly Range[]): void {
    for (const range of ranges) {
      for (const recall of holding.recalls.overlapping(range)) this.recalls.progressed(now, recall);
    }
    const { bulk } = holding.client;
    if (bulk?.sent === true && ranges.length > 0) this.recalls.progressed(now, bulk);
  }

  endBulk(bulk: BulkRecall): Action {
    this.recalls.end(bulk);
    return { type: 'bulk-ended', recallId: bulk.id, client: bulk.client.id };
  }

  /** A bulk recall that waits goes out, or has nothing to ask for any more (L6). */
  proceed(now: number, client: LeaseClient): Action[] {
    const { bulk } = client;
    if (bulk === undefined || bulk.sent) return [];
    if (client.layouts === 0) return [this.endBulk(bulk)];
    return client.recalls > 0 ? [] : [this.recalls.send(now, bulk)];
  }

  // Lists.

  held(most = Infinity): readonly HeldLayout[] {
    const listed: HeldLayout[] = [];
    for (const client of this.#clients.values()) {
      for (const layout of this.#listed(client)) {
        if (listed.length >= most) return listed;
        listed.push(layout);
      }
    }
    return listed;
  }

  heldBy(id: number): readonly HeldLayout[] {
    const client = this.#clients.get(id);
    return client === undefined ? [] : [...this.#listed(client)];
  }

  heldOn(client: number, ino: number): HeldLayout | undefined {
    const file = this.#files.get(ino);
    const holding = file?.holding(client);
    return holding === undefined ? undefined : file?.listing(holding);
  }

  reservedOn(client: number, ino: number): readonly Segment[] {
    const holding = this.#files.get(ino)?.holding(client);
    return holding === undefined ? [] : [...holding.grants].map(({ reserved }) => toSegment(reserved.iomode, reserved));
  }

  holders(): readonly number[] {
    const ids: number[] = [];
    for (const client of this.#clients.values()) if (client.layouts > 0) ids.push(client.id);
    return ids;
  }

  *#listed(client: LeaseClient): Generator<HeldLayout> {
    for (const holding of client.holdings()) {
      const listing = this.fileOf(holding.ino).listing(holding);
      if (listing !== undefined) yield listing;
    }
  }
}
