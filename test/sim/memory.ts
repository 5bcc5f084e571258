/**
 * The device's memory under watch: who may touch which block, as the wire says it, and every access held against that.
 *
 * - M1 A client moves bytes only from and to blocks that it was granted and has not given back, and writes only where the
 *   grant lets it.
 * - M2 Nobody else gets, and the server does not store to, a block that a client was granted and has neither given back nor
 *   declared unreachable by a new incarnation or an administrator's word. A fence alone does not lift that: nothing on a
 *   raw BAR stops a late access.
 * - M3 A device id from before a fence of its client, or from a former run of the server, is not answered any more.
 * - M4 Who keeps to the rules answers a callback that comes again as the first time (RFC 8881 §2.10.6).
 * - M5 What is reclaimed was granted to the owner for writing, just there, and RECLAIM_COMPLETE has not been said (RFC 8881
 *   §18.42, §18.51).
 */
import type { SynchronousEngine } from '../../client/dma/engine.ts';
import { limits } from '../../fs/limits.ts';
import { iomode } from '../../layout/types.ts';
import {
  type CallbackReplyFrame,
  callbacks,
  frameKind,
  operations,
  type ReplyFrame,
  type RequestFrame,
  status,
} from '../../mds/protocol/index.ts';
import { Copies, sectorSize } from './dma.ts';
import {
  type Grant,
  overlaps,
  readBelow,
  text,
  within,
  without,
  withoutForgotten,
  withoutOld,
  withoutState,
} from './held-grants.ts';
import { type Asked, type Committed, framesIn, Holder, hex, revoked, state, voidDevices, Wire } from './holder.ts';
import { type Loop, loop, type Process } from './loop.ts';
import type { Watcher } from './machine.ts';
import type { Socket, Tap } from './network.ts';

const { blockSize } = limits;

export class Violation extends Error {}

/** A message leaves: a layout is granted, an unstable WRITE or a callback is answered. */
export type Moment = 'granted' | 'written' | 'answered';

export class Memory implements Tap, Watcher {
  readonly bytes: Buffer;
  /** What a loss of power leaves for certain. */
  readonly #persistent: Buffer;
  readonly #loop: Loop;
  readonly #holders = new Map<Process, Holder>();
  readonly #onGrant = new Map<Process, (grant: Grant) => void>();
  readonly #liars = new Set<Process>();
  readonly #wires = new WeakMap<Socket, Wire>();
  readonly #say: (line: string) => void;
  #server: Process | undefined;
  violation: Violation | undefined;
  /** Called with the client that it is about. */
  onMoment: (moment: Moment, process: Process) => void = () => {};

  constructor(simulated: Loop, size: number, say: (line: string) => void) {
    this.#loop = simulated;
    this.bytes = Buffer.alloc(size);
    this.#persistent = Buffer.alloc(size);
    this.#say = say;
  }

  serverIs(process: Process): void {
    this.#server = process;
    for (const holder of this.#holders.values()) {
      holder.running.clear();
      holder.fenced = true;
      voidDevices(holder);
    }
  }

  /** It keeps to no rule. */
  lies(process: Process): void {
    this.#liars.add(process);
  }

