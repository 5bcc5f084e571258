import { randomUUID } from 'node:crypto';
import { FsError } from '../errors.ts';

export const uuidLength = 16;

/** A new random UUID (RFC 9562 §5.4), 16 bytes in the order of its text. */
export function newUuid(): Uint8Array {
  return uuidFromText(randomUUID());
}

/** Lower case, with hyphens. */
export function uuidToText(uuid: Uint8Array): string {
  return Buffer.from(uuid)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** @throws FsError EINVAL when the text is not 8-4-4-4-12 hex digits */
export function uuidFromText(text: string): Uint8Array {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) {
    throw new FsError('EINVAL', { detail: `${JSON.stringify(text)} is not a UUID` });
  }
  return new Uint8Array(Buffer.from(text.replaceAll('-', ''), 'hex'));
}

export function sameUuid(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
