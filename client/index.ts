/**
 * The client library: files of an iopmemfs server, read and written directly on the device where a layout allows it.
 *
 *   connect() → Client → open() → FileHandle → read, write, or layout() for programs that drive engines themselves.
 *
 * docs/client.md shows it in use.
 */
import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { parseAddress, processName, wireLimits } from '../mds/protocol/index.ts';
import { Client } from './client.ts';
import type { EngineChoice } from './devices.ts';
import { devicesFor } from './dma/ways.ts';
import { ClientError, withContext } from './errors.ts';
import { clientLimits } from './limits.ts';

export type { Administration, Quota, RecallTarget } from './administration.ts';
export type { Data, Mode, Time } from './arguments.ts';
export type { BuffersRequest, SessionBuffer } from './buffers.ts';
export type { Client, ClientEvents } from './client.ts';
export type { CopyOptions, CopyResult } from './copy/copy.ts';
export type { EngineChoice, WayReport } from './devices.ts';
export type { AsynchronousEngine, DmaEngine, SynchronousEngine } from './dma/engine.ts';
export { ClientError, type ClientStatus } from './errors.ts';
export type { Counters } from './file-data.ts';
export type { FileHandle, ReadResult, ReadvResult, WriteResult, WritevResult } from './file-handle.ts';
export type { Route, RouteCounters } from './file-io.ts';
export type { BufferRange, Position, ReadOptions } from './io-arguments.ts';
export type { Layout, LayoutRequest, LayoutSegment, RecallNotice, SegmentState } from './layout.ts';
export type { Dir } from './names/dir.ts';
export type { Dirent } from './names/dirent.ts';
export type { FilesystemStats } from './names/names.ts';
export type { XattrMode } from './names/xattrs.ts';
export type { OpenFlags } from './open-flags.ts';
export type { OperationOptions } from './operation.ts';
export type { MkdirOptions, ReaddirOptions, ReadFileOptions, RmOptions, WriteFileOptions } from './options.ts';
export type { OpenOptions, PinOptions } from './pinning.ts';
export type { Place } from './place.ts';
export { type EngineLimits, type ScatterGatherElement, scatterGather } from './scatter-gather.ts';
export type { Stats } from './stats.ts';
export type { ReadStream, ReadStreamOptions, WriteStream, WriteStreamOptions } from './streams.ts';
export type { WholeData } from './whole.ts';

export interface ConnectOptions {
  /**
   * What the server knows this client by, 1 to 1024 bytes; the same after a restart of the program lets the server
   * forget at once what the former run held. By default a name that is never used again.
   */
  readonly owner?: Uint8Array | string;
  /**
   * The BAR or image as seen here: a path, `iopmemN`, `daxX.Y`, a PCI address, or the UUID of the filesystem; 'none': no
   * direct access. By default it is searched for: where the server says it is, then among the PCI and DAX devices, then in
   * `deviceDirectories`. It is used only if it proves to be the server's own memory.
   */
  readonly device?: string;
  /** Folders with devices or images among which the server's memory may be. */
  readonly deviceDirectories?: readonly string[];
  /**
   * The only way that bytes may go: by a mapping of the device, by libfabric, or through the server. By default the
   * fastest that gets there. @see Client.ways
   */
  readonly engine?: EngineChoice;
  /** Whom the client acts for; by default the user of this process. */
  readonly uid?: number;
  readonly gid?: number;
  readonly groups?: readonly number[];
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
  /** Longest wait for any one reply, reconnects included; 180 s by default. */
  readonly timeoutMs?: number;
  /**
   * The longest that one DMA of the program's own engines takes: what a timed fence waits for. To be given by programs that
   * have such engines. Without it all accesses are loads and stores of this process: when it is gone they are over.
   */
  readonly maxIoMs?: number;
  /**
   * PCI address of the function that reads and writes the device for this program, as `0000:03:00.0`: the server gives
   * layouts only if it finds a good route between the two (docs/topology.md), and the addresses that this function has to use.
   */
  readonly pci?: string;
}

/** Owners in use here: two clients of one name would be one client to the server, and take each other's layouts for theirs. */
const owners = new Set<string>();

/**
 * Connects to the first of the addresses that answers (`unix:PATH`, `tcp://HOST:PORT`), and again to any of them when
 * the connection breaks.
 * @throws ClientError UNREACHABLE, TIMEOUT, ARGUMENT, NO_DEVICE (the device or engine
 * that was named is not here), EXIST (the owner
 * is in use by this process); the signal's reason
 */
export async function connect(address: string | readonly string[], options: ConnectOptions = {}): Promise<Client> {
  const addresses = typeof address === 'string' ? [address] : address;
  requireOptions(options);
  const owner = ownerOf(options.owner);
  const key = `${addresses.join(' ')} ${owner.toString('hex')}`;
  if (owners.has(key)) throw new ClientError('EXIST', 'a client of this owner is connected already');
  owners.add(key);
  try {
    const gid = options.gid ?? process.getgid?.() ?? 0;
    const groups = options.groups ?? process.getgroups?.() ?? [];
    const client = new Client(
      {
        addresses: addresses.map(parseAddress),
        owner,
        implementation: `iopmemfs client, ${hostname()} pid ${process.pid}`,
        credentials: [options.uid ?? process.getuid?.() ?? 0, gid, groups.slice(0, wireLimits.groupsMax)],
        maxIoMs: options.maxIoMs ?? clientLimits.maxIoMs,
        process: options.maxIoMs === undefined ? (processName(process.pid) ?? null) : null,
        pci: options.pci ?? null,
        callTimeoutMs: options.timeoutMs ?? clientLimits.callTimeoutMs,
      },
      (session) => devicesFor(session, options),
      () => owners.delete(key),
    );
    await client.start(options.signal);
    return client;
  } catch (error) {
    owners.delete(key);
    throw withContext(error, { syscall: 'connect', path: addresses.join(' ') });
  }
}

const engines: readonly unknown[] = ['mmap', 'rma', 'server', undefined];
const pciAddress = /^[\da-f]{4,8}:[\da-f]{2}:[\da-f]{2}\.[0-7]$/;

/** What plain JavaScript can get wrong, said before the server refuses it as a broken message. @throws ClientError ARGUMENT */
function requireOptions({ engine, device, pci, uid, gid, maxIoMs, timeoutMs }: ConnectOptions): void {
  if (!engines.includes(engine)) refuse(`engine ${String(engine)}: mmap, rma or server`);
  if (engine === 'mmap' && device === 'none') refuse("engine mmap with device 'none': nothing would be mapped");
  if (pci !== undefined && !pciAddress.test(pci)) refuse(`pci ${pci}: an address as 0000:03:00.0`);
  for (const [name, value] of Object.entries({ uid, gid, maxIoMs })) {
    if (value !== undefined && !(Number.isInteger(value) && value >= 0)) refuse(`${name} ${value}`);
  }
  if (timeoutMs !== undefined && !(timeoutMs > 0)) refuse(`timeoutMs ${timeoutMs}`);
}

function refuse(what: string): never {
  throw new ClientError('ARGUMENT', what, { syscall: 'connect' });
}

function ownerOf(owner: Uint8Array | string | undefined): Buffer {
  const bytes = Buffer.from(owner ?? `${hostname()} ${process.pid} ${randomBytes(8).toString('hex')}`);
  if (bytes.length >= 1 && bytes.length <= wireLimits.ownerMax) return bytes;
  throw new ClientError('ARGUMENT', `an owner has 1 to ${wireLimits.ownerMax} bytes`);
}
