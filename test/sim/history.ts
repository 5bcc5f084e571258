/**
 * What programs did to blocks, and whether one order of it explains all that they saw (Herlihy and Wing, linearizability):
 * each block of each file is a register by itself. What was not synced may be gone after the server crashed.
 */

/** 0: zeros. Every other value is written once. */
export type Value = number;

interface Operation {
  /** `cut`: zeros for what lies past the new end; but what another has written there and not synced it may not meet. */
  /** `told`: it heard that something it did with the file failed, and so knows that writes before may be lost. */
  readonly kind: 'write' | 'read' | 'sync' | 'told' | 'cut' | 'crash' | 'revoked';
  readonly who: string;
  value: Value;
  readonly invoked: number;
  /** Infinity: nobody knows whether it happened. */
  responded: number;
  /** Of one that may not have happened: later than this it does not. */
  until?: number;
  /** It may happen more than once between the two. */
  repeats: boolean;
  /** A client's read through the server need not see what another client has not synced (docs/client.md, Write). */
  lags: boolean;
}

/** Who works beside the server. */
export const local = 'local';

/** Virtual ms after which nothing of a request that its client gave up is on its way, and after which a client knows of its loss. */
const lateMs = 5000;
const unheardMs = 12_000;

/** States looked at for one register before the search gives up: then it is neither explained nor not. */
const statesMax = 20_000;

export class History {
  readonly #registers = new Map<string, Operation[]>();
  readonly #losses: Operation[] = [];
  readonly #tainted = new Set<string>();
  readonly #now: () => number;
  readonly #leaseMs: number;
  #values = 0;

  constructor(now: () => number, leaseMs: number) {
    this.#now = now;
    this.#leaseMs = leaseMs;
  }

  /** A value that was never written. */
  newValue(): Value {
    return ++this.#values;
  }

  /** Begins an operation; the answer ends it. One that is never ended may or may not have happened. */
  begin(
    kind: 'write' | 'read' | 'sync' | 'told' | 'cut',
    who: string,
    register: string,
    value: Value = 0,
  ): (seen?: Value, lags?: boolean) => void {
    const operation: Operation = {
      kind,
      who,
      value,
      invoked: this.#now(),
      responded: Infinity,
      repeats: false,
      lags: false,
    };
    let isKept = kind === 'write' || kind === 'cut';
    if (isKept) this.#of(register).push(operation);
    return (seen, lags = false) => {
      operation.lags = lags;
      operation.responded = this.#now();
      if (seen !== undefined) operation.value = seen;
      if (!isKept) this.#of(register).push(operation);
      isKept = true;
    };
  }

  get now(): number {
    return this.#now();
  }

  /** An operation that is over. */
  add(
    kind: 'read' | 'write',
    who: string,
    register: string,
    value: Value,
    invoked: number,
    responded: number,
    lags: boolean,
  ): void {
    this.#of(register).push({ kind, who, value, invoked, responded, repeats: false, lags });
  }