  /** Answers its process. */
  fenced(clientId: number): Process | undefined {
    const holder = [...this.#holders.values()].find((each) => each.clientIds.has(clientId));
    if (holder !== undefined) holder.fenced = true;
    if (holder?.lastClientId === clientId) voidDevices(holder);
    return holder?.process;
  }

  /** As the bytes were when that was asked for. */
  persisted(offset: number, bytes: Uint8Array): void {
    this.#persistent.set(bytes, offset);
  }

  /** Of what was stored and not made persistent any part may be gone. */
  losePower(): void {
    for (let at = 0; at < this.bytes.length; at += sectorSize) {
      const sector = this.bytes.subarray(at, at + sectorSize);
      const persistent = this.#persistent.subarray(at, at + sectorSize);
      if (Buffer.compare(sector, persistent) === 0) continue;
      if (this.#loop.random.oneIn(2)) persistent.set(sector);
      else sector.set(persistent);
    }
  }

  /** What the process was granted and has not given back by its own word. */
  reachOf(process: Process): readonly Grant[] {
    return this.#holders.get(process)?.may ?? [];
  }

  /** Called with all that the process is granted for writing. */
  onGrant(process: Process, task: (grant: Grant) => void): void {
    this.#onGrant.set(process, task);
  }

  engineOf(process: Process): SynchronousEngine {
    const copies = new Copies(this.#loop, process);
    return {
      name: 'simulated',
      synchronous: true,
      size: this.bytes.length,
      writable: true,
      read: (at, target) => {
        // The superblock tells whether this is the right memory.
        if (at === 0) return target.set(this.bytes.subarray(0, target.length));
        copies.run(at, target.length, (from, count) => {
          this.#touch(process, at + from, count, false);
          target.set(this.bytes.subarray(at + from, at + from + count), from);
        });
      },
      write: (at, source) => {
        copies.run(at, source.length, (from, count) => {
          this.#touch(process, at + from, count, true);
          this.bytes.set(source.subarray(from, from + count), at + from);
        });
      },
      close: async () => {},
    };
  }

  serverWrites(offset: number, source: Uint8Array): void {
    const { length } = source;
    // What lies past the end of a file is zeroed below those who read it, and know not to look there.
    const isZeros = source.every((byte) => byte === 0);
    // Where a fence finds no room to move the last block away from its client, only what is past the end there is zeroed: less
    // than a block, up to its end.
    const isTail = isZeros && length < blockSize && (offset + length) % blockSize === 0;
    for (const holder of this.#holders.values()) {
      const isHurt = ({ writable }: Grant): boolean =>
        writable ? !(holder.fenced && isTail) : !(holder.fenced || isZeros);
      const grant = holder.kept.find((each) => isHurt(each) && overlaps(each, offset, length));
      if (grant === undefined || holder.running.size > 0) continue;
      this.#violated(
        `M2: the server stores to ${offset}+${length}, which ${holder.process.name} holds: ${text(grant)}`,
      );
    }
  }

  sent(from: Socket, chunk: Uint8Array): void {
    const wire = this.#wire(from);
    const toServer = from.process !== this.#server;
    const frames = framesIn(toServer ? wire.toServer : wire.toClient, chunk);
    wire.framesOf.set(chunk, frames);
    for (const frame of frames) {
      if (frame[0] === frameKind.request) this.#asking(wire, from.process, frame[6], frame[7]);
      else if (frame[0] === frameKind.reply) this.#replied(wire, frame);
      else if (frame[0] === frameKind.callback) wire.calledBack.set(frame[1], frame);
      else this.#answers(wire, from.process, frame);
    }
  }

  arrived(at: Socket, chunk: Uint8Array): void {
    if (at.process !== this.#server) return;
    const wire = this.#wire(at);
    for (const frame of wire.framesOf.get(chunk) ?? []) {
      if (frame[0] === frameKind.request) this.#asked(wire, frame[1], askedBy(frame));
      else if (frame[0] === frameKind.callbackReply && frame[2] === status.NOMATCHING_LAYOUT)
        this.#noMatch(wire, frame[1], 'kept');
    }
  }

  #wire(socket: Socket): Wire {
    const known = this.#wires.get(socket);
    if (known !== undefined) return known;
    const wire = new Wire();
    this.#wires.set(socket, wire);
    if (socket.peer !== undefined) this.#wires.set(socket.peer, wire);
    return wire;
  }

  /** The client says it: from now on it may not what it gives back. */
  #asking(wire: Wire, process: Process, number: number, args: readonly unknown[]): void {
    if (number === operations.EXCHANGE_ID.number && operations.EXCHANGE_ID.isRequest(args)) {
      const owner = Buffer.from(args[0]).toString();
      const verifier = Buffer.from(args[1]).toString('hex');
      let holder = this.#holders.get(process);
      if (holder === undefined) {
        holder = new Holder(process, owner);
        this.#holders.set(process, holder);
      }
      if (holder.verifier !== verifier) {
        holder.may = [];
        this.#say(`  ${process.name} is a new incarnation`);
      }
      holder.verifier = verifier;
    }
    wire.holder ??= this.#holders.get(process);
    const { holder } = wire;
    if (holder !== undefined && number === operations.FREE_STATEID.number && operations.FREE_STATEID.isRequest(args)) {
      holder.may = withoutState(holder, holder.may, args[0]);
      this.#say(`  ${process.name} frees a revoked layout`);
    }
    if (holder !== undefined && number === operations.LAYOUTGET.number && operations.LAYOUTGET.isRequest(args)) {
      holder.may = withoutForgotten(holder, without(holder.may, readBelow(args)), args);
    }
    if (holder !== undefined && number === operations.LAYOUTCOMMIT.number && operations.LAYOUTCOMMIT.isRequest(args)) {
      holder.may = withoutOld(holder.may, args);
    }
    if (holder !== undefined && number === operations.LAYOUTRETURN.number && operations.LAYOUTRETURN.isRequest(args)) {
      holder.may = without(holder.may, args);
      this.#say(`  ${holder.process.name} returns ${args[0]} of inode ${args[1]}: ${args[3]} ${args[4]}+${args[5]}`);
    }
  }

  /** The server hears it. */
  #asked(wire: Wire, xid: number, asked: Asked): void {
    wire.asked.set(xid, asked);
    const { holder } = wire;
    if (holder === undefined) return;
    const { number, args } = asked;
    holder.running.add(`${xid}`);
    if (number === operations.LAYOUTRETURN.number && operations.LAYOUTRETURN.isRequest(args)) {
      holder.kept = without(holder.kept, args);
    } else if (number === operations.LAYOUTCOMMIT.number && operations.LAYOUTCOMMIT.isRequest(args)) {
      holder.kept = withoutOld(holder.kept, args);
    } else if (number === operations.LAYOUTGET.number && operations.LAYOUTGET.isRequest(args)) {
      holder.kept = withoutForgotten(holder, without(holder.kept, readBelow(args)), args);
    } else if (number === operations.FREE_STATEID.number && operations.FREE_STATEID.isRequest(args)) {
      holder.kept = withoutState(holder, holder.kept, args[0]);
    } else if (number === operations.CREATE_SESSION.number) {
      // Only another verifier says that nothing of the former incarnation reaches the device any more.
      for (const other of this.#holders.values()) {
        const isFormer = other === holder ? holder.confirmed !== holder.verifier : other.verifier !== holder.verifier;
        if (other.owner === holder.owner && isFormer) this.#lift(other);
      }
      holder.confirmed = holder.verifier;
      holder.hasReclaimed = false;
    } else if (number === operations.EVICT.number && operations.EVICT.isRequest(args)) {
      for (const other of this.#holders.values())
        if (typeof args[0] === 'number' && other.clientIds.has(args[0])) this.#lift(other);
    }
  }

  #lift(holder: Holder): void {
    holder.fenced = false;
    holder.kept = holder.kept.filter((grant) => holder.may.includes(grant) && holder.process.alive);
  }

