/**
 * One endpoint of libfabric with a domain, an address vector and a completion queue of its own: what is closed with it takes
 * nobody else along, and no memory registered for one can be reached through another. Used by one thread.
 *
 * Nothing moves by itself: providers with manual progress (fi_domain(3), FI_PROGRESS_MANUAL) work within `poll`, on both sides.
 */
import { FsError } from '../errors.ts';
import { constant, failure, flag, offsets, sizes } from './abi.ts';
import type { Info } from './info.ts';
import {
  type Address,
  addressOf,
  libfabric,
  made,
  method,
  pointerAt,
  prototype,
  reasonOf,
  requireOk,
  structure,
} from './library.ts';
import { fabricLimits } from './limits.ts';

type Call<Args extends unknown[]> = (...args: Args) => number;

const kinds = {
  domain: prototype<[fabric: Address, info: Address, domain: Uint8Array, context: Address]>(
    'int fi_domain(uintptr_t fabric, uintptr_t info, _Out_ void *domain, uintptr_t context)',
  ),
  open: prototype<[domain: Address, attr: Uint8Array, out: Uint8Array, context: Address]>(
    'int fi_open_attr(uintptr_t domain, const void *attr, _Out_ void *out, uintptr_t context)',
  ),
  endpoint: prototype<[domain: Address, info: Address, out: Uint8Array, context: Address]>(
    'int fi_endpoint(uintptr_t domain, uintptr_t info, _Out_ void *out, uintptr_t context)',
  ),
  close: prototype<[fid: Address]>('int fi_close(uintptr_t fid)'),
  bind: prototype<[fid: Address, other: Address, flags: bigint]>(
    'int fi_bind(uintptr_t fid, uintptr_t other, uint64_t flags)',
  ),
  control: prototype<[fid: Address, command: number, argument: Uint8Array | null]>(
    'int fi_control(uintptr_t fid, int command, _Inout_ void *argument)',
  ),
  trywait: prototype<[fabric: Address, fids: Uint8Array, count: number]>(
    'int fi_trywait(uintptr_t fabric, const void *fids, int count)',
  ),
  getname: prototype<[endpoint: Address, name: Uint8Array, length: Uint8Array]>(
    'int fi_getname(uintptr_t endpoint, _Out_ void *name, _Inout_ void *length)',
  ),
  insert: prototype<[av: Address, names: Uint8Array, count: number, out: Uint8Array, flags: bigint, context: Address]>(
    'int fi_av_insert(uintptr_t av, const void *names, size_t count, _Out_ void *out, uint64_t flags, uintptr_t context)',
  ),
  register: prototype<
    [
      domain: Address,
      memory: Address,
      length: number,
      access: bigint,
      offset: bigint,
      key: bigint,
      flags: bigint,
      out: Uint8Array,
      context: Address,
    ]
  >(
    'int fi_mr_reg(uintptr_t domain, uintptr_t memory, size_t length, uint64_t access, uint64_t offset, uint64_t key, uint64_t flags, _Out_ void *out, uintptr_t context)',
  ),
  readCounter: prototype<[counter: Address]>('uint64_t fi_cntr_read(uintptr_t counter)'),
  transfer: prototype<
    [
      endpoint: Address,
      memory: Address,
      length: number,
      descriptor: Address,
      peer: bigint,
      remote: bigint,
      key: bigint,
      context: Address,
    ]
  >(
    'int64_t fi_transfer(uintptr_t endpoint, uintptr_t memory, size_t length, uintptr_t descriptor, uint64_t peer, uint64_t remote, uint64_t key, uintptr_t context)',
  ),
  readQueue: prototype<[queue: Address, entries: Address, count: number]>(
    'int64_t fi_cq_read(uintptr_t queue, uintptr_t entries, size_t count)',
  ),
  readError: prototype<[queue: Address, entry: Uint8Array, flags: bigint]>(
    'int64_t fi_cq_readerr(uintptr_t queue, _Inout_ void *entry, uint64_t flags)',
  ),
};

