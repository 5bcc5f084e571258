import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { crc32c } from '../../fs/format/crc32c.ts';

test.each([
  ['nothing', new Uint8Array(0), 0],
  ['the check string of the CRC catalogue', Buffer.from('123456789'), 0xe3069283],
  ['32 bytes of zeros (RFC 3720 B.4)', new Uint8Array(32), 0x8a9136aa],
  ['32 bytes of ones (RFC 3720 B.4)', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['32 bytes counting up (RFC 3720 B.4)', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ['32 bytes counting down (RFC 3720 B.4)', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
])('the CRC-32C of %s', (_, bytes, crc) => {
  expect(crc32c(bytes)).toBe(crc);
});

test.prop([fc.uint8Array(), fc.uint8Array()])('a CRC goes on from where another ended', (a, b) => {
  expect(crc32c(b, crc32c(a))).toBe(crc32c(Buffer.concat([a, b])));
});
