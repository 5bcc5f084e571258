/**
 * The subset of msgpack on the wire: nil, booleans, integers, str, bin and arrays. No maps, no extension types,
 * no fractions. Every integer fits a double exactly but one: 2^64-1, "to the end", which is Infinity in the program
 * (RFC 8881 §18.43 writes it NFS4_UINT64_MAX).
 */
import { Packr, Unpackr } from 'msgpackr';
import { wireLimits } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

const toTheEnd = 2n ** 64n - 1n;

const packr = new Packr({ useRecords: false });
/** copyBuffers: a bin value must not keep the whole received chunk alive. */
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'bigint', copyBuffers: true });

export function encodeMessage(message: readonly unknown[]): Buffer {
  return packr.pack(toWire(message));
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

/** msgpackr writes integers above 32 bits as floats; as bigint they become the 64-bit integers that others expect. */
function toWire(value: unknown): unknown {
  if (typeof value === 'number') {
    if (value === Infinity) return toTheEnd;
    if (!Number.isSafeInteger(value)) throw new ProtocolError('bad-number', `${value} has no form on the wire`);
    return value > 0xffff_ffff || value < -0x8000_0000 ? BigInt(value) : value;
  }
  return isArray(value) ? value.map(toWire) : value;
}

function fromWire(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (value === toTheEnd) return Infinity;
    if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) return Number(value);
    throw new ProtocolError('bad-number', `integer ${value} is outside ±(2^53 - 1)`);
  }
  return isArray(value) ? value.map(fromWire) : value;
}

function isArray(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/**
 * Walks the tokens before anything is allocated for them: a few bytes may claim arrays of gigabytes or nest until
 * the stack ends. At any moment no more elements may be promised than bytes are left.
 */
function checkStructure(body: Uint8Array): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  /** Elements still to come in each open array. */
  const open: number[] = [1];
  let promised = 1;
  let at = 0;
  const need = (bytes: number): void => {
    if (at + bytes > body.length) throw new ProtocolError('truncated', 'the message ends inside a value');
  };
  const skip = (bytes: number): void => {
    need(bytes);
    at += bytes;
  };
  const lengthField = (bytes: 1 | 2 | 4): number => {
    need(bytes);
    const value = bytes === 1 ? view.getUint8(at) : bytes === 2 ? view.getUint16(at) : view.getUint32(at);
    at += bytes;
    return value;
  };
  const enter = (count: number): void => {
    promised += count;
    if (promised > body.length - at) throw new ProtocolError('truncated', `an array claims ${count} elements`);
    if (open.length > wireLimits.depthMax) throw new ProtocolError('too-deep', 'arrays are nested too deeply');
    open.push(count);
  };
  while (open.length > 0) {
    const left = open[open.length - 1] ?? 0;
    if (left === 0) {
      open.pop();
      continue;
    }
    open[open.length - 1] = left - 1;
    promised -= 1;
    const tag = lengthField(1);
    if (tag <= 0x7f || tag >= 0xe0 || tag === 0xc0 || tag === 0xc2 || tag === 0xc3) continue;
    if (tag >= 0x90 && tag <= 0x9f) enter(tag & 0x0f);
    else if (tag >= 0xa0 && tag <= 0xbf) skip(tag & 0x1f);
    else if (tag === 0xc4 || tag === 0xd9) skip(lengthField(1));
    else if (tag === 0xc5 || tag === 0xda) skip(lengthField(2));
    else if (tag === 0xc6 || tag === 0xdb) skip(lengthField(4));
    else if (tag === 0xcc || tag === 0xd0) skip(1);
    else if (tag === 0xcd || tag === 0xd1) skip(2);
    else if (tag === 0xce || tag === 0xd2) skip(4);
    else if (tag === 0xcf || tag === 0xd3) skip(8);
    else if (tag === 0xdc) enter(lengthField(2));
    else if (tag === 0xdd) enter(lengthField(4));
    else throw new ProtocolError('bad-type', `msgpack type 0x${tag.toString(16)} is not used here`);
  }
  if (at !== body.length) throw new ProtocolError('trailing-bytes', `${body.length - at} bytes follow the message`);
}