/** What others may do with registered memory. */
export type RemoteAccess = 'read' | 'read-write';

/** Memory that peers reach with its key, until it is closed. */
export interface Registration {
  readonly key: bigint;
  /** What a peer names as the address of the first byte. */
  readonly base: bigint;
  /** @throws FsError EIO: the provider says that it is in use */
  close(): void;
}

/** The outcome of a transfer: nothing, or why it failed. */
export type Completed = (context: number, error: FsError | undefined) => void;

export class Endpoint {
  readonly info: Info;
  /** It has a `descriptor`. */
  readonly wakes: boolean;
  readonly #fabric: Address;
  readonly #domain: Address;
  readonly #vector: Address;
  readonly #queue: Address;
  readonly #endpoint: Address;
  /** In the order in which they were opened. */
  readonly #objects: Address[] = [];
  readonly #entries = new BigUint64Array(fabricLimits.completionsPerPoll);
  readonly #entriesAddress = addressOf(new Uint8Array(this.#entries.buffer));
  readonly #readQueue: Call<[Address, Address, number]>;
  readonly #readError: Call<[Address, Uint8Array, bigint]>;
  readonly #register: Call<[Address, Address, number, bigint, bigint, bigint, bigint, Uint8Array, Address]>;
  readonly #insert: Call<[Address, Uint8Array, number, Uint8Array, bigint, Address]>;
  readonly #read: Call<[Address, Address, number, Address, bigint, bigint, bigint, Address]>;
  readonly #write: Call<[Address, Address, number, Address, bigint, bigint, bigint, Address]>;
  /** Counts what peers did here; undefined where a descriptor tells of it. */
  readonly #counter: (() => number) | undefined;
  #closed = false;

