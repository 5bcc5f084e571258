import { expect, test } from 'vitest';
import { parseMountOptions } from '../../tools/lib/mount-options.ts';

const isRoot = process.geteuid?.() === 0;

test.for([
  { options: [], allowOther: isRoot },
  { options: ['driver=kernel'], allowOther: isRoot },
  { options: ['no_allow_other'], allowOther: false },
  // It would give every file to the daemon's user, whoever makes it.
  { options: ['driver=fuse-native'], allowOther: false },
  { options: ['driver=fuse-native,allow_other'], allowOther: true },
])('with $options others get in: $allowOther', ({ options, allowOther }) => {
  expect(parseMountOptions(options, false).allowOther).toBe(allowOther);
});

test.each(['', 'x', '-1', '1001', '1.5'])('poll_us=%s is refused', (value) => {
  expect(() => parseMountOptions([`poll_us=${value}`], false)).toThrow('EINVAL');
});

test('poll_us is in microseconds', () => {
  expect(parseMountOptions(['poll_us=50'], false).pollMs).toBe(0.05);
  expect(parseMountOptions(['poll_us=0'], false).pollMs).toBe(0);
  expect(parseMountOptions([], false).pollMs).toBeUndefined();
});

test('later options win over earlier ones', () => {
  const { readOnly, kernel, leaseMs } = parseMountOptions(['ro,noexec,lease_ms=500', 'rw,exec,lease_ms=700'], false);
  expect({ readOnly, kernel, leaseMs }).toEqual({ readOnly: false, kernel: [], leaseMs: 700 });
});