  #replied(wire: Wire, [, xid, number, results, , sequence]: ReplyFrame): void {
    const asked = wire.asked.get(xid);
    wire.asked.delete(xid);
    const { holder } = wire;
    if (asked === undefined || holder === undefined) return;
    holder.running.delete(`${xid}`);
    if (number !== status.OK) return;
    if (asked.number === operations.WRITE.number) this.onMoment('written', holder.process);
    if (asked.number === operations.LAYOUTGET.number) this.onMoment('granted', holder.process);
    if (asked.number === operations.EXCHANGE_ID.number && operations.EXCHANGE_ID.isReply(results)) {
      // A number that no record speaks of is given again after a restart.
      for (const other of this.#holders.values()) other.clientIds.delete(results[0]);
      holder.clientIds.add(results[0]);
      if (holder.lastClientId !== results[0]) {
        holder.devices.clear();
        holder.voidDevices.clear();
      }
      holder.lastClientId = results[0];
    }
    if (asked.number === operations.GETDEVICEINFO.number && operations.GETDEVICEINFO.isRequest(asked.args)) {
      const [device] = asked.args;
      const id = device === null ? undefined : hex(device);
      if (!isAgain(holder, asked) && id !== undefined && holder.voidDevices.has(id))
        this.#violated(`M3: ${holder.process.name} is told of device ${id}, which is void`);
    }
    if (asked.number === operations.LAYOUTRETURN.number && operations.LAYOUTRETURN.isRequest(asked.args)) {
      // Also what was granted between its arrival and its turn.
      holder.kept = without(holder.kept, asked.args);
    }
    if (asked.number === operations.RECLAIM_COMPLETE.number && !isAgain(holder, asked)) holder.hasReclaimed = true;
    if (asked.number === operations.LAYOUTCOMMIT.number && operations.LAYOUTCOMMIT.isRequest(asked.args)) {
      if (!isAgain(holder, asked)) this.#requireGranted(holder, asked.args);
    }
    if (asked.number !== operations.LAYOUTGET.number || !operations.LAYOUTGET.isReply(results)) return;
    if (!operations.LAYOUTGET.isRequest(asked.args)) return;
    const [ino] = asked.args;
    const [stateid, [mode, offset, length], extents] = results;
    const other = hex(stateid[1]);
    if (((sequence?.[0] ?? 0) & revoked) !== 0) {
      this.#say(`  ${holder.process.name} hears of a layout that was revoked meanwhile`);
      holder.may = holder.may.filter((grant) => grant.ino !== ino);
      return;
    }
    // Sent again, a reply tells the client of what it may, and the server keeps no more for it than it did.
    const grantName = `${other}/${stateid[0]}`;
    const isRepeated = holder.granted.has(grantName);
    if (isRepeated && stateid[0] <= (holder.denied.get(other) ?? 0)) return;
    for (const [kind, , , device] of extents) if (kind !== state.none && !isRepeated) holder.devices.add(hex(device));
    holder.granted.add(grantName);
    const isNewState = holder.others.get(ino) !== other;
    holder.others.set(ino, other);
    // A layout for writing takes the place of the client's own for reading.
    const replaced = isNewState ? [iomode.any, 0, Infinity] : [iomode.read, offset, mode === iomode.rw ? length : 0];
    const [gone = 0, from = 0, size = 0] = replaced;
    holder.may = without(holder.may, [1, ino, null, gone, from, size]);
    if (!isRepeated) holder.kept = without(holder.kept, [1, ino, null, gone, from, size]);
    for (const [kind, at, bytes, , storage] of extents) {
      if (kind === state.none) continue;
      const writable = kind !== state.read;
      const grant: Grant = { ino, iomode: mode, offset: at, length: bytes, storage, writable };
      this.#say(`  ${holder.process.name} is granted ${text(grant)}`);
      holder.may.push(grant);
      if (writable) this.#onGrant.get(holder.process)?.(grant);
      if (isRepeated) continue;
      this.#requireFree(holder, grant);
      holder.kept.push(grant);
      if (writable) holder.written.push(grant);
    }
  }

