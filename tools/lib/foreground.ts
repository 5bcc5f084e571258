/** Runs a service until it is stopped by a signal or unmounted. */
import { isDaemon, printSummary, reportToParent, type ServiceSummary } from './background.ts';
import { boundHeapGrowth } from './heap.ts';
import { openLog } from './log.ts';
import { logFile } from './places.ts';
import { ExitError, errorText } from './program.ts';
import { type Service, type ServiceOptions, startService } from './service.ts';

const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

export interface RunOptions extends Omit<ServiceOptions, 'openLog'> {
  readonly json: boolean;
  /** Exit code when it does not start, or does not close in order. */
  readonly failureCode: number;
}

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
    return await startService({ ...options, openLog: (uuid) => openLog(isDaemon() ? logFile(uuid) : undefined) });
  } catch (error) {
    const message = errorText(error);
    if (!isDaemon()) throw new ExitError(options.failureCode, message, error);
    await reportToParent({ kind: 'failed', exitCode: options.failureCode, message });
    throw new ExitError(options.failureCode, '', error); // the parent says it
  }
}

function nothing(): void {}
