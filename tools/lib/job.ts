/** Starts a job in a daemon and follows it to its end. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '../../client/index.ts';
import type { JobStatus } from '../../fs/engine/relocation/job.ts';
import { ExitError, print, printJson } from './program.ts';
import { ProgressLine } from './progress-line.ts';
import type { Registration } from './registry.ts';
import { withClient } from './remote.ts';
import { formatSize } from './sizes.ts';

/** How often the daemon is asked: often at first, since most jobs are short. */
const pollFirstMs = 20;
const pollLongestMs = 200;

export interface JobOptions {
  readonly json?: true;
}

/**
 * Ctrl-C cancels the job; what it did stays done.
 * @param start answers the number of the job
 * @throws ExitError: it failed (1) or was cancelled (130)
 */
export async function runJob(
  server: Registration,
  start: (client: Client) => Promise<number>,
  options: JobOptions,
): Promise<void> {
  const { job, size } = await withClient(server, async (client) => {
    const id = await start(client);
    const cancel = (): void => {
      client.admin.cancelJob(id).catch(() => undefined); // it ended by itself
    };
    for (const signal of signals) process.on(signal, cancel);
    try {
      const ended = await follow(client, id);
      return { job: ended, size: ended.kind === 'resize' ? await sizeOf(client) : undefined };
    } finally {
      for (const signal of signals) process.off(signal, cancel);
    }
  });
  if (options.json === true) printJson({ device: server.device, ...job, ino: undefined, size });
  const what = `${server.device}: ${job.kind}`;
  if (job.state === 'failed')
    throw new ExitError(1, `${what}: ${job.error?.detail ?? ''} (${job.error?.code ?? 'EIO'})`);
  if (job.state === 'cancelled') throw new ExitError(130, `${what}: cancelled after ${formatSize(job.moved)}`);
  const becomes = size === undefined ? '' : `${formatSize(size)} large, `;
  if (options.json !== true) print(`${what}: ${becomes}${formatSize(job.moved)} moved in ${job.elapsedMs} ms`);
}

/** Of the filesystem, in bytes. */
async function sizeOf(client: Client): Promise<number> {
  const { blocks, blockSize } = (await client.admin.status()).filesystem;
  return blocks.total * blockSize;
}

const signals = ['SIGINT', 'SIGTERM'] as const;

async function follow(client: Client, id: number): Promise<JobStatus> {
  const line = new ProgressLine();
  for (let waitMs = pollFirstMs; ; waitMs = Math.min(waitMs * 2, pollLongestMs)) {
    const job = await client.admin.job();
    if (job === undefined || job.id < id)
      throw new ExitError(1, `job ${id} ended with the filesystem, which was unmounted; what it moved stays moved`);
    if (job.id > id) throw new ExitError(1, `job ${id} is over and another has begun`);
    if (job.state !== 'running') {
      line.end();
      return job;
    }
    line.show(jobText(job));
    await sleep(waitMs);
  }
}

/** `evacuate: 12 %, 1.5 GiB of 12.0 GiB, 1.4 GiB moved, inode 17` */
export function jobText({ kind, state, total, done, moved, ino }: JobStatus): string {
  const percent = total === 0 ? (state === 'done' ? 100 : 0) : Math.floor((100 * done) / total);
  const at = ino === undefined ? '' : `, inode ${ino}`;
  return `${kind}: ${percent} %, ${formatSize(done)} of ${formatSize(total)}, ${formatSize(moved)} moved${at}`;
}
