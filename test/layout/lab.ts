import { Layouts } from '../../layout/layouts.ts';
import type {
  Action,
  BreakReason,
  GetRequest,
  GetResult,
  Iomode,
  LayoutOptions,
  ReturnResult,
  StateId,
} from '../../layout/types.ts';

export const read: Iomode = 1;
export const rw: Iomode = 2;
export const any = 3;

export const deadlineMs = 90_000;

type Kind<T extends { readonly kind: string }, K extends T['kind']> = Extract<T, { readonly kind: K }>;

/** The result, known to be of that kind. */
export function expectKind<T extends { readonly kind: string }, K extends T['kind']>(result: T, kind: K): Kind<T, K> {
  if (!isKind(result, kind)) throw new Error(`expected ${kind}, got ${JSON.stringify(result)}`);
  return result;
}

function isKind<T extends { readonly kind: string }, K extends T['kind']>(result: T, kind: K): result is Kind<T, K> {
  return result.kind === kind;
}

type Of<K extends Action['type']> = Extract<Action, { readonly type: K }>;

export function actionsOf<K extends Action['type']>(actions: readonly Action[], type: K): Of<K>[] {
  return actions.filter((action): action is Of<K> => action.type === type);
}

/** The one action there is, of that type. */
export function only<K extends Action['type']>(actions: readonly Action[], type: K): Of<K> {
  const [first] = actionsOf(actions, type);
  if (first === undefined || actions.length !== 1) {
    throw new Error(`expected one ${type}, got ${JSON.stringify(actions)}`);
  }
  return first;
}

/** A table whose stateids are numbered. */
export function newLayouts(options: Partial<LayoutOptions>): Layouts {
  let others = 0;
  return new Layouts({
    recallDeadlineMs: deadlineMs,
    newOther: () => (++others).toString(16).padStart(24, '0'),
    segmentsPerClientMax: 1000,
    segmentsHighMark: 10_000,
    segmentsMax: 20_000,
    ...options,
  });
}

/** A table with the shortest way to say who asks for what. Every client's newest stateid is remembered, on file 1. */
export class Lab {
  readonly layouts: Layouts;
  now = 1000;
  readonly #stateids = new Map<string, StateId>();

  constructor(options: Partial<LayoutOptions> = {}) {
    this.layouts = newLayouts(options);
  }

  stateid(client: number, ino = 1): StateId | undefined {
    return this.#stateids.get(`${client}/${ino}`);
  }

  /** With the stateid that the client has, if it has one. */
  get(
    client: number,
    iomode: number,
    offset: number,
    length: number,
    more: Partial<GetRequest> = {},
    own?: number,
  ): GetResult {
    const ino = more.ino ?? 1;
    const stateid = this.stateid(client, ino);
    return this.layouts.get(this.now, { client, ino, iomode, offset, length, minlength: 0, stateid, ...more }, own);
  }

  reserve(
    client: number,
    iomode: number,
    offset: number,
    length: number,
    more: Partial<GetRequest> = {},
    own?: number,
  ): number {
    return expectKind(this.get(client, iomode, offset, length, more, own), 'reserved').grant;
  }

  confirm(client: number, grant: number, ino = 1): readonly Action[] {
    const granted = expectKind(this.layouts.confirm(this.now, grant), 'granted');
    this.#stateids.set(`${client}/${ino}`, granted.stateid);
    return granted.actions;
  }

  /** Asks and gets. */
  grant(client: number, iomode: number, offset: number, length: number, more: Partial<GetRequest> = {}): StateId {
    const ino = more.ino ?? 1;
    this.confirm(client, this.reserve(client, iomode, offset, length, more), ino);
    const stateid = this.stateid(client, ino);
    if (stateid === undefined) throw new Error('a grant without a stateid');
    return stateid;
  }

  /** Asks and has to wait. */
  wait(
    client: number,
    iomode: number,
    offset: number,
    length: number,
    own?: number,
  ): { breakId: number; actions: readonly Action[] } {
    return expectKind(this.get(client, iomode, offset, length, {}, own), 'conflict');
  }

  refusal(result: GetResult | ReturnResult): string {
    return expectKind<GetResult | ReturnResult, 'refused'>(result, 'refused').status;
  }

  return(client: number, iomode: number, offset: number, length: number, stateid = this.stateid(client)): ReturnResult {
    if (stateid === undefined) throw new Error(`client ${client} has no stateid`);
    return this.layouts.return(this.now, { client, ino: 1, iomode, offset, length, stateid });
  }

  /** Returns and is answered; what follows. */
  giveBack(client: number, iomode: number, offset: number, length: number): readonly Action[] {
    const returned = expectKind(this.return(client, iomode, offset, length), 'returned');
    if (returned.stateid === undefined) this.#stateids.delete(`${client}/1`);
    else this.#stateids.set(`${client}/1`, returned.stateid);
    return returned.actions;
  }

  /** An operation that has to wait. */
  break(
    reason: BreakReason,
    offset: number,
    length: number,
    client?: number,
  ): { breakId: number; actions: readonly Action[] } {
    const begun = this.layouts.break(this.now, { ino: 1, offset, length, reason, client });
    if (begun === undefined) throw new Error('nothing was in the way');
    return begun;
  }

  segments(client: number): string[] {
    return this.layouts
      .held()
      .filter((held) => held.client === client)
      .flatMap((held) => held.segments)
      .map(({ iomode, offset, length }) => `${iomode === read ? 'read' : 'rw'} ${offset}+${length}`);
  }
}
