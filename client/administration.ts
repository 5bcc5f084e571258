import type { Fragmentation, JobRequest } from '../fs/engine/filesystem.ts';
import type { JobStatus } from '../fs/engine/relocation/job.ts';
import {
  fragmentationFromWire,
  jobRequestToWire,
  jobStatusFromWire,
  operations,
  type ServerStatus,
  serverStatusFromWire,
} from '../mds/protocol/index.ts';
import { clientLimits } from './limits.ts';
import type { OpenFiles } from './open-files.ts';
import { type OperationOptions, operation } from './operation.ts';
import type { Paths } from './paths.ts';
import type { Session } from './session.ts';

/** A directory with a limit on all that it holds; limits of 0 are none. */
export interface Quota {
  readonly ino: number;
  /** From the root of the filesystem. */
  readonly path: string;
  readonly bytesMax: number;
  /** Blocks of its files, in bytes. */
  readonly bytes: number;
  readonly inodesMax: number;
  readonly inodes: number;
  /** false: all that was there before is still being counted. */
  readonly inForce: boolean;
}

/** Whose layouts are asked back. */
export type RecallTarget =
  | { readonly client: number }
  | { readonly path: string; readonly offset?: number; readonly length?: number }
  | 'everything';

/** The filesystem and its server, for those who run them. Most of it takes uid 0, or that of the server. */
export class Administration {
  readonly #session: Session;
  readonly #paths: Paths;
  readonly #files: OpenFiles;

  /** Used by `Client`. */
  constructor(session: Session, paths: Paths, files: OpenFiles) {
    this.#session = session;
    this.#paths = paths;
    this.#files = files;
  }

  /** For everybody. */
  async status(options?: OperationOptions): Promise<ServerStatus> {
    return await operation({ syscall: 'status' }, options, async (limits) => {
      const [status] = await this.#session.callOutside(operations.STATUS, [], limits);
      return serverStatusFromWire(status);
    });
  }

  // Clients.

  /** Declares another client dead: nothing of it reaches the device any more, and its blocks are free. */
  async evict(who: number | Uint8Array, options?: OperationOptions): Promise<readonly number[]> {
    return await operation({ syscall: 'evict' }, options, async (limits) => {
      const [evicted] = await this.#session.call(operations.EVICT, [who], limits);
      return evicted;
    });
  }

  /** Takes the layouts of another client at once, which goes on without them: how many. */
  async revoke(client: number, options?: OperationOptions): Promise<number> {
    return await operation({ syscall: 'revoke' }, options, async (limits) => {
      const [layouts] = await this.#session.call(operations.REVOKE, [client], limits);
      return layouts;
    });
  }

  /**
   * Asks layouts back: of one client, of a range of one file, or all. Settles when they are returned, or whoever did not
   * return them in time is fenced.
   */
  async recall(what: RecallTarget, options?: OperationOptions): Promise<void> {
    const context = { syscall: 'recall', ...(typeof what === 'object' && 'path' in what && { path: what.path }) };
    await operation(context, options, async (limits) => {
      const { client, ino, offset, length } = await this.#recalled(what, limits);
      const timeoutMs = limits.timeoutMs ?? clientLimits.recallTimeoutMs;
      await this.#session.call(operations.RECALL, [client, ino, offset, length], { ...limits, timeoutMs });
    });
  }

  async #recalled(
    what: RecallTarget,
    limits: OperationOptions,
  ): Promise<{ client: number | null; ino: number | null; offset: number; length: number }> {
    const all = { client: null, ino: null, offset: 0, length: Infinity };
    if (what === 'everything') return all;
    if ('client' in what) return { ...all, client: what.client };
    const { ino } = await this.#paths.find(what.path, true, limits);
    return { client: null, ino, offset: what.offset ?? 0, length: what.length ?? Infinity };
  }

  // Long work on the filesystem.

  /**
   * Starts it and answers its number; `job` says how far it is. For one file the permission to write that is enough.
   */
  async startJob(request: JobRequest, options?: OperationOptions): Promise<number> {
    return await operation({ syscall: 'startJob' }, options, async (limits) => {
      const [id] = await this.#session.call(operations.JOB_START, [jobRequestToWire(request)], limits);
      return id;
    });
  }

  /** Brings the blocks of one file together: a job. */
  async defragment(path: string, options?: OperationOptions): Promise<number> {
    return await operation({ syscall: 'defragment', path }, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      await this.#files.find(ino)?.commit();
      const [id] = await this.#session.call(
        operations.JOB_START,
        [jobRequestToWire({ kind: 'defragment', ino })],
        limits,
      );
      return id;
    });
  }

  /** The job that runs, or ran last. */
  async job(options?: OperationOptions): Promise<JobStatus | undefined> {
    return await operation({ syscall: 'job' }, options, async (limits) => {
      const [job] = await this.#session.call(operations.JOB_STATUS, [], limits);
      return job === null ? undefined : jobStatusFromWire(job);
    });
  }

  /** What it did stays done. */
  async cancelJob(id: number, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'cancelJob' }, options, async (limits) => {
      await this.#session.call(operations.JOB_CANCEL, [id], limits);
    });
  }

  /** How scattered files and free space are. */
  async fragmentation(options?: OperationOptions): Promise<Fragmentation> {
    return await operation({ syscall: 'fragmentation' }, options, async (limits) => {
      const [wire] = await this.#session.call(operations.FRAGMENTATION, [], limits);
      return fragmentationFromWire(wire);
    });
  }

  /** Keeps so many hundredths of a percent of the blocks for root. */
  async tune(changes: { readonly reserve?: number }, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'tune' }, options, async (limits) => {
      await this.#session.call(operations.TUNE, [changes.reserve ?? null], limits);
    });
  }

  // Quotas.

  /**
   * Limits what a directory and all below it hold; 0 for no limit. Settles when that is in force; `progress` is told
   * meanwhile how many inodes have been counted.
   */
  async setQuota(
    path: string,
    limit: { readonly bytes: number; readonly inodes: number },
    options?: OperationOptions & { readonly progress?: (inodes: number) => void },
  ): Promise<void> {
    await operation({ syscall: 'quotactl', path }, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      for (let inForce = false, counted = 0; !inForce; ) {
        [inForce, counted] = await this.#session.call(operations.QUOTA_SET, [ino, limit.bytes, limit.inodes], limits);
        if (!inForce) options?.progress?.(counted);
      }
    });
  }

  async removeQuota(path: string, options?: OperationOptions): Promise<void> {
    await operation({ syscall: 'quotactl', path }, options, async (limits) => {
      const { ino } = await this.#paths.find(path, true, limits);
      await this.#session.call(operations.QUOTA_REMOVE, [ino], limits);
    });
  }

  /** The quota that a path counts in, if any, for everybody; all of them without a path. */
  async quotas(path?: string, options?: OperationOptions): Promise<Quota[]> {
    return await operation({ syscall: 'quotactl', path: path ?? '/' }, options, async (limits) => {
      const asked = path === undefined ? null : (await this.#paths.find(path, true, limits)).ino;
      const quotas: Quota[] = [];
      for (let after = 0, last = false; !last; ) {
        const [page, end] = await this.#session.call(operations.QUOTA_LIST, [asked, after], limits);
        for (const [id, ino, pathBytes, bytesMax, bytes, inodesMax, inodes, inForce] of page) {
          const directory = Buffer.from(pathBytes).toString('utf8');
          quotas.push({ ino, path: directory, bytesMax, bytes, inodesMax, inodes, inForce });
          after = id;
        }
        last = end || page.length === 0;
      }
      return quotas;
    });
  }
}
