import { expect, test } from 'vitest';
import { mountData, mountFlags } from '../../../fs/fuse/kernel/mount.ts';

const flags = (readOnly: boolean, ...options: string[]): number => mountFlags({ readOnly, options });

test('generic options become the flags of mount(2), the last one counts', () => {
  expect(flags(false)).toBe(0);
  expect(flags(false, 'nosuid', 'nodev', 'noexec', 'noatime')).toBe(2 | 4 | 8 | 1024);
  expect(flags(false, 'nosuid', 'suid', 'defaults')).toBe(0);
  expect(flags(false, 'suid', 'nosuid')).toBe(2);
});

test('read-only stays read-only whatever the options say', () => {
  expect(flags(true, 'rw')).toBe(1);
});

test('an option that is not known is refused, not passed on', () => {
  expect(() => flags(false, 'noexec,fd=9')).toThrow(/unknown mount option/);
});

test('the kernel checks access, others enter only if allowed', () => {
  expect(mountData(5, { allowOther: false })).toMatch(/^fd=5,rootmode=40000,.*,max_read=1048576,default_permissions$/);
  expect(mountData(5, { allowOther: true })).toMatch(/,allow_other$/);
});
