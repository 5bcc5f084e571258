import { describe, expect, test } from 'vitest';
import { numbers, parsePciResource, pciResourceOf } from '../../fs/bar/sysfs.ts';

const folder = '/sys/devices/pci0000:00/0000:00:04.0/0000:01:00.0';

describe('a PCI resource', () => {
  test('is known by its path behind all links', () => {
    expect(pciResourceOf(`${folder}/resource2`)).toEqual({ folder, bar: 2, writeCombining: false });
    expect(pciResourceOf(`${folder}/resource4_wc`)).toEqual({ folder, bar: 4, writeCombining: true });
    expect(pciResourceOf('/sys/devices/pci10000:e0/10000:e0:06.0/resource0')?.bar).toBe(0);
  });

  test.each([
    `${folder}/resource`,
    `${folder}/resource7`,
    `${folder}/config`,
    '/tmp/resource0',
    `/tmp${folder}/resource0`,
  ])('%s is none', (path) => expect(pciResourceOf(path)).toBeUndefined());

  const text = [
    '0x00000000fe000000 0x00000000fe000fff 0x0000000000040200',
    '0x0000000000000000 0x0000000000000000 0x0000000000000000',
    '0x0000382000000000 0x000038203fffffff 0x000000000014220c',
    '',
  ].join('\n');

  test('has its line in the table of the device', () => {
    expect(parsePciResource(text, 0)).toEqual({ start: 0xfe00_0000n, size: 4096 });
    expect(parsePciResource(text, 2)).toEqual({ start: 0x3820_0000_0000n, size: 2 ** 30 });
  });

  test.each([1, 3, 5])('without memory (%d) is no device', (bar) => {
    expect(() => parsePciResource(text, bar)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });
});

test('device numbers of 12 and 20 bits are taken apart', () => {
  expect(numbers(0x0700)).toBe('7:0');
  expect(numbers(0xfd01)).toBe('253:1');
  expect(numbers(0x00f0_03ff)).toBe('3:4095');
  expect(numbers(0xffff_ffff)).toBe('4095:1048575');
});
