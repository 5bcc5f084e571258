/**
 * The process at the other end of a Unix socket, and the moment in which it is gone.
 *
 * A client says in EXCHANGE_ID which process it is. It counts only where the kernel says the same of the connection
 * (unix(7), SO_PEERCRED): else the connection comes through somebody else, whose end says nothing of the client's. That also
 * makes the pidfd safe against reused numbers: it is opened before the answer to the first CREATE_SESSION, and a client that
 * gets this answer was alive, so the number was its own.
 */
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { type KoffiFunc, load, node } from 'koffi';

// include/uapi/asm-generic/socket.h; arch/powerpc/include/uapi/asm/socket.h differs
const SOL_SOCKET = 1;
const SO_PEERCRED = process.arch === 'ppc64' ? 21 : 17;
/** include/uapi/asm-generic/unistd.h, the same on every architecture that node runs on. */
const SYS_pidfd_open = 434;

type Getsockopt = (fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array) => number;
const libc = load(null);
const getsockopt: KoffiFunc<Getsockopt> = libc.func(
  'int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ void *length)',
);
const pidfdOpen: KoffiFunc<(number: number, pid: number, flags: number) => number> = libc.func(
  'long syscall(long number, int pid, unsigned int flags)',
);

/** pid, uid and gid of struct ucred, each 4 bytes. */
const ucredBytes = 12;

/** Number of the process that connected, as this process sees it; undefined: not over a Unix socket, or not to be seen from here. */
export function peerPid(socket: Socket): number | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined || socket.remoteAddress !== undefined) return undefined;
  const credentials = Buffer.alloc(ucredBytes);
  const length = Buffer.from(Uint32Array.of(ucredBytes).buffer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) !== 0) return undefined;
  const [pid = 0] = new Int32Array(credentials.buffer, credentials.byteOffset, 1);
  return pid > 0 ? pid : undefined;
}

/** Node tells the descriptor of a socket to nobody; without it no process is known, and nothing else follows from that. */
function descriptorOf(socket: Socket): number | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

/** A process that was alive when this was made. */
export class PeerProcess {
  readonly pid: number;
  readonly #fd: number;
  readonly #poll: node.PollHandle;
  readonly #listeners = new Set<() => void>();
  #gone = false;
  #closed = false;

  private constructor(pid: number, fd: number) {
    this.pid = pid;
    this.#fd = fd;
    // A pidfd is readable once all threads are gone (pidfd_open(2)); each has let go of its memory and files before that.
    this.#poll = node.poll(fd, { readable: true }, () => this.#ended());
    this.#poll.unref();
  }

  /** undefined: there is no such process. */
  static open(pid: number): PeerProcess | undefined {
    const fd = pidfdOpen(SYS_pidfd_open, pid, 0);
    return fd < 0 ? undefined : new PeerProcess(pid, fd);
  }

  get gone(): boolean {
    return this.#gone;
  }

  onGone(listener: () => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    this.#poll.close();
    closeSync(this.#fd);
  }

  #ended(): void {
    if (this.#gone || this.#closed) return;
    this.#gone = true;
    this.#poll.stop();
    // Callbacks of a poll handle do not run the promise queue.
    setImmediate(() => {
      for (const listener of this.#listeners) listener();
    });
  }
}
