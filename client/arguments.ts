/** Arguments as node's fs takes them, made one form. All throw ClientError ARGUMENT. */
import type { Timespec } from '../fs/vfs.ts';
import { ClientError } from './errors.ts';

/** Permission bits: a number, or octal digits. */
export type Mode = number | string;

/** Seconds since 1970 with fractions, digits of such, or a Date. */
export type Time = number | string | Date;

const modeMax = 0o7777;

export function modeOf(mode: Mode): number {
  const isOctal = typeof mode === 'string' && /^(0o)?[0-7]+$/.test(mode);
  const bits = isOctal ? Number.parseInt(mode.replace('0o', ''), 8) : Number(mode);
  if (Number.isInteger(bits) && bits >= 0 && bits <= modeMax && (isOctal || typeof mode === 'number')) return bits;
  throw new ClientError('ARGUMENT', `mode ${mode}: permission bits from 0 to 07777`);
}

function timeOf(time: Time): Timespec {
  const seconds = time instanceof Date ? time.getTime() / 1000 : Number(time);
  if (!Number.isFinite(seconds) || (typeof time === 'string' && time.trim() === '')) {
    throw new ClientError('ARGUMENT', `time ${String(time)}`);
  }
  const sec = Math.floor(seconds);
  // A double holds microseconds of today's times; more digits would be of its rounding.
  const nsec = Math.min(Math.round((seconds - sec) * 1e6), 999_999) * 1000;
  return { sec, nsec };
}

function idOf(id: number, name: string): number {
  if (Number.isInteger(id) && id >= 0 && id < 2 ** 32 - 1) return id;
  throw new ClientError('ARGUMENT', `${name} ${id}`);
}

export function ownerOf(uid: number, gid: number): { readonly uid: number; readonly gid: number } {
  return { uid: idOf(uid, 'uid'), gid: idOf(gid, 'gid') };
}

export function timesOf(atime: Time, mtime: Time): { readonly atime: Timespec; readonly mtime: Timespec } {
  return { atime: timeOf(atime), mtime: timeOf(mtime) };
}

/** Of fs.constants: 4 R_OK, 2 W_OK, 1 X_OK, 0 F_OK. */
export function accessMaskOf(mode: number): number {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 7) return mode;
  throw new ClientError('ARGUMENT', `mode ${mode} of access`);
}

/** Bytes: 0 to 2^53 - 1. */
export function requireOffset(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0) throw new ClientError('ARGUMENT', `${name} ${value}`);
}

/** What a file can be written from at once. */
export type Data = string | NodeJS.ArrayBufferView;

export function bytesOf(data: Data, encoding: BufferEncoding = 'utf8'): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data, encoding);
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new ClientError('ARGUMENT', 'data is neither a string nor a view of bytes');
}