  crashed(): void {
    this.#losses.push({
      kind: 'crash',
      who: 'server',
      value: 0,
      invoked: this.#now(),
      responded: this.#now(),
      repeats: false,
      lags: false,
    });
  }

  /** From now on what it wrote and did not sync may be lost. */
  revoked(who: string): void {
    this.#losses.push(lossOf(who, this.#now()));
  }

  /** Nobody knows what it holds from now on. */
  taint(register: string): void {
    this.#tainted.add(register);
  }

  /** Blocks for which the search gave up. */
  undecided = 0;

  get size(): number {
    let size = 0;
    for (const operations of this.#registers.values()) size += operations.length;
    return size;
  }

  /** What cannot be explained, for people; undefined: all can. */
  check(): string | undefined {
    this.#limitLate();
    for (const [register, operations] of this.#registers) {
      if (this.#tainted.has(register)) continue;
      const all = [...operations, ...this.#losses, ...this.#unheard(operations)].sort((a, b) => a.invoked - b.invoked);
      for (const each of all) each.repeats = this.#mayRepeat(each);
      const verdict = explains(all);
      if (verdict === undefined) this.undecided++;
      if (verdict !== false) continue;
      const from = firstUnexplained(all);
      const lines = all.map((each) => `${each.responded === from ? '▶' : ' '} ${lineOf(each)}`);
      return [`block ${register} cannot be explained:`, ...lines].join('\n');
    }
    return undefined;
  }

  /** A program does one thing after the other: what it did not end had failed when it began the next. */
  #limitLate(): void {
    const begun = new Map<string, number[]>();
    const all = [...this.#registers.values()].flat();
    for (const { who, invoked } of all) {
      const known = begun.get(who);
      if (known === undefined) begun.set(who, [invoked]);
      else known.push(invoked);
    }
    for (const times of begun.values()) times.sort((a, b) => a - b);
    for (const each of all) {
      if (each.responded !== Infinity) continue;
      const next = begun.get(each.who)?.find((time) => time > each.invoked);
      if (next !== undefined) each.until = next + lateMs;
    }
  }

  /**
   * A client hears of the server's crash later: until then it sees what it wrote, which nobody else does before it is
   * synced (docs/client.md, Write), and what it still writes is lost as well.
   */
  #unheard(operations: readonly Operation[]): readonly Operation[] {
    return this.#losses
      .filter(({ kind }) => kind === 'crash')
      .flatMap(({ invoked }) => {
        const writers = operations.filter((each) => each.kind === 'write' && each.who !== local);
        const those = writers.filter((each) => each.invoked < invoked + this.#leaseMs);
        return [...new Set(those.map(({ who }) => who))].map((who) => lossOf(who, invoked));
      });
  }

  /** What a client was doing when the server forgot it, it does again as a new one (docs/client.md, STATE_LOST). */
  #mayRepeat({ kind, who, invoked, responded }: Operation): boolean {
    const isOf = (loss: Operation): boolean => loss.kind === 'crash' || loss.who === who;
    const isMet = this.#losses.some((loss) => isOf(loss) && invoked <= loss.invoked && loss.invoked <= responded);
    return kind === 'write' && who !== local && isMet;
  }

  #of(register: string): Operation[] {
    let operations = this.#registers.get(register);
    if (operations === undefined) {
      operations = [];
      this.#registers.set(register, operations);
    }
    return operations;
  }
}

function lossOf(who: string, invoked: number): Operation {
  const until = invoked + unheardMs;
  return { kind: 'revoked', who, value: 0, invoked, responded: Infinity, until, repeats: false, lags: false };
}

interface State {
  /** Operations that have happened: all below `from`, and these. */
  readonly from: number;
  readonly done: ReadonlySet<number>;
  /** When the latest of them was invoked: all others happen later. */
  readonly time: number;
  readonly value: Value;
  readonly writer: string;
  /** What a crash may bring back. */
  readonly back: readonly Value[];
  /** Clients whose write is lost, and whose next sync may not succeed. */
  readonly owed: readonly string[];
}

/** Wing and Gong's search, with the states seen before left out. */
function explains(operations: readonly Operation[]): boolean | undefined {
  const mayLose = operations.some(({ kind, lags }) => lags || kind === 'cut' || kind === 'crash' || kind === 'revoked');
  const seen = new Set<string>();
  const stack: State[] = [{ from: 0, done: new Set(), time: 0, value: 0, writer: '', back: [], owed: [] }];
  for (let state = stack.pop(); state !== undefined; state = stack.pop()) {
    const key = `${state.from} ${[...state.done].sort((a, b) => a - b).join()} ${state.value} ${state.writer} ${state.back.join()} ${state.owed.join()}`;
    if (seen.has(key)) continue;
    seen.add(key);
    if (seen.size > statesMax) return undefined;
    let isOver = true;
    let deadline = Infinity;
    const following: State[] = [];
    for (let index = state.from; index < operations.length; index++) {
      const next = operations[index];
      if (next === undefined || state.done.has(index) || isPast(next, state.time)) continue;
      if (next.responded !== Infinity) isOver = false;
      if (next.invoked > deadline) break;
      deadline = Math.min(deadline, next.responded);
      const applied = apply(state, next, index, operations);
      following.push(...(mayLose ? applied : applied.map((each) => ({ ...each, back: [] }))));
    }
    if (isOver) return true;
    // What began first mostly happened first.
    stack.push(...following.toReversed());
  }
  return false;
}

