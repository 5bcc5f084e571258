/**
 * The subset of msgpack on the wire: nil, booleans, integers, str, bin and arrays. No maps, no extension types,
 * no fractions. Every integer fits a double exactly but one: 2^64-1, "to the end", which is Infinity in the program
 * (RFC 8881 §18.43 writes it NFS4_UINT64_MAX).
 */
import { Packr, RESERVE_START_SPACE, Unpackr } from 'msgpackr';
import { wireLimits } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

const toTheEnd = 2n ** 64n - 1n;

const packr = new Packr({ useRecords: false });
/** copyBuffers: a bin value must not keep the whole received chunk alive. */
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint', copyBuffers: true });

/** With `reserved` bytes before it, 0 to 255, whose content is arbitrary. */
export function encodeMessage(message: readonly unknown[], reserved = 0): Buffer {
  return packr.pack(toWire(message), RESERVE_START_SPACE + reserved);
}

/** @throws ProtocolError for anything that is not one array of the subset */
export function decodeMessage(body: Uint8Array): readonly unknown[] {
  checkStructure(body);
  const message = fromWire(unpack(body));
  if (!isArray(message)) throw new ProtocolError('not-an-array', 'a message is a msgpack array');
  return message;
}

function unpack(body: Uint8Array): unknown {
  try {
    return unpackr.unpack(body);
  } catch (error) {
    throw new ProtocolError('bad-type', error instanceof Error ? error.message : String(error));
  }
}

/** No fewer bytes than `encodeMessage` needs, and little more; it costs less than to encode. */
export function sizeAtMost(value: unknown): number {
  if (typeof value === 'number') return value >= 0 && value < 128 ? 1 : 9;
  if (typeof value === 'string') return 5 + Buffer.byteLength(value);
  if (value instanceof Uint8Array) return 5 + value.length;
  return isArray(value) ? value.reduce<number>((sum, element) => sum + sizeAtMost(element), 5) : 1;
}

/** msgpackr writes integers above 32 bits as floats; as bigint they become the 64-bit integers that others expect. */
function toWire(value: unknown): unknown {
  if (typeof value === 'number') {
    if (value === Infinity) return toTheEnd;
    if (!Number.isSafeInteger(value)) throw new ProtocolError('bad-number', `${value} has no form on the wire`);
    return value > 0xffff_ffff || value < -0x8000_0000 ? BigInt(value) : value;
  }
  return isArray(value) ? mapped(value, toWire) : value;
}

function fromWire(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (value === toTheEnd) return Infinity;
    if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) return Number(value);
    throw new ProtocolError('bad-number', `integer ${value} is outside ±(2^53 - 1)`);
  }
  return isArray(value) ? mapped(value, fromWire) : value;
}

/** The same array where nothing in it becomes another: so it is with nearly all messages. */
function mapped(values: readonly unknown[], map: (value: unknown) => unknown): readonly unknown[] {
  let copy: unknown[] | undefined;
  for (let i = 0; i < values.length; i++) {
    const other = map(values[i]);
    if (other === values[i]) continue;
    copy ??= [...values];
    copy[i] = other;
  }
  return copy ?? values;
}

function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** What follows a tag: so many bytes, or a length of so many bytes and then as many bytes, or elements, as it says. */
interface Token {
  readonly bytes: number;
  readonly length: 0 | 1 | 2 | 4;
  readonly elements: number;
  readonly isArray: boolean;
}

/** By tag; undefined: not used here. */
const tokens: readonly (Token | undefined)[] = Array.from({ length: 256 }, (_, tag) => tokenOf(tag));

function skip(bytes: number): Token {
  return { bytes, length: 0, elements: 0, isArray: false };
}

function sized(length: 1 | 2 | 4, isArrayTag = false): Token {
  return { bytes: 0, length, elements: 0, isArray: isArrayTag };
}

function tokenOf(tag: number): Token | undefined {
  if (tag <= 0x7f || tag >= 0xe0 || tag === 0xc0 || tag === 0xc2 || tag === 0xc3) return skip(0);
  if (tag >= 0x90 && tag <= 0x9f) return { bytes: 0, length: 0, elements: tag & 0x0f, isArray: true };
  if (tag >= 0xa0 && tag <= 0xbf) return skip(tag & 0x1f);
  if (tag === 0xc4 || tag === 0xd9) return sized(1);
  if (tag === 0xc5 || tag === 0xda) return sized(2);
  if (tag === 0xc6 || tag === 0xdb) return sized(4);
  if (tag >= 0xcc && tag <= 0xcf) return skip(1 << (tag - 0xcc));
  if (tag >= 0xd0 && tag <= 0xd3) return skip(1 << (tag - 0xd0));
  if (tag === 0xdc) return sized(2, true);
  return tag === 0xdd ? sized(4, true) : undefined;
}

/**
 * Walks the tokens before anything is allocated for them: a few bytes may claim arrays of gigabytes or nest until
 * the stack ends. At any moment no more elements may be promised than bytes are left.
 */
function checkStructure(body: Uint8Array): void {
  /** Elements still to come in each open array, the innermost last. */
  const open: number[] = [];
  /** Those of the innermost, and of all. */
  let [left, promised] = [1, 1];
  let at = 0;
  while (promised > 0) {
    while (left === 0) left = open.pop() ?? 0;
    const tag = body[at++];
    if (tag === undefined) throw truncated();
    left--;
    promised--;
    const token = tokens[tag];
    if (token === undefined) {
      throw new ProtocolError('bad-type', `msgpack type 0x${tag.toString(16)} is not used here`);
    }
    const length = lengthAt(body, at, token.length);
    at += token.length;
    if (!token.isArray) {
      at += token.bytes + length;
      if (at > body.length) throw truncated();
      continue;
    }
    const count = token.elements + length;
    promised += count;
    if (promised > body.length - at) throw new ProtocolError('truncated', `an array claims ${count} elements`);
    if (open.length >= wireLimits.depthMax) throw new ProtocolError('too-deep', 'arrays are nested too deeply');
    open.push(left);
    left = count;
  }
  if (at !== body.length) throw new ProtocolError('trailing-bytes', `${body.length - at} bytes follow the message`);
}

/** Big-endian. @throws ProtocolError truncated */
function lengthAt(body: Uint8Array, at: number, bytes: 0 | 1 | 2 | 4): number {
  let length = 0;
  for (let i = at; i < at + bytes; i++) {
    const byte = body[i];
    if (byte === undefined) throw truncated();
    length = length * 256 + byte;
  }
  return length;
}

function truncated(): ProtocolError {
  return new ProtocolError('truncated', 'the message ends inside a value');
}
