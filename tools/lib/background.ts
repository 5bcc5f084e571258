/**
 * A daemon in the background: the program starts itself again, detached and in foreground mode, and waits for one
 * message over the IPC channel: ready, or why not. So the command returns when the mount answers, its exit code is
 * true, and no pipe of the caller stays open (`mount | tail` would never end).
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { FsError } from '../../fs/errors.ts';
import { stateDir } from './places.ts';
import { ExitError, print, printJson } from './program.ts';
import { daemonEnvironment } from './thread-pool.ts';

export interface ServiceSummary {
  readonly pid: number;
  readonly uuid: string;
  readonly device: string;
  /** undefined: served without a mount. */
  readonly mountPoint: string | undefined;
  /** The control socket first. */
  readonly addresses: readonly string[];
}

type Report =
  | { readonly kind: 'ready'; readonly summary: ServiceSummary }
  | { readonly kind: 'failed'; readonly exitCode: number; readonly message: string };

/** Set for the daemon, so that it knows that its parent waits for a report. */
const reportVariable = 'IOPMEMFS_REPORT';

export const isDaemon = (): boolean => process.env[reportVariable] === '1' && process.send !== undefined;

/** @throws ExitError with the daemon's own message and code; FsError EIO when it died without one */
export async function startInBackground(script: string, args: readonly string[]): Promise<ServiceSummary> {
  mkdirSync(stateDir(), { recursive: true });
  // What nobody foresaw goes here; the log proper is a file of each filesystem.
  const crashFile = join(stateDir(), 'daemon.err');
  const crashes = openSync(crashFile, 'a');
  const child = spawn(process.execPath, [script, ...args], {
    detached: true,
    env: { ...daemonEnvironment(), [reportVariable]: '1' },
    stdio: ['ignore', 'ignore', crashes, 'ipc'],
  });
  closeSync(crashes);
  const report = await new Promise<Report>((resolve, reject) => {
    child.once('error', reject);
    child.once('message', (message) => {
      if (isReport(message)) resolve(message);
      else reject(new FsError('EPROTO', { detail: 'the daemon sent no report' }));
    });
    child.once('exit', (code, signal) => {
      const detail = `the daemon ended (${signal ?? `exit code ${code}`}): see ${crashFile}`;
      reject(new FsError('EIO', { detail }));
    });
  });
  child.removeAllListeners();
  if (child.connected) child.disconnect();
  child.unref();
  if (report.kind === 'failed') throw new ExitError(report.exitCode, report.message);
  return report.summary;
}

/** Tells the waiting parent, and leaves what belongs to it: its channel and its directory. */
export async function reportToParent(report: Report): Promise<void> {
  const send = process.send?.bind(process);
  if (send !== undefined && process.connected) {
    await new Promise<void>((resolve) => {
      send(report, undefined, undefined, () => resolve());
    });
    process.disconnect();
  }
  process.chdir('/');
}

export function printSummary(summary: ServiceSummary, json: boolean): void {
  if (json) return printJson(summary);
  const where = summary.mountPoint === undefined ? '' : ` mounted on ${summary.mountPoint},`;
  const serving = summary.addresses.length === 0 ? '' : ` serving at ${summary.addresses.join(' ')}`;
  print(`${summary.device}:${where}${serving}`.replace(/,$/, ''));
}

function isReport(value: unknown): value is Report {
  if (!isObject(value)) return false;
  const field = (name: string): unknown => Reflect.get(value, name);
  if (field('kind') === 'ready') return isSummary(field('summary'));
  return field('kind') === 'failed' && Number.isInteger(field('exitCode')) && typeof field('message') === 'string';
}

function isSummary(value: unknown): value is ServiceSummary {
  if (!isObject(value)) return false;
  const field = (name: string): unknown => Reflect.get(value, name);
  const mountPoint = field('mountPoint');
  const addresses = field('addresses');
  return (
    Number.isInteger(field('pid')) &&
    typeof field('uuid') === 'string' &&
    typeof field('device') === 'string' &&
    (mountPoint === undefined || typeof mountPoint === 'string') &&
    Array.isArray(addresses) &&
    addresses.every((address) => typeof address === 'string')
  );
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
