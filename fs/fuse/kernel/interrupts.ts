import { readFileSync } from 'node:fs';
import { cancel } from '../../reply.ts';
import { opcode } from './abi.ts';
import { kernelLimits } from './limits.ts';
import type { PendingRequest, Session } from './session.ts';

/** Requests that leave nothing behind when their result is dropped, wherever they are. */
const harmless: ReadonlySet<number> = new Set([
  opcode.lookup,
  opcode.getattr,
  opcode.statx,
  opcode.readlink,
  opcode.read,
  opcode.statfs,
  opcode.flush,
  opcode.fsync,
  opcode.fsyncdir,
  opcode.syncfs,
  opcode.getxattr,
  opcode.listxattr,
  opcode.readdir,
  opcode.readdirplus,
  opcode.access,
  opcode.lseek,
]);

/**
 * INTERRUPT comes once, for any signal, even one that the caller handles and after which a file operation has to go on
 * (signal(7): operations on files are not interrupted). So only a dying caller is let go: the kernel marks each of its
 * threads with SIGKILL (complete_signal), and until it dies the request stays under watch. What changes something is let
 * go only where it waits and has changed nothing yet.
 */
export class Interrupts {
  readonly #session: Session;
  readonly #watched = new Set<number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  interrupt(unique: number): void {
    const request = this.#session.pending.get(unique);
    if (request === undefined) return;
    if (!this.#release(request)) this.#watched.add(unique);
    this.#schedule();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#watched.clear();
  }

  #schedule(): void {
    if (this.#watched.size === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      for (const unique of this.#watched) {
        const request = this.#session.pending.get(unique);
        if (request === undefined || this.#release(request)) this.#watched.delete(unique);
      }
      this.#schedule();
    }, kernelLimits.interruptPollMs);
    this.#timer.unref();
  }

  #release({ header, reply }: PendingRequest): boolean {
    if (!isDying(header.pid)) return false;
    const isCancelled = cancel(reply);
    if (!harmless.has(header.opcode)) return isCancelled;
    this.#session.abandon(header);
    return true;
  }
}

/** Whether SIGKILL is pending for the thread (proc(5), status: SigPnd, ShdPnd). 0 is a thread outside our namespace. */
function isDying(pid: number): boolean {
  if (pid === 0) return false;
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return !exists(pid); // gone altogether, or another user's in a /proc with hidepid
  }
  return [...status.matchAll(/^(?:SigPnd|ShdPnd):\t([0-9a-f]+)$/gm)].some(
    ([, mask]) => (BigInt(`0x${mask}`) & sigkillBit) !== 0n,
  );
}

/** kill(2) with signal 0: EPERM means that somebody is there. */
function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

const sigkillBit = 1n << 8n;
