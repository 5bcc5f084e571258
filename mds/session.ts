/** A session: slots for requests, slots for callbacks, and the connections that these may take (RFC 8881 §2.10). */
import { BackChannel, type Callback } from './back-channel.ts';
import type { Client } from './client.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { ReferringCall } from './protocol/frame.ts';
import type { StatusName } from './protocol/status.ts';
import type { ReplyBudget } from './reply-budget.ts';
import { type KeptAnswer, refused, Slot, type SlotVerdict } from './slot.ts';

export interface SessionShape {
  /** 16 bytes, never the same twice. */
  readonly id: Uint8Array;
  readonly slots: number;
  readonly callbackSlots: number;
}

export class Session {
  readonly id: Uint8Array;
  readonly client: Client;
  readonly slotCount: number;
  readonly callbackSlotCount: number;
  readonly #clock: Clock;
  readonly #budget: ReplyBudget;
  /** Made when they are first used: most sessions use few. */
  readonly #slots: (Slot | undefined)[] = [];
  /** Connections that callbacks may take (RFC 8881 §2.10.3.1). */
  readonly #connections = new Set<Connection>();
  #backChannel: BackChannel | undefined;
  #running = 0;
  #ending: Promise<void> | undefined;
  #idle: () => void = () => {};

  constructor(client: Client, { id, slots, callbackSlots }: SessionShape, clock: Clock, budget: ReplyBudget) {
    this.id = id;
    this.client = client;
    this.slotCount = slots;
    this.callbackSlotCount = callbackSlots;
    this.#clock = clock;
    this.#budget = budget;
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections;
  }

  /** RFC 8881 §18.46.3, SEQ4_STATUS_BACKCHANNEL_FAULT. */
  get faulty(): boolean {
    return this.#backChannel?.faulty ?? false;
  }

  /** It is not being destroyed. */
  get alive(): boolean {
    return this.#ending === undefined;
  }

  bind(connection: Connection): void {
    this.#connections.add(connection);
    this.#backChannel?.bound();
  }

  unbind(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** Settles with the client's answer, or with undefined if it was not reached in time. */
  callback(callback: Callback): Promise<StatusName | undefined> {
    this.#backChannel ??= new BackChannel(this.#host, this.callbackSlotCount);
    return this.#backChannel.call(callback);
  }

  begin(index: number, seqid: number, digest: number): SlotVerdict {
    if (this.#ending !== undefined) return refused('DEADSESSION', 'the session is being destroyed');
    if (index >= this.slotCount) return refused('BADSLOT', `slot ${index} of ${this.slotCount}`);
    const slot = this.#slots[index] ?? new Slot();
    this.#slots[index] = slot;
    const keptBytes = slot.keptBytes;
    const verdict = slot.begin(seqid, digest);
    if (verdict.kind !== 'execute') return verdict;
    this.#budget.account(this.client, -keptBytes);
    this.#running++;
    return verdict;
  }

  /** Requests run in all slots: one that waits for layouts could keep their return out (dispatch.ts). */
  get isFull(): boolean {
    return this.#running >= this.slotCount;
  }

  /** Another reply may be kept. */
  get mayKeep(): boolean {
    return this.#budget.hasRoomFor(this.client);
  }

  /** `kept` is undefined if the answer need not be kept; `concerns`: `Slot.concerns`. */
  finish(index: number, kept: KeptAnswer | undefined, concerns: number | undefined): void {
    this.#slots[index]?.finish(kept, concerns);
    this.#budget.account(this.client, kept?.bytes ?? 0);
    this.#running--;
    if (this.#running === 0) this.#idle();
  }

  /**
   * Requests about the file that were answered, and whose answers the client has not been seen to have: it has not used
   * the slot again (RFC 8881 §2.10.6.3).
   */
  referring(ino: number | undefined): readonly ReferringCall[] {
    const calls: ReferringCall[] = [];
    for (const [index, slot] of this.#slots.entries()) {
      if (slot?.concerns === undefined || (ino !== undefined && slot.concerns !== ino)) continue;
      calls.push([this.id, index, slot.seqid]);
    }
    return calls;
  }

  /** Takes no request from here on; settles when those that run are over. */
  end(): Promise<void> {
    this.#ending ??= new Promise((resolve) => {
      this.#idle = () => {
        this.#forget();
        resolve();
      };
      this.#backChannel?.close();
      if (this.#running === 0) this.#idle();
    });
    return this.#ending;
  }

  #forget(): void {
    for (const slot of this.#slots) this.#budget.account(this.client, -(slot?.keptBytes ?? 0));
    this.#slots.length = 0;
  }

  get #host() {
    const { id, connections } = this;
    const clock = this.#clock;
    return { id, connections, now: () => clock.now(), after: clock.after.bind(clock) };
  }
}
