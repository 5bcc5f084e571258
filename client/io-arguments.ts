/** The forms in which node's FileHandle takes its arguments, made one. All throw ClientError ARGUMENT. */
import { bytesOf, type Data, requireOffset } from './arguments.ts';
import { ClientError } from './errors.ts';
import type { OperationOptions } from './operation.ts';

/** Bytes; where nothing is given: all of the buffer, at the current position. */
export interface BufferRange extends OperationOptions {
  readonly offset?: number | null | undefined;
  readonly length?: number | null | undefined;
  /** null: the current position, which moves. */
  readonly position?: Position | undefined;
}

/** Bytes from the start of the file; null: the current position. */
export type Position = number | bigint | null;

export interface ReadOptions<B extends NodeJS.ArrayBufferView> extends BufferRange {
  readonly buffer?: B;
}

export interface Transfer {
  /** The part of the caller's buffer that is meant. */
  readonly bytes: Uint8Array;
  /** null: the current one. */
  readonly position: number | null;
  readonly options: OperationOptions | undefined;
}

/** What node reads into where no buffer is given. */
const defaultBufferSize = 16_384;

export function isView(value: unknown): value is NodeJS.ArrayBufferView {
  return ArrayBuffer.isView(value);
}

export function newBuffer(): Buffer {
  return Buffer.alloc(defaultBufferSize);
}

/** (buffer, offset, length, position, options) or (buffer, { offset, length, position }). */
export function transferOf(
  buffer: NodeJS.ArrayBufferView,
  second: number | null | undefined | BufferRange,
  length: number | null | undefined,
  position: Position | undefined,
  options: OperationOptions | undefined,
): Transfer {
  const range = typeof second === 'object' && second !== null ? second : { offset: second, length, position };
  const whole = bytesOf(buffer);
  const from = range.offset ?? 0;
  const count = range.length ?? whole.length - from;
  return {
    bytes: partOf(whole, from, count),
    position: positionOf(range.position),
    options: typeof second === 'object' && second !== null ? second : options,
  };
}

export function partOf(whole: Uint8Array, offset: number, length: number): Uint8Array {
  const isInside = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= 0;
  if (!isInside || offset + length > whole.length) {
    throw new ClientError('ARGUMENT', `bytes ${offset}+${length} of a buffer of ${whole.length}`);
  }
  return offset === 0 && length === whole.length ? whole : whole.subarray(offset, offset + length);
}

export function positionOf(position: Position | undefined): number | null {
  if (position === null || position === undefined) return null;
  const bytes = Number(position);
  requireOffset(bytes, 'position');
  return bytes;
}

/** (buffer, offset, length, position, options), (buffer, { … }), or (text, position, encoding, options). */
export function writeTransferOf(
  data: Data,
  second: Position | undefined | BufferRange,
  third: number | null | undefined | BufferEncoding,
  fourth: Position | undefined | OperationOptions,
  fifth: OperationOptions | undefined,
): Transfer {
  if (typeof data === 'string') {
    const position = typeof second === 'object' && second !== null ? second.position : second;
    const bytes = bytesOf(data, typeof third === 'string' ? third : 'utf8');
    return {
      bytes,
      position: positionOf(position),
      options: typeof fourth === 'object' ? (fourth ?? undefined) : fifth,
    };
  }
  const isWrong = typeof second === 'bigint' || typeof third === 'string' || isOptions(fourth);
  if (isWrong) throw new ClientError('ARGUMENT', 'a buffer is written by offset, length and position');
  return transferOf(data, second, third, fourth, fifth);
}

function isOptions(value: Position | undefined | OperationOptions): value is OperationOptions {
  return typeof value === 'object' && value !== null;
}