  /**
   * Takes over `info`.
   * @param wakes whether `descriptor` is to say when there is something to do, where the provider can (not: shm)
   * @throws FsError EIO with what libfabric says
   */
  constructor(info: Info, wakes: boolean) {
    this.info = info;
    this.wakes = wakes;
    try {
      const library = libfabric();
      const attributes = pointerAt(info.at + offsets.fi_info.fabric_attr);
      this.#fabric = this.#opened('fi_fabric', (out) => library.fabric(attributes, out, 0));
      const openDomain = method(
        pointerAt(this.#fabric + offsets.fid_fabric.ops),
        offsets.fi_ops_fabric.domain,
        kinds.domain,
      );
      this.#domain = this.#opened('fi_domain', (out) => openDomain(this.#fabric, info.at, out, 0));
      const operations = pointerAt(this.#domain + offsets.fid_domain.ops);
      const openVector = method(operations, offsets.fi_ops_domain.av_open, kinds.open);
      const openQueue = method(operations, offsets.fi_ops_domain.cq_open, kinds.open);
      const openEndpoint = method(operations, offsets.fi_ops_domain.endpoint, kinds.endpoint);
      this.#vector = this.#opened('fi_av_open', (out) => openVector(this.#domain, vectorAttributes(), out, 0));
      this.#queue = this.#opened('fi_cq_open', (out) => openQueue(this.#domain, queueAttributes(wakes), out, 0));
      const counter = wakes ? undefined : this.#openCounter(operations);
      this.#endpoint = this.#opened('fi_endpoint', (out) => openEndpoint(this.#domain, info.at, out, 0));
      this.#bind(this.#vector, 0n);
      this.#bind(this.#queue, flag.FI_TRANSMIT | flag.FI_RECV);
      if (counter !== undefined) this.#bind(counter, flag.FI_REMOTE_READ | flag.FI_REMOTE_WRITE);
      this.#counter = counter === undefined ? undefined : readerOf(counter);
      requireOk('fi_enable', controlOf(this.#endpoint)(this.#endpoint, constant.FI_ENABLE, null));
      const queue = pointerAt(this.#queue + offsets.fid_cq.ops);
      this.#readQueue = method(queue, offsets.fi_ops_cq.read, kinds.readQueue);
      this.#readError = method(queue, offsets.fi_ops_cq.readerr, kinds.readError);
      const memory = pointerAt(this.#domain + offsets.fid_domain.mr);
      this.#register = method(memory, offsets.fi_ops_mr.reg, kinds.register);
      this.#insert = method(pointerAt(this.#vector + offsets.fid_av.ops), offsets.fi_ops_av.insert, kinds.insert);
      const transfers = pointerAt(this.#endpoint + offsets.fid_ep.rma);
      this.#read = method(transfers, offsets.fi_ops_rma.read, kinds.transfer);
      this.#write = method(transfers, offsets.fi_ops_rma.write, kinds.transfer);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Reads and writes by peers so far, where no descriptor tells of them. */
  get arrived(): number {
    return this.#counter?.() ?? 0;
  }

  /** What a peer needs to reach it. @throws FsError EIO */
  name(): Uint8Array {
    const getname = method(pointerAt(this.#endpoint + offsets.fid_ep.cm), offsets.fi_ops_cm.getname, kinds.getname);
    const name = Buffer.alloc(fabricLimits.nameMax);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(name.length));
    requireOk('fi_getname', getname(this.#endpoint, name, length));
    return name.subarray(0, Number(length.readBigUInt64LE()));
  }

  /** Readable when `poll` has something to do, once `maySleep` said so. @throws FsError EIO */
  descriptor(): number {
    const fd = Buffer.alloc(4);
    requireOk('FI_GETWAIT', controlOf(this.#queue)(this.#queue, constant.FI_GETWAIT, fd));
    return fd.readInt32LE();
  }

  /** fi_trywait(3): nothing is there that the descriptor would not tell of. */
  maySleep(): boolean {
    const queues = Buffer.alloc(8);
    queues.writeBigUInt64LE(BigInt(this.#queue));
    const trywait = method(
      pointerAt(this.#fabric + offsets.fid_fabric.ops),
      offsets.fi_ops_fabric.trywait,
      kinds.trywait,
    );
    return trywait(this.#fabric, queues, 1) === 0;
  }

  /** Makes a peer known by its name, and answers by what. @throws FsError EIO */
  insert(name: Uint8Array): bigint {
    const out = Buffer.alloc(8);
    // A name of shared memory is a word that ends with a zero byte; beyond the others nothing is read.
    const padded = Buffer.concat([name, Buffer.alloc(fabricLimits.nameMax - name.length + 1)]);
    const count = this.#insert(this.#vector, padded, 1, out, 0n, 0);
    if (count !== 1) throw new FsError('EIO', { op: 'fi_av_insert', detail: count < 0 ? reasonOf(-count) : 'refused' });
    return out.readBigUInt64LE();
  }

  /**
   * Lets peers at `length` bytes of memory, which stays where it is until the registration is closed.
   * @param key of our choice, where the provider leaves that to us
   * @throws FsError EIO: the memory cannot be registered (fi_mr(3)), for instance for want of struct pages
   */
  register(memory: Address, length: number, access: RemoteAccess, key: bigint): Registration {
    const rights = access === 'read' ? flag.FI_REMOTE_READ : flag.FI_REMOTE_READ | flag.FI_REMOTE_WRITE;
    const at = made('fi_mr_reg', (out) =>
      this.#register(this.#domain, memory, length, rights, 0n, this.info.givesKeys ? 0n : key, 0n, out, 0),
    );
    const close = closeOf(at);
    return {
      key: structure(at + offsets.fid_mr.key, 8).getBigUint64(0, true),
      base: this.info.isVirtual ? BigInt(memory) : 0n,
      close: () => requireOk('fi_close', close(at)),
    };
  }

  /** Begins a write of local bytes; false: not now, `poll` first. The bytes stay where they are until it completes. @throws FsError EIO */
  write(local: Address, length: number, peer: bigint, remote: bigint, key: bigint, context: number): boolean {
    return begun('fi_write', this.#write(this.#endpoint, local, length, 0, peer, remote, key, context));
  }

  /** As `write`. */
  read(local: Address, length: number, peer: bigint, remote: bigint, key: bigint, context: number): boolean {
    return begun('fi_read', this.#read(this.#endpoint, local, length, 0, peer, remote, key, context));
  }

  /** Moves what can be moved, and tells of what is complete; answers how much that was. @throws FsError EIO */
  poll(completed: Completed): number {
    const count = this.#readQueue(this.#queue, this.#entriesAddress, this.#entries.length);
    if (count === -failure.FI_EAGAIN) return 0;
    if (count === -failure.FI_EAVAIL) return this.#failed(completed);
    requireOk('fi_cq_read', count);
    for (const context of this.#entries.slice(0, count)) completed(Number(context), undefined);
    return count;
  }

  /** Ends all that is in flight, of both directions. Registrations are closed before. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // The endpoint lets go of the others first. What cannot be closed is in use, and goes with the process.
    for (const at of this.#objects.toReversed()) closeOf(at)(at);
    this.info.free();
  }

  #failed(completed: Completed): number {
    const entry = Buffer.alloc(sizes.fi_cq_err_entry);
    const count = this.#readError(this.#queue, entry, 0n);
    if (count === -failure.FI_EAGAIN) return 0;
    requireOk('fi_cq_readerr', count);
    const context = Number(entry.readBigUInt64LE(offsets.fi_cq_err_entry.op_context));
    const code = Math.abs(entry.readInt32LE(offsets.fi_cq_err_entry.err));
    completed(context, new FsError('EIO', { op: 'rma', detail: reasonOf(code) }));
    return 1;
  }

  #opened(op: string, call: (out: Uint8Array) => number): Address {
    const at = made(op, call);
    this.#objects.push(at);
    return at;
  }

  #openCounter(operations: Address): Address {
    const openCounter = method(operations, offsets.fi_ops_domain.cntr_open, kinds.open);
    const attributes = Buffer.alloc(sizes.fi_cntr_attr);
    return this.#opened('fi_cntr_open', (out) => openCounter(this.#domain, attributes, out, 0));
  }

  #bind(other: Address, flags: bigint): void {
    requireOk('fi_bind', bindOf(this.#endpoint)(this.#endpoint, other, flags));
  }
}

/** Functions that every object has: struct fi_ops. */
function closeOf(at: Address): Call<[fid: Address]> {
  return method(pointerAt(at + offsets.fid.ops), offsets.fi_ops.close, kinds.close);
}

function bindOf(at: Address): Call<[fid: Address, other: Address, flags: bigint]> {
  return method(pointerAt(at + offsets.fid.ops), offsets.fi_ops.bind, kinds.bind);
}

function controlOf(at: Address): Call<[fid: Address, command: number, argument: Uint8Array | null]> {
  return method(pointerAt(at + offsets.fid.ops), offsets.fi_ops.control, kinds.control);
}

function readerOf(counter: Address): () => number {
  const read = method(pointerAt(counter + offsets.fid_cntr.ops), offsets.fi_ops_cntr.read, kinds.readCounter);
  return () => read(counter);
}

function begun(op: string, result: number): boolean {
  if (result === -failure.FI_EAGAIN) return false;
  requireOk(op, result);
  return true;
}

function vectorAttributes(): Uint8Array {
  const attributes = Buffer.alloc(sizes.fi_av_attr);
  attributes.writeUInt32LE(constant.FI_AV_TABLE, offsets.fi_av_attr.type);
  return attributes;
}

function queueAttributes(wakes: boolean): Uint8Array {
  const attributes = Buffer.alloc(sizes.fi_cq_attr);
  attributes.writeBigUInt64LE(BigInt(fabricLimits.operationsMax), offsets.fi_cq_attr.size);
  attributes.writeUInt32LE(constant.FI_CQ_FORMAT_CONTEXT, offsets.fi_cq_attr.format);
  attributes.writeUInt32LE(wakes ? constant.FI_WAIT_FD : constant.FI_WAIT_NONE, offsets.fi_cq_attr.wait_obj);
  return attributes;
}
