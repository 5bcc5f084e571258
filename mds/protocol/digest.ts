/**
 * A digest of what a request asks for, by which another request under the same sequence number is known for a false retry
 * (RFC 8881 §2.10.6.1.3.1). It need not withstand malice: who lies about a retry gets the reply to what it asked before.
 * Long data counts with its length, its head and its tail, as the checksum of Linux' duplicate request cache does.
 */
const longMax = 512;
const edge = 256;

/** 32 bits. `values`: what a message is made of (msgpack.ts). */
export function digestOf(values: readonly unknown[]): number {
  let hash = 0x811c_9dc5;
  for (const value of values) hash = mix(hash, value);
  return hash >>> 0;
}

function mix(hash: number, value: unknown): number {
  if (typeof value === 'number') return mixNumber(step(hash, 1), value);
  if (typeof value === 'boolean') return step(step(hash, 2), value ? 1 : 0);
  if (typeof value === 'string') return mixBytes(step(hash, 3), Buffer.from(value));
  if (value instanceof Uint8Array) return mixBytes(step(hash, 4), value);
  if (!isArray(value)) return step(hash, 5);
  let mixed = mixNumber(step(hash, 6), value.length);
  for (const element of value) mixed = mix(mixed, element);
  return mixed;
}

function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** Infinity is 2^64-1 on the wire, and so it counts. */
function mixNumber(hash: number, value: number): number {
  return step(step(hash, value >>> 0), value === Infinity ? 0xffff_ffff : Math.floor(value / 2 ** 32));
}

function mixBytes(hash: number, bytes: Uint8Array): number {
  const head = bytes.length > longMax ? edge : bytes.length;
  let mixed = step(hash, bytes.length);
  for (let at = 0; at < head; at++) mixed = step(mixed, bytes[at] ?? 0);
  for (let at = Math.max(head, bytes.length - edge); at < bytes.length; at++) mixed = step(mixed, bytes[at] ?? 0);
  return mixed;
}

/** FNV-1a (draft-eastlake-fnv), a word at a time, with a shift so that high bits count below. */
function step(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x0100_0193);
  return mixed ^ (mixed >>> 15);
}
