/**
 * Session buffers: memory of the device that a client has for as long as its session, for whatever its devices put there.
 *
 * To the layout table they are layouts for writing on a file whose byte N is byte N of the device, which no inode is. So they
 * end as layouts do: a client that is fenced, evicted, or comes back as another incarnation loses them, they are asked back
 * with a deadline and the fence behind it when the range is evacuated, and after a restart of the server the blocks stay out
 * of use until the client is known to reach them no more.
 *
 * - B1 All that is asked for, or nothing.
 * - B2 A buffer is on record before its client hears of it, and in the table in the same turn in which that is seen.
 * - B3 A client whose lease is over has them no longer: there is no courtesy for memory.
 * - B4 All clients together have no more than the server was told, and none more than half of it.
 */
import type { Filesystem } from '../fs/engine/filesystem.ts';
import type { BuffersRequest } from '../fs/engine/session-buffers.ts';
import { buffersIno } from '../fs/format/session-buffers.ts';
import { limits } from '../fs/limits.ts';
import { iomode, type Segment, type StateId } from '../layout/types.ts';
import { blockUp } from './blocks.ts';
import type { SessionCall } from './context.ts';
import type { LayoutLeases } from './leases.ts';
import { serverLimits } from './limits.ts';
import { wireLimits } from './protocol/limits.ts';
import type { BufferStatus } from './protocol/server-status.ts';
import { StatusError } from './protocol/status.ts';

/** Of one client: bytes by where each begins. */
type Known = Map<number, number>;

export class SessionBuffers {
  readonly #fs: Pick<Filesystem, 'layouts' | 'status'>;
  readonly #leases: LayoutLeases;
  readonly #bytesMax: number | undefined;
  /** As they were given out: what has ended since is found out by the table. */
  readonly #known = new Map<number, Known>();
  /** Being made, in bytes, by client. */
  readonly #coming = new Map<number, number>();

  /** @param bytesMax of all clients; serverLimits.buffersShare of the device where it is not said */
  constructor(fs: Pick<Filesystem, 'layouts' | 'status'>, leases: LayoutLeases, bytesMax: number | undefined) {
    this.#fs = fs;
    this.#leases = leases;
    this.#bytesMax = bytesMax;
  }

