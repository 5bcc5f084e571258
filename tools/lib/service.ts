/**
 * The daemon: device, metadata store, engine, metadata server and, if asked for, a mount, put together in this order
 * and taken apart in the opposite one. `mount` and `serve` differ only in whether there is a mount.
 */
import { access, constants, stat } from 'node:fs/promises';
import { resolve as absolute } from 'node:path';
import type { Logger } from 'pino';
import { openFilesystem } from '../../fs/engine/engine.ts';
import { FsError } from '../../fs/errors.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { serverLimits } from '../../mds/limits.ts';
import { MetadataServer } from '../../mds/server.ts';
import type { TopologyOptions } from '../../mds/topology.ts';
import { mountedVfs, withCoherence } from './coherence.ts';
import { type DriverName, defaultDriver, loadDriver } from './drivers.ts';
import { KernelCaches } from './kernel-caches.ts';
import { requireMountPoint } from './mount-point.ts';
import { controlSocket, prepareRunDir, register, registerMount, requireUnserved } from './registry.ts';
import { Undo } from './undo.ts';
import { openVolume } from './volume.ts';

export interface MountRequest {
  readonly directory: string;
  readonly driver: DriverName | undefined;
  readonly allowOther: boolean;
  readonly directIo: boolean;
  readonly pollMs: number | undefined;
  readonly kernelOptions: readonly string[];
}

export interface ServiceOptions {
  readonly device: string;
  readonly meta: string | undefined;
  readonly readOnly: boolean;
  /** Addresses besides the control socket: unix:PATH, tcp://HOST:PORT. */
  readonly listen: readonly string[];
  readonly leaseMs: number | undefined;
  readonly recallMs: number | undefined;
  /** A program that cuts off fenced clients. */
  readonly fenceHook: string | undefined;
  /** The timed fence is trusted. */
  readonly fenceTimed: boolean;
  /** Bytes of all session buffers; undefined: a part of the device. */
  readonly buffers: number | undefined;
  /** Which PCI peers get layouts, and their bus addresses. */
  readonly topology: TopologyOptions;
  /** Providers of one-sided access. */
  readonly rma: readonly ProviderName[];
  readonly mount: MountRequest | undefined;
  /** Called once the UUID is known, before anything is written. */
  openLog(uuid: string): Logger;
}

export interface Service {
  readonly uuid: string;
  readonly device: string;
  readonly mountPoint: string | undefined;
  /** The control socket first. */
  readonly addresses: readonly string[];
  readonly log: Logger;
  /** Settles when everything is closed: after `stop`, or after umount(8). Rejects when closing failed. */
  readonly ended: Promise<void>;
  /** Asked once more: without waiting for clients that have yet to return their layouts. */
  stop(): void;
}

/** @throws FsError; nothing is left open or mounted then */
export async function startService(options: ServiceOptions): Promise<Service> {
  const undo = new Undo();
  try {
    return await start(options, undo);
  } catch (error) {
    await undo.run();
    throw error;
  }
}

