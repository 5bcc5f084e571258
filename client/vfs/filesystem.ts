import type { Devices } from '../devices.ts';
import { devicesFor } from '../dma/ways.ts';
import { clientLimits } from '../limits.ts';
import { OpenFiles } from '../open-files.ts';
import { Paths } from '../paths.ts';
import { Session, type SessionOptions } from '../session.ts';
import { RemoteVfs } from './remote-vfs.ts';

/** What the kernel has cached, and is to let go of. */
export interface KernelPages {
  /** Bytes of one file. */
  drop(ino: number, offset: number, length: number): void;
}

/** One filesystem of a server for one mount. */
export class RemoteFilesystem {
  readonly #session: Session;
  readonly #devices: Devices;
  readonly #files: OpenFiles;
  readonly #pages: KernelPages;
  #vfs: RemoteVfs | undefined;

  /** `device`: as `ConnectOptions.device`. */
  constructor(session: SessionOptions, device: string | undefined, pages: KernelPages) {
    this.#session = new Session(session, {
      recall: (recall) => {
        const reply = this.#files.recall(recall);
        // Another client is about to work on these bytes.
        if (reply === 'ok') pages.drop(recall.ino, recall.offset, recall.length);
        return reply;
      },
      recallAll: (kind, changed) => {
        this.#dropAll();
        return this.#files.recallAll(kind, changed);
      },
      recallBuffers: (stateid, offsets) => this.#files.buffers.recalled(stateid, offsets),
      recallAny: (keep) => this.#files.keepOnly(keep),
      putOff: () => this.#files.putOff(),
      available: (ino) => this.#files.available(ino),
      devicesChanged: () => this.#devices.forget(),
      flagged: (flags) => this.#files.flagged(flags),
      lost: (why) => {
        this.#devices.forget();
        this.#files.loseSession(why);
        this.#dropAll();
      },
      reclaim: (send) => this.#files.reclaim(send),
      leaseEnded: () => {
        this.#files.leaseEnded();
        this.#dropAll();
      },
      settling: () => this.#devices.settled,
      quiet: () => this.#files.quiet,
      placed: () => {},
      disconnected: () => {},
      connected: () => {},
    });
    this.#pages = pages;
    this.#devices = devicesFor(this.#session, { device });
    this.#files = new OpenFiles(this.#session, this.#devices);
  }

  /** @throws ClientError UNREACHABLE, TIMEOUT, NO_DEVICE; NOENT, NOTDIR of the subtree */
  async open(subtree: string): Promise<RemoteVfs> {
    await this.#devices.check();
    await this.#session.open(undefined);
    const root = await new Paths(this.#session).find(`${subtree}/`, true, {});
    this.#vfs = new RemoteVfs(this.#session, this.#files, root);
    await this.#vfs.statfs();
    return this.#vfs;
  }

  /** Nothing protects what the kernel has of any file: others may change it from now on. */
  #dropAll(): void {
    for (const ino of this.#vfs?.forgetPages() ?? []) this.#pages.drop(ino, 0, Infinity);
  }

  /** Of the filesystem, 16 bytes. */
  get uuid(): Uint8Array {
    return this.#session.server.uuid;
  }

  /** What can be committed and closed within 10 s is; the rest ends with the lease. */
  async close(): Promise<void> {
    const timer = setTimeout(() => void this.#session.close(), clientLimits.closeTimeoutMs);
    await this.#files.close();
    clearTimeout(timer);
    await this.#session.close();
    await this.#devices.close();
  }
}