  /** @throws StatusError, FsError ENOSPC, EINVAL; nothing is allocated then (B1) */
  async allocate(
    request: BuffersRequest,
    call: SessionCall,
  ): Promise<{ stateid: StateId; offsets: readonly number[] }> {
    const { context, client } = call;
    const bytes = request.count * blockUp(request.length);
    this.#requireGrantable(call);
    this.#requireRoom(client.id, request.count, bytes);
    this.#coming.set(client.id, (this.#coming.get(client.id) ?? 0) + bytes);
    try {
      await context.clients.record(client);
      const offsets = await this.#fs.layouts.provideBuffers(request, client.id);
      return { stateid: this.#hold(offsets, blockUp(request.length), call), offsets };
    } finally {
      const coming = (this.#coming.get(client.id) ?? 0) - bytes;
      if (coming > 0) this.#coming.set(client.id, coming);
      else this.#coming.delete(client.id);
    }
  }

  /** @throws StatusError INVAL: one of them is none of the client's, or named twice, and none is freed; RECALLCONFLICT */
  free(client: number, offsets: readonly number[]): void {
    const own = this.#of(client);
    const unknown = offsets.find((offset) => !own.has(offset));
    if (unknown !== undefined) throw new StatusError('INVAL', `client ${client} has no buffer at byte ${unknown}`);
    if (new Set(offsets).size < offsets.length) throw new StatusError('INVAL', 'a buffer is named twice');
    let stateid = this.#stateOf(client);
    for (const offset of offsets) {
      stateid = this.#release(client, offset, own.get(offset) ?? 0, stateid);
      own.delete(offset);
    }
    const { table } = this.#leases;
    // Recalls that are out ask for more than single buffers: nothing is left to wait for.
    if (!table.holds(client, buffersIno) && table.hasState(client, buffersIno))
      this.#release(client, 0, Infinity, this.#stateOf(client));
    if (own.size === 0) this.#known.delete(client);
  }

  /** The last session of the client is gone, in order: by that it said that nothing of it uses them. */
  freeAll(client: number): void {
    try {
      this.free(client, [...this.#of(client).keys()]);
    } catch (error) {
      // They are asked back or revoked already, and go with that.
      if (!(error instanceof StatusError)) throw error;
    }
  }

  holdsAny(client: number): boolean {
    return this.#leases.table.holds(client, buffersIno);
  }

  /** Where those begin that have a byte of the range. */
  within(client: number, offset: number, length: number): readonly number[] {
    const own = [...this.#of(client)].filter(([start, bytes]) => start < offset + length && offset < start + bytes);
    return own.map(([start]) => start);
  }

  get bytesMax(): number {
    const { total } = this.#fs.status().blocks;
    return this.#bytesMax ?? blockUp(total * limits.blockSize * serverLimits.buffersShare);
  }

  status(): BufferStatus {
    const clients = [...this.#known.keys()].map((client) => {
      const own = this.#of(client);
      return { client, count: own.size, bytes: sum(own.values()) };
    });
    return { bytesMax: this.bytesMax, clients: clients.filter(({ count }) => count > 0) };
  }

  /** @throws StatusError GRACE, LAYOUTUNAVAILABLE, NOTSUPP */
  #requireGrantable({ context, client }: SessionCall): void {
    if (this.bytesMax === 0) throw new StatusError('NOTSUPP', 'this server gives no buffers', 'EOPNOTSUPP');
    if (this.#leases.grace.active)
      throw new StatusError('GRACE', 'what was given out before the restart may still be in use');
    const { peer } = client;
    if (peer?.verdict.allowed === false)
      throw new StatusError('LAYOUTUNAVAILABLE', `no buffers for ${peer.pci}: ${peer.verdict.reason}`);
    if (!context.fences.mayGrant(client))
      throw new StatusError(
        'LAYOUTUNAVAILABLE',
        'accesses of this client may take any time, and nothing could stop them',
      );
    context.drain.requireNone();
    this.#leases.requireRunning();
  }

  /** B4. @throws StatusError NOSPC */
  #requireRoom(client: number, count: number, bytes: number): void {
    const own = this.#of(client);
    if (own.size + count > wireLimits.buffersMax)
      throw new StatusError(
        'NOSPC',
        `client ${client} would have more than ${wireLimits.buffersMax} buffers`,
        'ENOSPC',
      );
    const most = this.bytesMax;
    const has = sum(own.values()) + (this.#coming.get(client) ?? 0);
    if (has + bytes > most / 2)
      throw new StatusError('NOSPC', `client ${client} has ${has} bytes of buffers, of at most ${most / 2}`, 'ENOSPC');
    const all = sum(this.status().clients.map((each) => each.bytes)) + sum(this.#coming.values());
    if (all + bytes > most)
      throw new StatusError('NOSPC', `all clients have ${all} bytes of buffers, of at most ${most}`, 'ENOSPC');
  }

  /** B2: between what the store says and this nothing else runs. @throws StatusError, and the blocks are free again */
  #hold(offsets: readonly number[], length: number, { context, client }: SessionCall): StateId {
    const held: number[] = [];
    let stateid = this.#stateOf(client.id);
    try {
      context.clients.requireLiving(client);
      for (const offset of offsets) {
        stateid = this.#holdOne(client.id, offset, length, stateid);
        held.push(offset);
      }
      if (stateid === undefined)
        throw new StatusError('SERVERFAULT', `client ${client.id} has no state of its buffers`);
      const own = this.#known.get(client.id) ?? new Map<number, number>();
      for (const offset of offsets) own.set(offset, length);
      this.#known.set(client.id, own);
      return stateid;
    } catch (error) {
      for (const offset of held) this.#release(client.id, offset, length, this.#stateOf(client.id));
      for (const offset of offsets.slice(held.length))
        this.#leases.releaseProvisional(client.id, buffersIno, [{ iomode: iomode.rw, offset, length }]);
      this.#leases.settle(client.id, buffersIno);
      throw error;
    }
  }

  #stateOf(client: number): StateId | undefined {
    return this.#leases.table.heldOn(client, buffersIno)?.stateid;
  }

  /** Answers the state that follows. @throws StatusError */
  #holdOne(client: number, offset: number, length: number, stateid: StateId | undefined): StateId {
    const leases = this.#leases;
    const { table } = leases;
    const range = { offset, length, minlength: length };
    const result = table.get(leases.now, { client, ino: buffersIno, iomode: iomode.rw, ...range, stateid });
    if (result.kind === 'refused') throw new StatusError(result.status, result.detail);
    leases.perform(result.actions);
    if (result.kind === 'conflict') {
      leases.endBreak(result.breakId);
      throw new StatusError('DELAY', `byte ${offset} of the device is being emptied`);
    }
    const confirmed = table.confirm(leases.now, result.grant);
    leases.perform(confirmed.actions);
    if (confirmed.kind === 'recalled') throw new StatusError('DELAY', `byte ${offset} of the device was asked back`);
    return confirmed.stateid;
  }

  /** Answers the state that follows; undefined: there is none. @throws StatusError */
  #release(client: number, offset: number, length: number, stateid: StateId | undefined): StateId | undefined {
    const leases = this.#leases;
    if (stateid === undefined) return undefined;
    const request = { client, ino: buffersIno, stateid, iomode: iomode.any, offset, length };
    const result = leases.table.return(leases.now, request);
    if (result.kind === 'refused') throw new StatusError(result.status, result.detail);
    leases.releaseProvisional(client, buffersIno, result.released);
    leases.settle(client, buffersIno);
    leases.perform(result.actions);
    return result.stateid;
  }

  /** What the client still has of what it was given. */
  #of(client: number): Known {
    const known = this.#known.get(client);
    if (known === undefined) return new Map();
    const segments = this.#leases.table.heldOn(client, buffersIno)?.segments ?? [];
    const held = segments.toSorted((a, b) => a.offset - b.offset);
    // Neither overlap, so that one pass over both will do: there may be thousands.
    let at = 0;
    for (const [start, bytes] of [...known].toSorted(([a], [b]) => a - b)) {
      while (endOf(held[at]) < start + bytes) at++;
      if ((held[at]?.offset ?? Infinity) > start) known.delete(start);
    }
    if (known.size === 0) this.#known.delete(client);
    return known;
  }
}

/** Past the last one nothing comes. */
function endOf(segment: Segment | undefined): number {
  return segment === undefined ? Infinity : segment.offset + segment.length;
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const each of numbers) total += each;
  return total;
}