async function start(options: ServiceOptions, undo: Undo): Promise<Service> {
  requireLease(options.leaseMs);
  requireDeadline(options);
  const hook = options.fenceHook === undefined ? undefined : await requireProgram(options.fenceHook);
  const mountPoint = options.mount === undefined ? undefined : await requireMountPoint(options.mount.directory);
  const { device, store, uuid, metadata } = await openVolume(options.device, {
    writable: !options.readOnly,
    meta: options.meta,
  });
  const keepDevice = undo.push(() => device.close());
  const keepStore = undo.push(() => store.close());
  await prepareRunDir();
  await requireUnserved(uuid);
  const log = options.openLog(uuid);

  const fs = await openFilesystem({ device, store, readOnly: options.readOnly, warmUp: true });
  keepDevice();
  keepStore(); // both are the filesystem's now
  undo.push(() => fs.close());
  log.info({ device: device.path, uuid, generation: fs.generation, metadata }, 'filesystem is open');

  const caches = new KernelCaches();
  const server = new MetadataServer(withCoherence(fs, caches), {
    log,
    fencing: { hook, timed: options.fenceTimed },
    buffersMax: options.buffers,
    topology: options.topology,
    rma: options.rma,
    ...(options.leaseMs !== undefined && { leaseMs: options.leaseMs }),
    ...(options.recallMs !== undefined && { recallDeadlineMs: options.recallMs }),
  });
  // Whoever waits for the device, or asks what this daemon still does, finds it until the end.
  let unregister: (() => Promise<void>) | undefined;
  undo.push(async () => unregister?.());
  undo.push(() => server.close());
  const hurry = new AbortController();
  undo.push(() => takeBackLayouts(server, hurry.signal, log));
  const socket = controlSocket(uuid);
  const addresses: string[] = [];
  for (const address of [`unix:${socket}`, ...options.listen]) addresses.push(await server.listen(address));

  const end = new AbortController();
  const ended = new Promise<void>((resolve) => {
    end.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  let dev: number | undefined;
  if (options.mount !== undefined && mountPoint !== undefined) {
    const { driver, allowOther, directIo, pollMs, kernelOptions } = options.mount;
    const mount = await loadDriver(driver ?? defaultDriver);
    const mounting = mount(mountedVfs(fs.vfs, caches), {
      mountPoint,
      source: device.path,
      readOnly: options.readOnly,
      allowOther,
      directIo,
      pollMs,
      announced: true, // by the coherence of everything else that the server and the filesystem do
      options: kernelOptions,
      onUnmounted: (error) => {
        if (error === undefined) log.info({ mountPoint }, 'unmounted');
        else log.error({ mountPoint, err: error }, 'the mount failed');
        end.abort();
      },
    });
    caches.attach(mounting);
    const mounted = await mounting;
    undo.push(() => mounted.unmount());
    dev = (await stat(mountPoint)).dev;
  }
  const registration = { address: `unix:${socket}`, subtree: '/', device: device.path, uuid, mountPoint };
  if (dev !== undefined) undo.push(await registerMount(registration, dev));
  unregister = await register(registration);
  log.info({ addresses, mountPoint }, 'ready');

  return {
    uuid,
    device: device.path,
    mountPoint,
    addresses,
    log,
    ended: ended.then(() => undo.run()),
    stop: () => (end.signal.aborted ? hurry.abort() : end.abort()),
  };
}

/** The device may be somebody else's afterwards. */
async function takeBackLayouts(server: MetadataServer, signal: AbortSignal, log: Logger): Promise<void> {
  const out = server.status().layouts.length;
  if (out > 0) log.info({ layouts: out }, 'taking layouts back');
  if (await server.drain(signal)) return;
  log.warn({ layouts: server.status().layouts.length }, 'stopped with layouts out: they stay on record');
}

/** Found out now, not by the first fence. Absolute: a daemon leaves its directory. @throws FsError ENOENT, EACCES and others of access(2) */
async function requireProgram(path: string): Promise<string> {
  const program = absolute(path);
  await access(program, constants.X_OK);
  return program;
}

/** Nobody loses layouts before a lease has passed (RFC 8881 §12.5.5.2). @throws FsError EINVAL */
function requireDeadline({ recallMs, leaseMs = serverLimits.leaseMs }: ServiceOptions): void {
  if (recallMs === undefined || recallMs >= leaseMs) return;
  throw new FsError('EINVAL', { detail: `${recallMs} ms for a recall are less than the lease of ${leaseMs} ms` });
}

/** @throws FsError EINVAL */
function requireLease(leaseMs: number | undefined): void {
  const { leaseMinMs, leaseMaxMs } = serverLimits;
  if (leaseMs === undefined || (leaseMs >= leaseMinMs && leaseMs <= leaseMaxMs)) return;
  throw new FsError('EINVAL', { detail: `a lease of ${leaseMs} ms: ${leaseMinMs} to ${leaseMaxMs} are possible` });
}
