import { fc, test } from '@fast-check/vitest';
import { describe, test as each, expect } from 'vitest';
import { encodeFrame, type Frame, FrameDecoder, parseFrame } from '../../mds/protocol/frame.ts';
import { wireLimits } from '../../mds/protocol/limits.ts';
import { decodeMessage, encodeMessage } from '../../mds/protocol/msgpack.ts';
import { ProtocolError } from '../../mds/protocol/protocol-error.ts';

const value = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.maxSafeInteger(),
    fc.constant(Infinity),
    fc.boolean(),
    fc.constant(null),
    fc.string({ maxLength: 40 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  ),
  node: fc.oneof({ maxDepth: 5 }, tie('leaf'), fc.array(tie('node'), { maxLength: 20 })),
})).node;

const frame: fc.Arbitrary<Frame> = fc
  .array(value, { maxLength: 8 })
  .map((args): Frame => [0, 7, null, 0, 0, false, 42, args, null]);

const report = { verbose: 1 as const };

describe('framing', () => {
  test.prop([fc.array(value, { maxLength: 8 })], report)('what is encoded is what is decoded', (message) => {
    expect(decodeMessage(encodeMessage(message))).toEqual(message);
  });

  test.prop([fc.array(frame, { minLength: 1, maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 50 }))], report)(
    'frames arrive whole however the bytes are cut',
    (frames, cuts) => {
      const bytes = Buffer.concat(frames.map(encodeFrame));
      const decoder = new FrameDecoder();
      const got: Frame[] = [];
      let at = 0;
      for (const cut of cuts) {
        got.push(...decoder.push(bytes.subarray(at, at + cut)));
        at += cut;
      }
      if (at < bytes.length) got.push(...decoder.push(bytes.subarray(at)));
      expect(got).toEqual(frames);
      expect(decoder.partial).toBe(false);
    },
  );

  each('a frame that comes byte by byte costs little more than its bytes', () => {
    const bytes = encodeFrame([0, 1, null, 0, 0, false, 1, [Buffer.alloc(50_000, 7)], null]);
    const decoder = new FrameDecoder();
    const got: Frame[] = [];
    for (let at = 0; at < bytes.length; at++) {
      expect(decoder.buffered).toBe(at);
      got.push(...decoder.push(bytes.subarray(at, at + 1)));
    }
    expect(got).toHaveLength(1);
    expect(decoder.buffered).toBe(0);
  });

  test.prop([fc.uint8Array({ minLength: 1, maxLength: 400 })], { ...report, numRuns: 2000 })(
    'any bytes are a frame or a ProtocolError, never another failure',
    (bytes) => {
      try {
        parseFrame(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    },
  );

  test.prop([frame, fc.nat(), fc.integer({ min: 0, max: 255 })], { ...report, numRuns: 1000 })(
    'a damaged frame is a frame or a ProtocolError',
    (whole, where, byte) => {
      const bytes = encodeFrame(whole).subarray(4);
      bytes[where % bytes.length] = byte;
      try {
        parseFrame(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    },
  );

  test('a frame larger than the bound is refused by its length alone', () => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(wireLimits.frameMax + 1);
    expect(() => new FrameDecoder().push(head)).toThrow(/oversized/);
  });

  test('an empty frame is refused', () => {
    expect(() => new FrameDecoder().push(Buffer.alloc(4))).toThrow(ProtocolError);
  });

  test('an array that claims more elements than bytes follow is refused before it is made', () => {
    const claims = Buffer.alloc(64 * 5);
    for (let at = 0; at < claims.length; at += 5) claims.set([0xdd, 0x01, 0xff, 0xff, 0xff], at);
    expect(() => decodeMessage(claims)).toThrow(/truncated/);
  });

  test('nesting beyond the bound is refused', () => {
    expect(() => decodeMessage(Buffer.alloc(100_000, 0x91))).toThrow(/too-deep/);
  });

  each.for([
    ['a map', [0x91, 0x80]],
    ['an extension type', [0x91, 0xd4, 1, 2]],
    ['a float', [0x91, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]],
    ['an integer beyond 2^53', [0x91, 0xcf, 0x00, 0x20, 0, 0, 0, 0, 0, 0]],
    ['bytes after the message', [0x90, 0x00]],
    ['no array', [0x01]],
  ] as const)('%s is refused', ([, bytes]) => {
    expect(() => decodeMessage(Buffer.from(bytes))).toThrow(ProtocolError);
  });

  test('"to the end" is 2^64-1 on the wire', () => {
    expect(encodeMessage([Infinity]).toString('hex')).toBe('91cfffffffffffffffff');
    expect(decodeMessage(Buffer.from('91cfffffffffffffffff', 'hex'))).toEqual([Infinity]);
  });

  test('integers beyond 32 bits are integers on the wire, not floats', () => {
    expect(encodeMessage([2 ** 40, -(2 ** 40)]).toString('hex')).toBe('92d30000010000000000d3ffffff0000000000');
  });
});
