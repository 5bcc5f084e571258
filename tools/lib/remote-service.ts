/** The daemon of a remote mount: a client of the metadata server, and the mount, put together and taken apart in this order. */
import { stat } from 'node:fs/promises';
import type { Logger } from 'pino';
import { connectVfs, type KernelPages } from '../../client/vfs/index.ts';
import { uuidToText } from '../../fs/format/uuid.ts';
import type { Believed, Mounted } from '../../fs/fuse/driver.ts';
import { defaultDriver, loadDriver } from './drivers.ts';
import { requireMountPoint } from './mount-point.ts';
import { prepareRunDir, registerMount } from './registry.ts';
import type { RemoteSource } from './remote-source.ts';
import type { MountRequest, Service } from './service.ts';
import { Undo } from './undo.ts';

export interface RemoteServiceOptions {
  readonly remote: RemoteSource;
  /** As the user named it. */
  readonly device: string;
  /** Path of the BAR here, 'none' for no direct access; undefined: where the server says it is. */
  readonly localDevice: string | undefined;
  readonly readOnly: boolean;
  /** How long the kernel believes names and attributes. */
  readonly believed: Believed;
  readonly mount: MountRequest;
  openLog(uuid: string): Logger;
}

/** @throws FsError, ClientError; nothing is left open or mounted then */
export async function startRemoteService(options: RemoteServiceOptions): Promise<Service> {
  const undo = new Undo();
  try {
    return await start(options, undo);
  } catch (error) {
    await undo.run();
    throw error;
  }
}

async function start(options: RemoteServiceOptions, undo: Undo): Promise<Service> {
  const { remote, device: source, readOnly } = options;
  const { directory, driver, allowOther, directIo, pollMs, kernelOptions } = options.mount;
  const mountPoint = await requireMountPoint(directory);
  const pages = new MountedPages();
  const { filesystem, vfs } = await connectVfs({ ...remote, device: options.localDevice, pages });
  undo.push(() => filesystem.close());
  const uuid = uuidToText(filesystem.uuid);
  await prepareRunDir();
  const log = options.openLog(uuid);
  log.info({ source, uuid }, 'connected');

  const end = new AbortController();
  const ended = new Promise<void>((resolve) => {
    end.signal.addEventListener('abort', () => resolve(), { once: true });
  });
  const mount = await loadDriver(driver ?? defaultDriver);
  const mounted = await mount(vfs, {
    mountPoint,
    source,
    readOnly,
    allowOther,
    directIo,
    pollMs,
    believed: options.believed,
    // Direct reads mark no time of access, so nobody is to wait for it to be marked.
    options: [...kernelOptions.filter((option) => !option.endsWith('atime')), 'noatime'],
    onUnmounted: (error) => {
      if (error === undefined) log.info({ mountPoint }, 'unmounted');
      else log.error({ mountPoint, err: error }, 'the mount failed');
      end.abort();
    },
  });
  undo.push(() => mounted.unmount());
  pages.attach(mounted);
  const { dev } = await stat(mountPoint);
  undo.push(await registerMount({ ...remote, device: source, uuid, mountPoint }, dev));
  log.info({ mountPoint }, 'ready');

  return {
    uuid,
    device: source,
    mountPoint,
    addresses: [],
    log,
    ended: ended.then(() => undo.run()),
    stop: () => end.abort(),
  };
}

/** What the kernel caches of files that others are about to change. Nothing waits for it: docs/remote-mount.md, coherence. */
class MountedPages implements KernelPages {
  #mounted: Mounted | undefined;

  attach(mounted: Mounted): void {
    this.#mounted = mounted;
  }

  drop(ino: number, offset: number, length: number): void {
    // It fails where too many wait: the next open looks again.
    this.#mounted?.invalidate(ino, offset, length).catch(() => {});
  }
}
