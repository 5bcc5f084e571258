/** Immutable and append-only, as chattr(1) sets them. tmpfs has them too, and says what they forbid. */
import { readdirSync } from 'node:fs';
import { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from '../posix/support/constants.ts';
import { cString } from '../posix/support/libc.ts';
import { call } from './calls.ts';
import { isError, type Outcome } from './operations.ts';

export const flagBits = { none: 0, immutable: 0x10, append: 0x20 } as const;
export type Flag = keyof typeof flagBits;

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;

/** @param path ends with a zero byte */
export function setFlags(path: Buffer, flag: Flag): Outcome {
  const argument = Buffer.alloc(8);
  argument.writeUInt32LE(flagBits[flag]);
  return withFile(path, (fd) => call('ioctl', fd, FS_IOC_SETFLAGS, argument));
}

export function getFlags(path: Buffer): Outcome {
  const argument = Buffer.alloc(8);
  const got = withFile(path, (fd) => call('ioctl', fd, FS_IOC_GETFLAGS, argument));
  return isError(got) ? got : argument.readUInt32LE() & (flagBits.immutable | flagBits.append);
}

/** Everything below the directory can be removed again. */
export function unprotect(directory: Buffer): void {
  setFlags(cString(directory), 'none');
  for (const entry of readdirSync(directory, { encoding: 'buffer', withFileTypes: true })) {
    const path = Buffer.concat([directory, Buffer.from('/'), entry.name]);
    if (entry.isDirectory()) unprotect(path);
    else if (entry.isFile()) setFlags(cString(path), 'none');
  }
}

function withFile(path: Buffer, use: (fd: number) => Outcome): Outcome {
  const fd = call('open', path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (typeof fd === 'string') return fd;
  try {
    return use(fd);
  } finally {
    call('close', fd);
  }
}
