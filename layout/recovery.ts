import { assert } from './assert.ts';
import type { LeaseClient } from './holding.ts';
import { limits } from './limits.ts';
import { type BulkRecall, type FileRecall, type Recall } from './recalls.ts';
import { refused } from './refused.ts';
import type { Registry } from './registry.ts';
import { wholeFile } from './segments.ts';
import {
  type Action,
  type BulkKind,
  type BulkReturnResult,
  iomode,
  type RecallReply,
  type ReleasedFile,
  recallKind,
} from './types.ts';

/**
 * How layouts come back that were given out: by the answers to recalls, by their deadlines, by a recall of everything, by
 * the end of a client. What does not come back is revoked and fenced (I7, I9).
 */
export class Recovery {
  readonly #registry: Registry;
  /** Under way: reported, and not yet known to hold. */
  readonly #fences = new Map<number, LeaseClient>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  returnAll(now: number, id: number, kind: BulkKind): BulkReturnResult {
    const client = this.#registry.client(id);
    if (client === undefined || client.fence !== undefined) return { kind: 'returned', released: [], actions: [] };
    const { bulk } = client;
    if (bulk?.sent === true && bulk.kind !== kind) {
      return refused('RECALLCONFLICT', { client: id, ino: 0 }, `kind ${bulk.kind} was asked back, not ${kind}`);
    }
    const released: ReleasedFile[] = [];
    const actions: Action[] = [];
    for (const holding of client.holdings()) {
      const file = this.#registry.fileOf(holding.ino);
      const segments = file.release(holding, iomode.any, wholeFile);
      if (segments.length > 0) released.push({ ino: file.ino, segments });
      actions.push(...this.#registry.decide(now, file));
    }
    if (bulk !== undefined) actions.push(this.#registry.endBulk(bulk));
    this.#registry.settle(client);
    return { kind: 'returned', released, actions };
  }

  recallAll(
    now: number,
    id: number,
    kind: BulkKind,
    changed: boolean,
  ): { readonly recallId: number; readonly actions: readonly Action[] } | undefined {
    const client = this.#registry.client(id);
    if (client === undefined || client.layouts === 0 || client.fence !== undefined) return undefined;
    if (client.bulk !== undefined) return { recallId: client.bulk.id, actions: [] };
    const bulk = this.#registry.recalls.prepare(client, kind, changed);
    return { recallId: bulk.id, actions: this.#registry.proceed(now, client) };
  }

  /** A reply to a recall that is over by now has nothing to say any more. */
  recallReply(now: number, recallId: number, reply: RecallReply): readonly Action[] {
    const recall = this.#registry.recalls.find(recallId);
    if (recall === undefined) return [];
    switch (reply) {
      case 'ok':
        this.#registry.recalls.accepted(recall);
        return [];
      case 'delay':
      case 'unreachable':
        this.#registry.recalls.resendLater(now, recall);
        return [];
      case 'bad-stateid':
        if (recall.badStateids >= limits.badStateidsMax) return this.#revoke(now, recall.client);
        recall.badStateids++;
        this.#registry.recalls.resendLater(now, recall);
        return [];
      case 'nomatching':
        return recall.kind === recallKind.file ? this.#nothingHeld(now, recall) : this.#nothingLeft(now, recall);
    }
  }

  clientLost(now: number, client: number): readonly Action[] {
    const lost = this.#registry.client(client);
    return lost === undefined || lost.fence !== undefined ? [] : this.#revoke(now, lost);
  }

  /** A fence that is not under way, since it was reported before, changes nothing. */
  fenced(now: number, fenceId: number): readonly Action[] {
    const client = this.#fences.get(fenceId);
    if (client === undefined) return [];
    this.#fences.delete(fenceId);
    const actions: Action[] = [];
    for (const holding of client.holdings()) {
      const file = this.#registry.fileOf(holding.ino);
      file.drop(holding);
      actions.push(...this.#registry.decide(now, file));
    }
    const bulk = client.fence?.bulk;
    if (bulk !== undefined) actions.push({ type: 'bulk-ended', recallId: bulk, client: client.id });
    return actions;
  }

  tick(now: number): readonly Action[] {
    const actions: Action[] = [];
    for (
      let due = this.#registry.recalls.firstDue();
      due !== undefined && due.dueAt <= now;
      due = this.#registry.recalls.firstDue()
    ) {
      if (due.deadline <= now) actions.push(...this.#deadlineOf(now, due));
      else actions.push(this.#registry.recalls.resend(due));
    }
    for (
      let due = this.#registry.claims.firstDue();
      due !== undefined && due.dueAt <= now;
      due = this.#registry.claims.firstDue()
    ) {
      actions.push(...this.#registry.lapse(now, due));
    }
    if ((this.#registry.pressure.dueAt ?? Infinity) <= now) actions.push(...this.#look(now));
    return actions;
  }

  nextDeadline(): number | undefined {
    const at = Math.min(
      this.#registry.recalls.firstDue()?.dueAt ?? Infinity,
      this.#registry.claims.firstDue()?.dueAt ?? Infinity,
      this.#registry.pressure.dueAt ?? Infinity,
    );
    return at === Infinity ? undefined : at;
  }

  /** NOMATCHING_LAYOUT: as if all that was recalled had been returned. */
  #nothingHeld(now: number, recall: FileRecall): Action[] {
    const { holding } = recall;
    const file = this.#registry.fileOf(holding.ino);
    const released = this.#registry.letGo(file, holding, recall.iomode, { start: recall.start, end: recall.end });
    return [...released, ...this.#registry.decide(now, file, holding.client.id)];
  }

  #nothingLeft(now: number, { client, kind }: BulkRecall): Action[] {
    const returned = this.returnAll(now, client.id, kind);
    assert(returned.kind === 'returned', `client ${client.id} holds nothing, and is refused to say so`);
    const released = returned.released.map((of): Action => ({ type: 'released', client: client.id, ...of }));
    return [...released, ...returned.actions];
  }

  /** Only what is held still makes a fence necessary. */
  #deadlineOf(now: number, recall: Recall): Action[] {
    if (recall.kind === recallKind.file) {
      const file = this.#registry.fileOf(recall.holding.ino);
      if (file.isHeld(recall)) return this.#revoke(now, recall.client);
      file.endRecall(recall);
      return this.#registry.decide(now, file, recall.client.id);
    }
    if (recall.client.segments > 0) return this.#revoke(now, recall.client);
    const ended = this.#registry.endBulk(recall);
    this.#registry.settle(recall.client);
    return [ended];
  }

  /** All layouts of the client on all files: a fence knows no files, and whoever failed one recall is not trusted again. */
  #revoke(now: number, client: LeaseClient): Action[] {
    const others = new Map([...client.holdings()].map((holding) => [holding.stateid.other, holding.ino]));
    const { bulk } = client;
    if (bulk !== undefined) this.#registry.recalls.end(bulk);
    const segments = [...client.holdings()].flatMap((holding) => this.#registry.fileOf(holding.ino).revoke(holding));
    for (const ino of others.values()) this.#registry.forgetIdle(this.#registry.fileOf(ino));
    const actions: Action[] = [];
    for (const claim of client.claims) actions.push(...this.#registry.lapse(now, claim));
    if (segments.length === 0) {
      this.#registry.settle(client);
      return bulk === undefined ? actions : [...actions, { type: 'bulk-ended', recallId: bulk.id, client: client.id }];
    }
    const id = this.#registry.newId();
    client.fence = { id, others, bulk: bulk?.id };
    this.#fences.set(id, client);
    return [{ type: 'fence', fenceId: id, client: client.id, segments }, ...actions];
  }

  relieve(now: number): Action[] {
    return this.#registry.pressure.begins ? this.#registry.pressure.ask(now, this.#registry.clients()) : [];
  }

  /** A lease after clients were asked to keep fewer. */
  #look(now: number): Action[] {
    if (!this.#registry.pressure.tooMuch) {
      this.#registry.pressure.end(this.#registry.clients());
      return [];
    }
    const actions: Action[] = [];
    for (const client of this.#registry.clients()) {
      if (client.fence !== undefined || client.bulk !== undefined) continue;
      let surplus = client.layouts - client.keep;
      for (const holding of client.holdings()) {
        if (surplus <= 0 || actions.length >= limits.pressureRecallsMax) break;
        const file = this.#registry.fileOf(holding.ino);
        if (file.isShared) continue; // they were granted for as long as the file stays (docs/files.md)
        actions.push(...file.askBack(now, holding));
        surplus--;
      }
    }
    return [...actions, ...this.#registry.pressure.ask(now, this.#registry.clients())];
  }
}
