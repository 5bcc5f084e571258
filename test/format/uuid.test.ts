import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { newUuid, sameUuid, uuidFromText, uuidToText } from '../../fs/format/uuid.ts';

test.prop([fc.uuid()])('a UUID is the same after bytes and text', (text) => {
  expect(uuidToText(uuidFromText(text))).toBe(text);
  expect(sameUuid(uuidFromText(text.toUpperCase()), uuidFromText(text))).toBe(true);
});

test('a new UUID is random, of version 4 (RFC 9562 5.4)', () => {
  const [a, b] = [newUuid(), newUuid()];
  expect(a).toHaveLength(16);
  expect(sameUuid(a, b)).toBe(false);
  expect(uuidToText(a)).toMatch(/^.{8}-.{4}-4.{3}-[89ab]/);
});

test.each(['', 'x', '00000000000000000000000000000000', '0000000g-0000-0000-0000-000000000000'])(
  '%j is no UUID',
  (text) => {
    expect(() => uuidFromText(text)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  },
);
