import { expect, test } from 'vitest';
import { mountOptionsHelp, parseMountOptions } from '../../tools/lib/mount-options.ts';

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

test('the help names options that there are', () => {
  const lists = mountOptionsHelp
    .split('\n')
    .flatMap((line) => /^ {2}([a-z][^,\s]*(?:, [a-z][^,\s]*)*)/.exec(line)?.[1] ?? []);
  const names = lists.flatMap((list) => list.split(', '));
  const examples = new Map([
    ['driver', 'kernel'],
    ['topology', 'any'],
    ['pci', '0000:03:00.0'],
    ['translate', 'gpu=0x1000'],
    ['rma', 'tcp'],
  ]);
  const given = names.map((name) => name.replace(/^(\w+)=.*/, (_, key: string) => `${key}=${examples.get(key) ?? 1}`));
  expect(given).toEqual(
    expect.arrayContaining(['ro', 'direct_io', 'driver=kernel', 'poll_us=1', 'meta=1', 'recall_ms=1']),
  );
  expect(() => parseMountOptions(given, false)).not.toThrow();
});

test('what peers may do is what both kinds of options say', () => {
  const { topology } = parseMountOptions(
    ['topology=switch', 'pci=0000:03:00.0,translate=a=b=-0x10,translate=gpu=7'],
    false,
  );
  expect(topology).toEqual({
    rule: 'switch',
    pci: '0000:03:00.0',
    translations: [
      { who: 'a=b', add: -16n },
      { who: 'gpu', add: 7n },
    ],
  });
});

test.each(['topology=near', 'pci=3:0', 'translate=gpu', 'translate==1', 'translate=gpu=1x'])(
  '%s is refused',
  (option) => {
    expect(() => parseMountOptions([option], false)).toThrow('EINVAL');
  },
);
