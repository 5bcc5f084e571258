import { fc } from '@fast-check/vitest';
import { expect } from 'vitest';
import { type BlockRange, type Role, Space } from '../../fs/space/space.ts';

export const totalBlocks = 96;
const reservedBlocks = [0, totalBlocks - 1];
const clients = [1, 2, 3];

/** What happens next. `at` and `length` are folded onto the blocks that the operation may be applied to. */
const operation = fc.record({
  kind: fc.constantFrom(
    'allocate',
    'allocateProvisional',
    'provisionalToFile',
    'releaseProvisional',
    'quarantineProvisional',
    'share',
    'release',
    'nextGroup',
    'durable',
    'hold',
    'dropHolds',
    'close',
    'reopen',
    'retire',
    'moveIn',
    'letGoOfKept',
  ),
  at: fc.nat(totalBlocks - 1),
  length: fc.integer({ min: 1, max: 24 }),
  client: fc.constantFrom(...clients),
  access: fc.constantFrom('read', 'write'),
  contiguous: fc.boolean(),
  align: fc.constantFrom(1, 4, 8),
  goal: fc.option(fc.nat(totalBlocks - 1), { nil: undefined }),
  owner: fc.option(fc.nat(3), { nil: undefined }),
  keep: fc.nat(16),
});
export type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;
export const operations = () => fc.array(operation, { maxLength: 60, size: 'max' });

interface ModelBlock {
  role: Role;
  openness: 'open' | 'withheld' | 'bad';
  readonly holders: Map<number, 'read' | 'write'>;
}

/** The rules of space, one block at a time, and the `Space` that must follow them. */
export class Model {
  readonly space: Space;
  readonly blocks: readonly ModelBlock[];
  #group = 1;
  #durable = 0;

  constructor() {
    this.space = Space.builder(
      totalBlocks,
      reservedBlocks.map((block) => ({ block, length: 1 })),
    ).finish();
    this.blocks = Array.from({ length: totalBlocks }, (_, block) => ({
      role: reservedBlocks.includes(block) ? { role: 'reserved' } : { role: 'free' },
      openness: 'open',
      holders: new Map(),
    }));
  }

