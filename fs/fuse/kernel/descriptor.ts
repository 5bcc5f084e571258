/** A descriptor from another process, over a Unix socket (unix(7), SCM_RIGHTS; cmsg(3)): Node has no call for that. */
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { addressOf, declare, lastErrno, systemError } from './libc.ts';

const socketpair = declare<[domain: number, type: number, protocol: number, pair: Uint8Array]>(
  'int socketpair(int domain, int type, int protocol, void *pair)',
);
const recvmsg = declare<[fd: number, message: Uint8Array, flags: number]>(
  'int64_t recvmsg(int fd, void *message, int flags)',
);
const fcntl = declare<[fd: number, command: number, argument: number]>('int fcntl(int fd, int command, int argument)');

const unixStream = { domain: 1, type: 1 | 0o2000000 } as const; // AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC
const receiveFlags = 0x40 | 0x40000000; // MSG_DONTWAIT | MSG_CMSG_CLOEXEC
const rights = { level: 1, type: 1 } as const; // SOL_SOCKET, SCM_RIGHTS
const setFlags = 4; // F_SETFL
const nonBlocking = 0o4000; // O_NONBLOCK

/** struct msghdr and struct cmsghdr on 64-bit Linux, bytes. */
const messageSize = 56;
const controlHeaderSize = 16;
const controlSize = 24;

/** Two connected sockets, both closed on exec. @throws FsError EMFILE, ENFILE */
export function socketPair(): readonly [number, number] {
  const pair = new Int32Array(2);
  if (socketpair(unixStream.domain, unixStream.type, 0, new Uint8Array(pair.buffer)) !== 0) {
    throw systemError(lastErrno(), 'socketpair', 'AF_UNIX');
  }
  const [ours = -1, theirs = -1] = pair;
  return [ours, theirs];
}

/**
 * The descriptor that waits in the socket, without blocking; undefined when there is none.
 * @throws FsError as recvmsg(2), but for EAGAIN
 */
export function receiveDescriptor(socket: number): number | undefined {
  const byte = Buffer.alloc(1);
  const iovec = new BigUint64Array([addressOf(byte), 1n]);
  const control = Buffer.alloc(controlSize);
  const message = Buffer.alloc(messageSize);
  message.writeBigUInt64LE(addressOf(new Uint8Array(iovec.buffer)), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(addressOf(control), 32);
  message.writeBigUInt64LE(BigInt(controlSize), 40);
  if (recvmsg(socket, message, receiveFlags) < 0) {
    const errno = lastErrno();
    if (errno === constants.errno.EAGAIN) return undefined;
    throw systemError(errno, 'recvmsg', 'AF_UNIX');
  }
  const isRights =
    message.readBigUInt64LE(40) >= BigInt(controlHeaderSize + 4) &&
    control.readInt32LE(8) === rights.level &&
    control.readInt32LE(12) === rights.type;
  return isRights ? control.readInt32LE(controlHeaderSize) : undefined;
}

/** Sets O_NONBLOCK on a descriptor that somebody else has opened; it is closed when that fails. @throws FsError */
export function makeNonBlocking(fd: number, openFlags: number): void {
  if (fcntl(fd, setFlags, openFlags | nonBlocking) === 0) return;
  const error = systemError(lastErrno(), 'fcntl', '/dev/fuse');
  closeSync(fd);
  throw error;
}
