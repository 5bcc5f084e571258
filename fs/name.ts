import { FsError } from './errors.ts';
import { limits } from './limits.ts';

declare const nameBrand: unique symbol;

/**
 * One name in a directory: 1 to 255 bytes, none of them NUL or '/'. Kept as a string of one character per byte
 * (latin1), so that any bytes are possible, comparison is by bytes, and V8 stores one byte each.
 */
export type Name = string & { readonly [nameBrand]: true };

/** @throws FsError EINVAL (empty, '/' or NUL inside), ENAMETOOLONG */
export function nameFromBytes(bytes: Uint8Array): Name {
  return checked(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'));
}

/** Of one character per byte. @throws FsError EINVAL, ENAMETOOLONG */
export function nameFromLatin1(text: string): Name {
  return checked(text);
}

/** The name that a UTF-8 program means by `text`. @throws FsError EINVAL, ENAMETOOLONG */
export function nameFromText(text: string): Name {
  return checked(Buffer.from(text, 'utf8').toString('latin1'));
}

export function nameToBytes(name: Name): Buffer {
  return Buffer.from(name, 'latin1');
}

/** For messages: bytes that are not UTF-8 become U+FFFD. */
export function nameToText(name: Name): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}

function checked(name: string): Name {
  if (name.length > limits.nameMax) throw new FsError('ENAMETOOLONG', { name });
  if (name.length === 0 || name.includes('/') || name.includes('\0')) throw new FsError('EINVAL', { name });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the only place that makes this brand
  return name as Name;
}
