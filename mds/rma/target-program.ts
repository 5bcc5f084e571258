/**
 * The process that clients read from and write to: it has the device mapped and libfabric loaded, and does what the
 * metadata server says. It is a process of its own so that neither a crash of that library nor a lock in shared memory
 * that a stopped client holds takes the server along, and so that there is a fence that always works: its end.
 *
 *   node target-program.js DEVICE ACCESS-WIDTH WRITABLE
 */
import koffi from 'koffi';
import { openDevice } from '../../fs/bar/open.ts';
import { removeLeftovers } from '../../fs/fabric/leftovers.ts';
import { libfabric } from '../../fs/fabric/library.ts';
import { type Answer, isRequest, type Reply, type Request } from './messages.ts';
import { Target } from './target.ts';

/** PR_SET_PDEATHSIG of prctl(2), and SIGKILL. */
const parentDeathSignal = 1;
const sigkill = 9;

const [, , path = '', width = '1', writable = ''] = process.argv;
const prctl = koffi.load(null).func('int prctl(int option, unsigned long value)');

function say(message: Reply): void {
  if (process.connected) process.send?.(message, () => {});
}

async function start(): Promise<Target> {
  libfabric();
  removeLeftovers();
  const accessWidth = width === '4' ? 4 : width === '8' ? 8 : 1;
  return new Target(await openDevice(path, { writable: writable === 'true', lock: false, accessWidth }));
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// With the server go the keys.
prctl(parentDeathSignal, sigkill);
let target: Target | undefined;
process.on('disconnect', () => {
  target?.close();
  process.exit(0);
});
if (!process.connected) process.exit(0);

try {
  const started = await start();
  target = started;
  // One after the other: a close comes after the registration that it closes.
  let line: Promise<unknown> = Promise.resolve();
  const take = async ({ id, work }: Request): Promise<void> => {
    const answer = await started.do(work).catch((error: unknown): Answer => ({ kind: 'failed', why: reasonOf(error) }));
    say({ id, answer });
  };
  process.on('message', (message) => {
    if (isRequest(message)) line = line.then(() => take(message));
  });
  // Whoever stops the server stops all its processes: this one goes with it, when its clients have given back what they had.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  say({ ready: true, why: '' });
} catch (error) {
  say({ ready: false, why: reasonOf(error) });
}