/** When the first operation ended that makes it impossible. */
function firstUnexplained(operations: readonly Operation[]): number {
  const ends = operations.map(({ responded }) => responded).filter((end) => end !== Infinity);
  const isExplained = (end: number): boolean =>
    false !==
    explains(
      operations
        .filter(({ invoked }) => invoked <= end)
        .map((each) => ({ ...each, responded: each.responded <= end ? each.responded : Infinity }))
        .filter(({ kind, responded }) => kind !== 'read' || responded !== Infinity),
    );
  return ends.sort((a, b) => a - b).find((end) => !isExplained(end)) ?? Infinity;
}

function isPast({ until = Infinity }: Operation, time: number): boolean {
  return until < time;
}

function apply(state: State, operation: Operation, index: number, operations: readonly Operation[]): State[] {
  const { kind, value, who, repeats, lags } = operation;
  if (kind === 'read' && value !== state.value) {
    const isOthers = state.writer !== who && state.writer !== local;
    if (!lags || !isOthers || !state.back.includes(value)) return [];
  }
  const done = new Set(state.done).add(index);
  const time = Math.max(state.time, operation.invoked);
  const isBehind = (at: number): boolean => {
    const other = operations[at];
    return done.delete(at) || (other !== undefined && isPast(other, time));
  };
  let { from } = state;
  while (isBehind(from)) from++;
  const next = { ...state, from, done, time };
  const lost = (old: Value): State => {
    const isOwed = state.writer !== local && state.writer !== '' && isDone(operations, state.value);
    const owed = isOwed ? [...new Set([...state.owed, state.writer])].sort() : state.owed;
    return { ...next, value: old, writer: '', back: state.back, owed };
  };
  if (kind === 'cut' && state.writer !== who && state.writer !== local && state.back.length > 0) {
    const cut = { ...next, value: 0, writer: who, back: [...new Set([...state.back, state.value])], owed: [] };
    return [cut, next];
  }
  if (kind === 'write' || kind === 'cut') {
    const back = state.back.includes(state.value) ? state.back : [...state.back, state.value];
    const owed = state.owed.filter((each) => each !== who);
    const written = { ...next, value, writer: who, back, owed };
    return repeats && value !== state.value ? [written, { ...state, value, writer: who, back, owed }] : [written];
  }
  if (kind === 'told') return [{ ...next, owed: state.owed.filter((each) => each !== who) }];
  if (kind === 'sync' && state.owed.includes(who)) return [];
  if (kind === 'sync') return [state.writer === who ? { ...next, back: [] } : next];
  if (kind === 'crash') return [next, ...state.back.map(lost)];
  if (kind === 'revoked') return state.writer === who ? state.back.map(lost) : [];
  return [next];
}

/** Whoever wrote the value knows that it did. */
function isDone(operations: readonly Operation[], value: Value): boolean {
  return operations.some((each) => each.kind === 'write' && each.value === value && each.responded !== Infinity);
}

function lineOf({ kind, who, value, invoked, responded }: Operation): string {
  const until = responded === Infinity ? 'unknown' : responded.toFixed(3);
  const what = kind === 'write' || kind === 'read' ? `${kind} ${value}` : kind;
  return `${invoked.toFixed(3)}..${until} ${who} ${what}`;
}
