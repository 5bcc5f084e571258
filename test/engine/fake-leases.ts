import type { BreakReason, ByteRange, LayoutBreak, Leases } from '../../fs/engine/leases.ts';
import { Gate } from './fixture.ts';

export interface Asked {
  readonly ino: number;
  readonly offset: number;
  readonly length: number;
  readonly reason: BreakReason;
  readonly client: number | undefined;
}

interface Held extends ByteRange {
  readonly ino: number;
  readonly client: number;
  readonly mode: 'read' | 'write';
}

/** Layouts that are out, and what the engine asks about them. They come back when the test says so. */
export class FakeLeases implements Leases {
  /** Every question, in order. */
  readonly asked: Asked[] = [];
  /** Those that something stood in the way of. */
  readonly recalled: Asked[] = [];
  /** Breaks begun and not ended: grants are refused below them. */
  open = 0;
  readonly #held = new Set<Held>();
  readonly #waiting: { readonly gate: Gate; readonly obstacles: Set<Held> }[] = [];

  hold(ino: number, offset: number, length: number, client: number, mode: 'read' | 'write' = 'write'): Held {
    const held = { ino, offset, length, client, mode };
    this.#held.add(held);
    return held;
  }

  /** The client returns it; whoever waited for nothing else goes on. */
  giveBack(held: Held): void {
    this.#held.delete(held);
    for (const { gate, obstacles } of this.#waiting) {
      obstacles.delete(held);
      if (obstacles.size === 0) gate.open();
    }
  }

  giveBackAll(): void {
    for (const held of this.#held) this.giveBack(held);
  }

  breakLayouts(
    ino: number,
    range: ByteRange,
    reason: BreakReason,
    client: number | undefined,
  ): LayoutBreak | undefined {
    const question = { ino, offset: range.offset, length: range.length, reason, client };
    this.asked.push(question);
    const obstacles = new Set([...this.#held].filter((held) => stands(held, question)));
    if (obstacles.size === 0) return undefined;
    this.recalled.push(question);
    this.open++;
    const gate = new Gate();
    this.#waiting.push({ gate, obstacles });
    return {
      done: gate.passed,
      release: () => {
        this.open--;
      },
    };
  }
}

/** fs/engine/leases.ts says what each reason recalls. */
function stands(held: Held, { ino, offset, length, reason, client }: Asked): boolean {
  if (held.ino !== ino || held.offset >= offset + length || offset >= held.offset + held.length) return false;
  if (reason === 'write') return held.client !== client;
  return reason === 'unmap' || reason === 'remap' || held.mode === 'write';
}
