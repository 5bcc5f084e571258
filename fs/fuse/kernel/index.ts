/**
 * Serves a `Vfs` to the kernel over its own FUSE protocol. One request travels
 *   channel (read) → serve (decode) → namespace, data, attributes or directory → Vfs → session (encode) → channel (write)
 * and where the filesystem answers at once it does so without a promise.
 */
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { FsError } from '../../errors.ts';
import type { Name } from '../../name.ts';
import type { Vfs } from '../../vfs.ts';
import type { Mounted, MountOptions } from '../driver.ts';
import { accessTimes } from './access-times.ts';
import { Channel } from './channel.ts';
import { kernelLimits } from './limits.ts';
import { mountConnection, unmountConnection } from './mount.ts';
import { encodeInvalEntry, encodeInvalInode } from './notification.ts';
import { Notifier } from './notify.ts';
import { widenReadahead } from './readahead.ts';
import { Repeats } from './repeats.ts';
import { Server } from './serve.ts';
import type { Standing } from './unapplied.ts';

/** A mount of this driver can also forget names. */
export interface KernelMounted extends Mounted {
  /** The name in the directory changed below the mount. */
  invalidateEntry(parent: number, name: Name): Promise<void>;
  /** The name in the directory went below the mount. */
  removeEntry(parent: number, name: Name): Promise<void>;
}

/** @throws FsError when it cannot be mounted, with what to do in its detail */
export async function mountKernel(vfs: Vfs, options: MountOptions): Promise<KernelMounted> {
  const mount = new KernelMount(await mountConnection(options), vfs, options);
  await mount.ready;
  try {
    await widenReadahead(options.mountPoint);
  } catch (error) {
    await mount.unmount();
    throw error;
  }
  return mount;
}

class KernelMount implements KernelMounted {
  readonly mountPoint: string;
  /** Resolves when the kernel has agreed to the protocol. */
  readonly ready: Promise<void>;
  readonly #ended: Promise<void>;
  readonly #channel: Channel;
  readonly #notifier: Notifier;
  readonly #repeats = new Repeats();
  readonly #server: Server;
  readonly #onEnded: (error?: FsError) => void;
  #ending: Promise<void> | undefined;
  #unmounting: Promise<void> | undefined;

  constructor(fd: number, vfs: Vfs, options: MountOptions) {
    this.mountPoint = options.mountPoint;
    this.#channel = new Channel(fd, options.pollMs ?? pollMs());
    this.#notifier = new Notifier(fd);

    let agreed: () => void = nothing;
    let refused: (error: FsError) => void = nothing;
    this.ready = new Promise((resolve, reject) => {
      agreed = resolve;
      refused = reject;
    });
    let ended: () => void = nothing;
    this.#ended = new Promise((resolve) => {
      ended = resolve;
    });

    let announced = false;
    const events = {
      onReady: () => {
        announced = true;
        agreed();
      },
      onRefused: (error: FsError) => {
        refused(error);
        this.unmount().catch(nothing);
      },
    };
    this.#server = new Server(vfs, this.#channel, events, {
      accessTimes: accessTimes(options.options),
      directIo: options.directIo,
      announced: options.announced === true,
      believed: options.believed,
    });
    this.#onEnded = (error) => {
      ended();
      if (announced) options.onUnmounted(error);
      else refused(error ?? new FsError('ENODEV', { op: 'mount', path: this.mountPoint, detail: 'unmounted at once' }));
    };
    this.#channel.start({
      serve: (request) => this.#server.serve(request),
      isWaiting: () => this.#server.pending > 0,
      onEnd: (error) => void this.#end(error),
    });
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount().catch((error: unknown) => {
      this.#unmounting = undefined;
      throw error;
    });
    return this.#unmounting;
  }

  async invalidate(ino: number, offset: number, length: number): Promise<void> {
    this.#server.changed(ino);
    await this.#notifier.sendBlocking(ino, encodeInvalInode(this.#server.nodeId(ino), offset, length));
  }

  async invalidateAttributes(ino: number): Promise<void> {
    const message = encodeInvalInode(this.#server.nodeId(ino), 0, 0);
    await this.#announce(`${ino}`, this.#server.changed(ino), () => this.#notifier.send(message));
  }

  async invalidateEntry(parent: number, name: Name): Promise<void> {
    const message = encodeInvalEntry(this.#server.nodeId(parent), name);
    const missedBy = this.#server.changedName(parent, name);
    await this.#announce(`${parent}/${name}`, missedBy, () => this.#notifier.sendBlocking(parent, message));
  }

  async removeEntry(parent: number, name: Name): Promise<void> {
    // What is dropped is not looked up again under this name, so no reply can bring it back.
    this.#server.changedName(parent, name);
    const message = encodeInvalEntry(this.#server.nodeId(parent), name, 'gone');
    await this.#announce(`${parent}/${name}`, [], () => this.#notifier.sendBlocking(parent, message));
  }

  /** @throws FsError EAGAIN: too many wait, and it is for the caller to give it again; what fails otherwise is given again here */
  async #announce(what: string, missedBy: readonly Standing[], announce: () => Promise<void>): Promise<void> {
    if (missedBy.length > 0) this.#repeats.add(what, missedBy, announce);
    try {
      await announce();
    } catch (error) {
      if (!(error instanceof FsError && error.code === 'EAGAIN')) this.#repeats.add(what, missedBy, announce);
      throw error;
    }
  }

  /** A busy mount disappears from the tree at once; its open files are served for a while, then answer ENOTCONN. */
  async #unmount(): Promise<void> {
    if (this.#ending === undefined) {
      await this.#detach();
      const grace = new AbortController();
      const expired = sleep(kernelLimits.detachGraceMs, undefined, { signal: grace.signal }).catch(nothing);
      await Promise.race([this.#ended, expired]);
      grace.abort();
      void this.#end();
    }
    await this.#ended;
  }

  async #detach(): Promise<void> {
    try {
      await unmountConnection(this.mountPoint, false);
    } catch (error) {
      // EINVAL: somebody else has unmounted it already, perhaps lazily.
      if (error instanceof FsError && error.code === 'EINVAL') return;
      if (!(error instanceof FsError && error.code === 'EBUSY')) throw error;
      await unmountConnection(this.mountPoint, true);
    }
  }

  /** The conversation is over, from whichever side. The descriptor goes last: notifications may be in flight on it. */
  #end(error?: FsError): Promise<void> {
    this.#ending ??= (async () => {
      this.#repeats.stop();
      await this.#notifier.stop();
      this.#channel.close();
      this.#server.stop();
      this.#onEnded(error);
    })();
    return this.#ending;
  }
}

/** With one processor nobody could ask while it is looked whether somebody asks. */
function pollMs(): number {
  return availableParallelism() > 1 ? kernelLimits.pollMs : 0;
}

function nothing(): void {}