  #answers(wire: Wire, process: Process, [, xid, answer]: CallbackReplyFrame): void {
    const called = wire.calledBack.get(xid);
    if (
      called !== undefined &&
      wire.holder !== undefined &&
      answer !== status.BADSESSION &&
      !this.#liars.has(process)
    ) {
      const [, , session, slot, seqid] = called;
      const name = `${hex(session)}/${slot}/${seqid}`;
      const before = wire.holder.answers.get(name) ?? answer;
      if (before !== answer)
        this.#violated(`M4: ${process.name} answers callback ${name} with ${before}, then ${answer}`);
      wire.holder.answers.set(name, answer);
    }
    if (answer === status.NOMATCHING_LAYOUT) this.#noMatch(wire, xid, 'may');
    this.onMoment('answered', process);
  }

  /** By that the client says that it holds nothing of what is recalled. */
  #noMatch(wire: Wire, xid: number, of: 'may' | 'kept'): void {
    const args = wire.calledBack.get(xid)?.[7];
    const { holder } = wire;
    if (holder === undefined || !callbacks.CB_LAYOUTRECALL.isRequest(args)) return;
    const [kind, ino, stateid, mode, offset, length] = args;
    // One that was sent again says nothing of the state that took the place of the one it names.
    const isOther = ino !== null && stateid !== null && holder.others.get(ino) !== hex(stateid[1]);
    if (isOther) return;
    if (of === 'may' && stateid !== null) holder.denied.set(hex(stateid[1]), stateid[0]);
    holder[of] = without(holder[of], [kind, ino, null, mode, offset, length]);
  }

  #requireGranted({ owner, hasReclaimed, process }: Holder, [ino, , , , , reclaimed]: Committed): void {
    if (reclaimed === null) return;
    if (hasReclaimed) this.#violated(`M5: ${process.name} reclaims after RECLAIM_COMPLETE`);
    const ever = [...this.#holders.values()].filter((each) => each.owner === owner).flatMap(({ written }) => written);
    for (const [offset, length, storage] of reclaimed) {
      for (let at = offset; at < offset + length; at += blockSize) {
        const place = storage + at - offset;
        const isKnown = ever.some(
          (each) => each.ino === ino && within(each, at, blockSize) && each.storage + at - each.offset === place,
        );
        if (!isKnown) this.#violated(`M5: ${process.name} reclaims byte ${at} of inode ${ino} at ${place}`);
      }
    }
  }

  #requireFree(holder: Holder, grant: Grant): void {
    for (const other of this.#holders.values()) {
      if (other === holder) continue;
      const conflict = other.kept.find(
        (each) =>
          (each.writable || grant.writable) &&
          // Where a fence found no room for a copy the file goes on being read there, and is written elsewhere.
          !(other.fenced && each.ino === grant.ino && !(each.writable && grant.writable)) &&
          overlaps(each, grant.storage, grant.length),
      );
      if (conflict === undefined) continue;
      const who = `${other.process.name} holds ${text(conflict)}`;
      this.#violated(`M2: ${holder.process.name} is granted ${text(grant)}, but ${who}`);
    }
  }

  #touch(process: Process, at: number, length: number, writes: boolean): void {
    const grants = this.#holders.get(process)?.may ?? [];
    for (let byte = at; byte < at + length; ) {
      const grant = grants.find(
        (each) => (each.writable || !writes) && byte >= each.storage && byte < each.storage + each.length,
      );
      if (grant === undefined) {
        this.#violated(
          `M1: ${process.name} ${writes ? 'writes' : 'reads'} byte ${byte} of ${at}+${length} without a grant`,
        );
        return;
      }
      byte = grant.storage + grant.length;
    }
  }

  #violated(what: string): void {
    this.#say(`VIOLATION ${what}`);
    this.violation ??= new Violation(`at ${this.#loop.now.toFixed(3)} ms: ${what}`);
  }
}

function askedBy([, , session, slot, seqid, , number, args]: RequestFrame): Asked {
  return { name: `${session === null ? '' : hex(session)}/${slot}/${seqid}`, number, args };
}

/** The reply was kept, and is sent once more. */
function isAgain({ answered }: Holder, { name }: Asked): boolean {
  const isKnown = answered.has(name);
  answered.add(name);
  return isKnown;
}

let memory: Memory | undefined;

export function enterMemory(entered: Memory): void {
  memory = entered;
}

/** The device as the running process reaches it. */
export function engineOf(): SynchronousEngine {
  if (memory === undefined) throw new Error('no simulation runs');
  return memory.engineOf(loop().current);
}
