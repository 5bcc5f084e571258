/** All sessions, by their ids and by the connections that are bound to them. */
import { randomBytes } from 'node:crypto';
import type { Client } from './client.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { wireLimits } from './protocol/limits.ts';
import { StatusError } from './protocol/status.ts';
import { ReplyBudget } from './reply-budget.ts';
import { Session, type SessionShape } from './session.ts';

const keyBytes = 6;

export type WantedSession = Pick<SessionShape, 'slots' | 'callbackSlots'>;

export class Sessions {
  readonly replies = new ReplyBudget();
  readonly #clock: Clock;
  /** By `keyOf`. */
  readonly #byId = new Map<number, Session>();
  readonly #bound = new Map<Connection, Set<Session>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws StatusError BADSESSION */
  find(id: Uint8Array): Session {
    const session = this.#byId.get(keyOf(id));
    if (session === undefined || Buffer.compare(session.id, id) !== 0)
      throw new StatusError('BADSESSION', 'no such session, or it ended with its client');
    return session;
  }

  create(client: Client, { slots, callbackSlots }: WantedSession): Session {
    const shape = {
      id: this.#newId(),
      slots: Math.min(Math.max(slots, 1), wireLimits.slotsMax),
      callbackSlots: Math.min(Math.max(callbackSlots, 1), wireLimits.callbackSlotsMax),
    };
    const session = new Session(client, shape, this.#clock, this.replies);
    client.sessions.add(session);
    this.#byId.set(keyOf(session.id), session);
    return session;
  }

  /** Callbacks of the session may take the connection. @throws StatusError DEADSESSION */
  bind(session: Session, connection: Connection): void {
    if (!session.alive) throw new StatusError('DEADSESSION', 'the session is being destroyed');
    if (connection.closed) return;
    session.bind(connection);
    const bound = this.#bound.get(connection) ?? new Set();
    this.#bound.set(connection, bound.add(session));
  }

  /** Answers the sessions that it was bound to. */
  unbind(connection: Connection): readonly Session[] {
    const sessions = [...(this.#bound.get(connection) ?? [])];
    for (const session of sessions) session.unbind(connection);
    this.#bound.delete(connection);
    return sessions;
  }

  /** Requests that run in it are waited for; what comes meanwhile is DEADSESSION (RFC 8881 §18.37). */
  async destroy(session: Session): Promise<void> {
    await session.end();
    this.#delete(session);
  }

  /** All sessions of a client that has ended, at once. Answers the connections that they had. */
  dropAll(client: Client): readonly Connection[] {
    const sessions = [...client.sessions];
    const connections = sessions.flatMap((session) => [...session.connections]);
    for (const session of sessions) {
      this.#delete(session);
      void session.end();
    }
    return connections;
  }

  #newId(): Uint8Array {
    let id = randomBytes(16);
    while (this.#byId.has(keyOf(id))) id = randomBytes(16);
    return id;
  }

  #delete(session: Session): void {
    this.#byId.delete(keyOf(session.id));
    session.client.sessions.delete(session);
    for (const connection of session.connections) {
      const bound = this.#bound.get(connection);
      bound?.delete(session);
      if (bound?.size === 0) this.#bound.delete(connection);
    }
  }
}

/** As much of an id as a number holds: every request looks for its session, and a string would have to be made for that. */
function keyOf(id: Uint8Array): number {
  let key = 0;
  for (let at = 0; at < keyBytes; at++) key = key * 256 + (id[at] ?? 0);
  return key;
}
