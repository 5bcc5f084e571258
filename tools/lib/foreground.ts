/** Runs a service until it is stopped by a signal or unmounted. */
import type { Logger } from 'pino';
import { isDaemon, printSummary, reportToParent, type ServiceSummary } from './background.ts';
import { boundHeapGrowth } from './heap.ts';
import { openLog } from './log.ts';
import { logFile } from './places.ts';
import { ExitError, errorText } from './program.ts';
import type { RemoteServiceOptions } from './remote-service.ts';
import { type Service, type ServiceOptions, startService } from './service.ts';

const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

interface Running {
  readonly json: boolean;
  /** Exit code when it does not start, or does not close in order. */
  readonly failureCode: number;
}

/** A filesystem that is served here. */
export interface ServeRun extends Running, Omit<ServiceOptions, 'openLog'> {
  readonly remote?: undefined;
}

/** The mount of one that is served elsewhere. */
export interface RemoteRun extends Running, Omit<RemoteServiceOptions, 'openLog'> {}

export type RunOptions = ServeRun | RemoteRun;

/** @throws ExitError */
export async function runInForeground(options: RunOptions): Promise<void> {
  boundHeapGrowth();
  // Told to stop while it starts: it finishes starting, then stops.
  const stop = new AbortController();
  let again: () => void = nothing;
  for (const signal of stopSignals) process.on(signal, () => (stop.signal.aborted ? again() : stop.abort()));

  const service = await started(options);
  const { log, uuid, device, mountPoint, addresses } = service;
  again = () => service.stop();
  process.on('warning', (warning) => log.warn({ err: warning }, 'warning'));
  process.on('uncaughtExceptionMonitor', (error) => log.fatal({ err: error }, 'the daemon crashed'));
  if (stop.signal.aborted) service.stop();
  else stop.signal.addEventListener('abort', () => service.stop(), { once: true });

  const summary: ServiceSummary = { pid: process.pid, uuid, device, mountPoint, addresses };
  if (isDaemon()) await reportToParent({ kind: 'ready', summary });
  else printSummary(summary, options.json);
  try {
    await service.ended;
  } catch (error) {
    log.error({ err: error }, 'not closed in order');
    throw new ExitError(options.failureCode, errorText(error), error);
  }
  log.info({ uuid }, 'closed');
}

async function started(options: RunOptions): Promise<Service> {
  try {
    if (options.remote === undefined) return await startService({ ...options, openLog: logOf });
    const { startRemoteService } = await import('./remote-service.ts'); // only who mounts so needs the client
    return await startRemoteService({ ...options, openLog: logOf });
  } catch (error) {
    const message = errorText(error);
    if (!isDaemon()) throw new ExitError(options.failureCode, message, error);
    await reportToParent({ kind: 'failed', exitCode: options.failureCode, message });
    throw new ExitError(options.failureCode, '', error); // the parent says it
  }
}

function logOf(uuid: string): Logger {
  return openLog(isDaemon() ? logFile(uuid) : undefined);
}

function nothing(): void {}