  apply(op: Operation): void {
    switch (op.kind) {
      case 'allocate': {
        const isKept = this.#isKept();
        return this.#allocated(this.space.allocate(op.length, op), op, { role: 'file', count: 1 }, isKept);
      }
      case 'allocateProvisional': {
        const isKept = this.#isKept();
        const got = this.space.allocateProvisional(op.length, op.client, op);
        return this.#allocated(got, op, { role: 'provisional', client: op.client }, isKept);
      }
      case 'provisionalToFile':
        return this.#onRange(op, provisionalOf(op.client), (range) => {
          this.space.provisionalToFile(range, op.client);
          this.#change(range, () => ({ role: 'file', count: 1 }));
        });
      case 'releaseProvisional':
        return this.#onRange(op, provisionalOf(op.client), (range) => {
          this.space.releaseProvisional(range, this.#group, op.client);
          this.#change(range, (block) => this.#givenUp(block));
        });
      case 'quarantineProvisional':
        return this.#onRange(op, provisionalOf(op.client), (range) => {
          this.space.quarantineProvisional(range, op.client);
          this.#change(range, (block) => {
            block.holders.set(op.client, 'write');
            return { role: 'quarantined', group: -1 };
          });
        });
      case 'share':
        return this.#onRange(op, ofFile, (range) => {
          this.space.share(range);
          this.#change(range, ({ role }) => (role.role === 'file' ? { role: 'file', count: role.count + 1 } : role));
        });
      case 'release':
        return this.#onRange(op, ofFile, (range) => {
          this.space.release(range, this.#group);
          this.#change(range, (block) => {
            const count = block.role.role === 'file' ? block.role.count : 0;
            return count > 1 ? { role: 'file', count: count - 1 } : this.#givenUp(block);
          });
        });
      case 'nextGroup':
        this.#group++;
        return;
      case 'durable':
        this.#durable = Math.max(this.#durable, this.#group - 1 - (op.at % 3));
        this.space.durable(this.#durable);
        this.#change({ block: 0, length: totalBlocks }, (block) =>
          block.role.role === 'freeing' && block.role.group <= this.#durable ? freed(block) : block.role,
        );
        return;
      case 'hold':
        return this.#onRange(
          op,
          ({ role }) => role.role !== 'reserved',
          (range) => {
            this.space.hold(range, op.client, op.access);
            this.#change(range, ({ role, holders }) => {
              if (holders.get(op.client) !== 'write') holders.set(op.client, op.access);
              if (role.role === 'free' || role.role === 'withheld') return { role: 'quarantined', group: -1 };
              return role.role === 'freeing' ? { role: 'quarantined', group: role.group } : role;
            });
          },
        );
      case 'dropHolds': {
        const held = this.#runsOf(({ holders }) => holders.has(op.client));
        expect(this.space.dropHolds(op.client)).toEqual(held);
        this.#change({ block: 0, length: totalBlocks }, (block) => {
          const { role, holders } = block;
          const last = holders.delete(op.client) && holders.size === 0;
          if (!last || role.role !== 'quarantined') return role;
          return role.group <= this.#durable ? freed(block) : { role: 'freeing', group: role.group };
        });
        return;
      }
      case 'close':
        return this.#onRange(op, anyBlock, (range) => this.#close(range, () => this.space.close(range)));
      case 'reopen':
        return this.#onRange(op, anyBlock, (range) => {
          this.space.reopen(range);
          this.#change(range, (block) => {
            if (block.openness === 'withheld') block.openness = 'open';
            return block.role.role === 'withheld' ? freed(block) : block.role;
          });
        });
      case 'retire':
        return this.#onRange(op, anyBlock, (range) => {
          this.space.retire(range);
          this.#change(range, (block) => {
            block.openness = 'bad';
            return block.role.role === 'free' || block.role.role === 'withheld' ? freed(block) : block.role;
          });
        });
      case 'moveIn': {
        const target = this.space.setAside(op.length, op);
        if (target === undefined) {
          expect(this.#runsOf(({ role }) => role.role === 'free')).toEqual([]);
          return;
        }
        expect(target.length).toBeLessThanOrEqual(op.length);
        this.#close(target, () => undefined);
        this.space.occupy(target, 2);
        this.#change(target, ({ role }) => {
          expect(role).toEqual({ role: 'withheld' });
          return { role: 'file', count: 2 };
        });
        return;
      }
      case 'letGoOfKept':
        return this.space.letGoOfKept(op.at % 4);
    }
  }

  /** Everything that the space answers is what the blocks say, one by one. */
  check(): void {
    const expected = {
      total: totalBlocks,
      reserved: 0,
      free: 0,
      file: 0,
      shared: 0,
      provisional: 0,
      quarantined: 0,
      freeing: 0,
      withheld: 0,
      bad: 0,
    };
    for (const { role } of this.blocks) {
      expect(role.role, 'what is kept is free to the model').not.toBe('kept');
      if (role.role !== 'kept') expected[role.role]++;
      if (role.role === 'file' && role.count > 1) expected.shared++;
    }
    const roles = this.blocks.map((_, block) => this.space.roleOf(block));
    const isKept = roles.some(({ role }) => role === 'kept');
    expect(roles.map((role) => (role.role === 'kept' ? { role: 'free' } : role))).toEqual(
      this.blocks.map(({ role }) => role),
    );
    expect(this.#runsOf(({ role, holders }) => role.role === 'free' && holders.size > 0)).toEqual([]);
    expect(this.space.counts()).toEqual(expected);

    expect(this.space.free).toBe(expected.free);
    if (!isKept) {
      const free = this.#runsOf(({ role }) => role.role === 'free');
      expect(this.space.freeExtents()).toBe(free.length);
      expect(this.space.largestFree()).toBe(Math.max(0, ...free.map(({ length }) => length)));
    }

    const holders = this.blocks.map(() => new Map<number, string>());
    for (const { range, client, access } of this.space.holds()) {
      for (let block = range.block; block < range.block + range.length; block++) holders[block]?.set(client, access);
    }
    expect(holders).toEqual(this.blocks.map((block) => block.holders));
  }

  #isKept(): boolean {
    return this.blocks.some((_, block) => this.space.roleOf(block).role === 'kept');
  }

  #close(range: BlockRange, close: () => void): void {
    close();
    this.#change(range, (block) => {
      if (block.openness === 'open') block.openness = 'withheld';
      return block.role.role === 'free' ? freed(block) : block.role;
    });
  }

  /** @param isKept something was kept for files, which may have a goal, or an extent, that is free otherwise */
  #allocated(got: readonly BlockRange[] | undefined, op: Operation, role: Role, isKept: boolean): void {
    const free = this.#runsOf((block) => block.role.role === 'free');
    if (got === undefined) {
      const total = free.reduce((sum, run) => sum + run.length, 0);
      if (!op.contiguous) expect(total, 'refused although enough is free').toBeLessThan(op.length);
      const fits = free.some((run) => Math.ceil(run.block / op.align) * op.align + op.length <= run.block + run.length);
      if (!isKept) expect(fits && op.contiguous, 'refused although an extent holds it').toBe(false);
      return;
    }
    expect(got.reduce((sum, range) => sum + range.length, 0)).toBe(op.length);
    if (op.contiguous) {
      expect(got).toHaveLength(1);
      expect((got[0]?.block ?? Number.NaN) % op.align).toBe(0);
    } else if (op.goal !== undefined && !isKept && this.blocks[op.goal]?.role.role === 'free') {
      expect(got[0]?.block, 'a free goal is used first').toBe(op.goal);
    }
    for (const range of got) {
      this.#change(range, (block) => {
        expect(block.role, 'only free blocks are handed out, each once').toEqual({ role: 'free' });
        return role;
      });
    }
  }

  #givenUp({ holders }: ModelBlock): Role {
    return { role: holders.size > 0 ? 'quarantined' : 'freeing', group: this.#group };
  }

  #change({ block, length }: BlockRange, next: (block: ModelBlock) => Role): void {
    for (const each of this.blocks.slice(block, block + length)) each.role = next(each);
  }

  /** Applies to a part of the runs of blocks that qualify; nothing when there are none. */
  #onRange(op: Operation, qualifies: (block: ModelBlock) => boolean, action: (range: BlockRange) => void): void {
    const runs = this.#runsOf(qualifies);
    const run = runs[op.at % Math.max(1, runs.length)];
    if (run === undefined) return;
    const skip = op.at % run.length;
    action({ block: run.block + skip, length: Math.min(op.length, run.length - skip) });
  }

  #runsOf(qualifies: (block: ModelBlock) => boolean): { block: number; length: number }[] {
    const runs: { block: number; length: number }[] = [];
    for (const [i, each] of this.blocks.entries()) {
      if (!qualifies(each)) continue;
      const last = runs.at(-1);
      if (last !== undefined && last.block + last.length === i) last.length++;
      else runs.push({ block: i, length: 1 });
    }
    return runs;
  }
}

const freed = ({ openness }: ModelBlock): Role => ({ role: openness === 'open' ? 'free' : openness });
const anyBlock = ({ role }: ModelBlock) => role.role !== 'reserved';
const ofFile = ({ role }: ModelBlock) => role.role === 'file';
const provisionalOf =
  (client: number) =>
  ({ role }: ModelBlock) =>
    role.role === 'provisional' && role.client === client;
