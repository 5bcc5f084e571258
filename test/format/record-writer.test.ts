/** What RecordWriter writes is msgpack, byte for byte as msgpackr writes it. */
import { fc, test } from '@fast-check/vitest';
import { Packr } from 'msgpackr';
import { expect } from 'vitest';
import { AssertionFailure } from '../../fs/errors.ts';
import { RecordWriter } from '../../fs/format/record-writer.ts';

const packr = new Packr({ useRecords: false });
const writer = new RecordWriter();
const most = Number.MAX_SAFE_INTEGER;

/** The values around every power of two: where the form changes. */
const boundaries = Array.from({ length: 53 }, (_, power) => [-1, 0, 1].map((off) => 2 ** power + off))
  .flat()
  .filter((value) => Number.isSafeInteger(value));
const integers = fc.oneof(fc.maxSafeInteger(), fc.constantFrom(...boundaries, ...boundaries.map((value) => -value)));
const strings = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(255, 256, 65_535, 65_536, 70_000).map((length) => new Uint8Array(length).fill(7)),
);

function written(fields: readonly (number | Uint8Array)[]): Buffer {
  writer.begin(
    fields.length,
    fields.reduce<number>((sum, field) => sum + (typeof field === 'number' ? 0 : field.length), 0),
  );
  for (const field of fields) {
    if (typeof field === 'number') writer.integer('field', field, most, -most);
    else writer.bytes('field', field, 2 ** 20);
  }
  return Buffer.from(writer.end());
}

test.prop([fc.array(fc.oneof(integers, strings), { maxLength: 20 })])('any fields', (fields) => {
  expect(written(fields).equals(packr.pack(fields))).toBe(true);
});

test('every boundary', () => {
  for (const value of boundaries) {
    expect(written([value, -value]).toString('hex')).toBe(packr.pack([value, -value || 0]).toString('hex'));
  }
});

test('records keep their bytes while later ones are written', () => {
  const records = Array.from({ length: 20_000 }, (_, i) => {
    writer.begin(2);
    writer.integer('i', i);
    writer.integer('square', i * i);
    return writer.end();
  });
  for (const [i, record] of records.entries()) expect(packr.unpack(record)).toEqual([i, i * i]);
});

test.each([
  ['a fraction', () => writer.integer('field', 1.5)],
  ['what is no number', () => writer.integer('field', Number.NaN)],
  ['an integer that is not exact', () => writer.integer('field', 2 ** 53)],
  ['less than the least', () => writer.integer('field', -1)],
  ['more than the most', () => writer.integer('field', 4, 3)],
  ['too few bytes', () => writer.bytes('field', new Uint8Array(1), 3, 2)],
  ['too many bytes', () => writer.bytes('field', new Uint8Array(4), 3, 2)],
] as const)('%s is not written', (_, write) => {
  writer.begin(1, 4);
  expect(write).toThrow(AssertionFailure);
});
