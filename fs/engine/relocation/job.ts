/** Long work on a mounted filesystem that somebody asked for: one at a time, with progress, and it can be cancelled. */
import { FsError } from '../../errors.ts';
import { cancelled } from './pace.ts';

export const jobKinds = ['defragment', 'evacuate', 'resize'] as const;
export type JobKind = (typeof jobKinds)[number];

export const jobStates = ['running', 'done', 'failed', 'cancelled'] as const;
export type JobState = (typeof jobStates)[number];

/** In bytes. */
export interface Progress {
  /** To be looked at. */
  total: number;
  done: number;
  moved: number;
  /** File at hand. */
  ino: number | undefined;
}

export interface JobStatus extends Readonly<Progress> {
  readonly id: number;
  readonly kind: JobKind;
  readonly state: JobState;
  readonly elapsedMs: number;
  /** Why it failed. */
  readonly error: { readonly code: string; readonly detail: string } | undefined;
}

export type JobWork = (progress: Progress, signal: AbortSignal) => Promise<void>;

interface Job {
  readonly id: number;
  readonly kind: JobKind;
  readonly progress: Progress;
  readonly began: number;
  readonly cancel: AbortController;
  readonly ended: Promise<void>;
  state: JobState;
  endedAt: number | undefined;
  error: JobStatus['error'];
}

export class Jobs {
  #nextId = 1;
  #last: Job | undefined;
  #closed = false;

  /** Answers the number of the job, which goes on by itself. @throws FsError EBUSY: another is running */
  start(kind: JobKind, work: JobWork): number {
    if (this.#closed) throw new FsError('ESHUTDOWN', { detail: 'the filesystem is being closed' });
    if (this.#last?.state === 'running') {
      throw new FsError('EBUSY', { detail: `${this.#last.kind} is running: one at a time, see iopmemfs status` });
    }
    const progress: Progress = { total: 0, done: 0, moved: 0, ino: undefined };
    const cancel = new AbortController();
    // Begins in a turn of its own, so that whoever starts it has its number first.
    const ended = new Promise<void>((resolve) => {
      setImmediate(() => void this.#run(job, work).then(resolve));
    });
    const job: Job = {
      id: this.#nextId++,
      kind,
      progress,
      began: performance.now(),
      cancel,
      ended,
      state: 'running',
      endedAt: undefined,
      error: undefined,
    };
    this.#last = job;
    return job.id;
  }

  /** The one that runs, or ran last. */
  current(): JobStatus | undefined {
    if (this.#last === undefined) return undefined;
    const { id, kind, state, progress, began, endedAt, error } = this.#last;
    return { id, kind, state, ...progress, elapsedMs: Math.round((endedAt ?? performance.now()) - began), error };
  }

  /** It ends within a slice, or when what it waits for has come. @throws FsError ESRCH: it does not run */
  cancel(id: number): void {
    if (this.#last?.id !== id || this.#last.state !== 'running') {
      throw new FsError('ESRCH', { detail: `job ${id} is not running` });
    }
    this.#last.cancel.abort(cancelled());
  }

  /** Ends the one that runs; there will be no other. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#last?.cancel.abort(cancelled());
    await this.#last?.ended;
  }

  async #run(job: Job, work: JobWork): Promise<void> {
    try {
      job.cancel.signal.throwIfAborted();
      await work(job.progress, job.cancel.signal);
      job.state = 'done';
    } catch (error) {
      job.state = job.cancel.signal.aborted ? 'cancelled' : 'failed';
      job.error = described(error);
    }
    job.progress.ino = undefined;
    job.endedAt = performance.now();
  }
}

function described(error: unknown): NonNullable<JobStatus['error']> {
  if (error instanceof FsError) return { code: error.code, detail: error.context.detail ?? error.message };
  return { code: 'EIO', detail: error instanceof Error ? error.message : String(error) };
}
