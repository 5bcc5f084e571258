import { fc, test } from '@fast-check/vitest';
import { describe, expect } from 'vitest';
import { FsError } from '../../../fs/errors.ts';
import { opcode } from '../../../fs/fuse/kernel/abi.ts';
import { decodeGroups, decodeHeader, decodeRequest } from '../../../fs/fuse/kernel/decode.ts';
import { cursor, type Field, type OpcodeName, request, u32, u64 } from './wire.ts';

/** As in the buffer of a channel: what a longer request left behind stands after this one. */
function decode(bytes: Uint8Array, longSetxattr = false) {
  const c = cursor(Buffer.concat([bytes, Buffer.alloc(200, 0x41), Buffer.alloc(8)]));
  c.rewind(bytes.byteLength);
  const header = decodeHeader(c);
  const groups = decodeGroups(header, c);
  const decoded = decodeRequest(header, c, { longSetxattr });
  return groups.length === 0 ? decoded : { ...decoded, groups };
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof FsError) return error.code;
    throw error;
  }
  return 'no error';
}

/** One well-formed request of each opcode, and what it means. */
const samples: readonly (readonly [OpcodeName, readonly Field[], object])[] = [
  [
    'init',
    [u32(7), u32(45), u32(131072), u32(0xff), u32(0x10), new Uint8Array(44)],
    { op: 'init', major: 7, minor: 45, maxReadahead: 131072, flags: 0xff, flags2: 0 },
  ],
  ['destroy', [], { op: 'destroy' }],
  ['lookup', ['name'], { op: 'lookup', name: 'name' }],
  ['lookup', ['..'], { op: 'lookup', name: '..' }],
  ['forget', [u64(3)], { op: 'forget', count: 3 }],
  [
    'batchForget',
    [u32(2), u32(0), u64(7), u64(1), u64(8), u64(5)],
    {
      op: 'batchForget',
      forgets: [
        { nodeId: 7, count: 1 },
        { nodeId: 8, count: 5 },
      ],
    },
  ],
  ['getattr', [u32(1), u32(0), u64(9)], { op: 'getattr' }],
  ['statx', [u32(1), u32(0), u64(9), u32(0), u32(0xfff)], { op: 'statx' }],
  ['readlink', [], { op: 'readlink' }],
  ['symlink', ['link', 'to/there'], { op: 'symlink', name: 'link', target: Buffer.from('to/there') }],
  [
    'mknod',
    [u32(0o20644), u32(0x103), u32(0o22), u32(0), 'null'],
    { op: 'mknod', name: 'null', mode: 0o20644, umask: 0o22, rdev: 0x103 },
  ],
  ['mkdir', [u32(0o755), u32(0o22), 'd'], { op: 'mkdir', name: 'd', mode: 0o755, umask: 0o22 }],
  ['unlink', ['x'], { op: 'unlink', name: 'x' }],
  ['rmdir', ['x'], { op: 'rmdir', name: 'x' }],
  ['rename', [u64(5), 'a', 'b'], { op: 'rename', toParent: 5, name: 'a', toName: 'b', mode: 'replace' }],
  [
    'rename2',
    [u64(5), u32(1), u32(0), 'a', 'b'],
    { op: 'rename', toParent: 5, name: 'a', toName: 'b', mode: 'noreplace' },
  ],
  [
    'rename2',
    [u64(5), u32(2), u32(0), 'a', 'b'],
    { op: 'rename', toParent: 5, name: 'a', toName: 'b', mode: 'exchange' },
  ],
  ['link', [u64(12), 'second'], { op: 'link', nodeId: 12, name: 'second' }],
  ['open', [u32(2), u32(1)], { op: 'open', flags: 2, killSuidgid: true }],
  ['opendir', [u32(0o200000), u32(0)], { op: 'opendir' }],
  [
    'create',
    [u32(0o102), u32(0o644), u32(0o22), u32(0), 'f'],
    { op: 'create', flags: 0o102, mode: 0o644, umask: 0o22, name: 'f' },
  ],
  ['tmpfile', [u32(2), u32(0o600), u32(0o77), u32(0), '/'], { op: 'tmpfile', flags: 2, mode: 0o600, umask: 0o77 }],
  [
    'read',
    [u64(4), u64(8192), u32(4096), u32(0), u64(0), u32(0), u32(0)],
    { op: 'read', handle: 4, offset: 8192, size: 4096 },
  ],
  [
    'readdir',
    [u64(4), u64(17), u32(4096), u32(0), u64(0), u32(0), u32(0)],
    { op: 'readdir', handle: 4, offset: 17, size: 4096 },
  ],
  [
    'readdirplus',
    [u64(4), u64(0), u32(4096), u32(0), u64(0), u32(0), u32(0)],
    { op: 'readdirplus', handle: 4, offset: 0, size: 4096 },
  ],
  [
    'write',
    [u64(4), u64(2 ** 40), u32(3), u32(4), u64(0), u32(1), u32(0), Buffer.from('abc')],
    { op: 'write', handle: 4, offset: 2 ** 40, data: Buffer.from('abc'), killSuidgid: true, appends: false },
  ],
  [
    'write',
    [u64(4), u64(7), u32(3), u32(0), u64(0), u32(0o2001), u32(0), Buffer.from('abc')],
    { op: 'write', handle: 4, offset: 7, data: Buffer.from('abc'), killSuidgid: false, appends: true },
  ],
  [
    'write',
    [u64(4), u64(7), u32(3), u32(1), u64(0), u32(0o2001), u32(0), Buffer.from('abc')],
    { op: 'write', handle: 4, offset: 7, data: Buffer.from('abc'), killSuidgid: false, appends: false },
  ],
  ['release', [u64(4), u32(2), u32(0), u64(0)], { op: 'release', handle: 4 }],
  ['releasedir', [u64(4), u32(2), u32(0), u64(0)], { op: 'releasedir', handle: 4 }],
  ['fsync', [u64(4), u32(1), u32(0)], { op: 'fsync', dataOnly: true }],
  ['fsyncdir', [u64(4), u32(0), u32(0)], { op: 'fsyncdir', dataOnly: false }],
  [
    'setxattr',
    [u32(2), u32(1), 'user.a', Buffer.from('vv')],
    { op: 'setxattr', name: 'user.a', value: Buffer.from('vv'), mode: 'create', killSgid: false },
  ],
  ['getxattr', [u32(64), u32(0), 'user.a'], { op: 'getxattr', name: 'user.a', size: 64 }],
  ['listxattr', [u32(64), u32(0)], { op: 'listxattr', size: 64 }],
  ['removexattr', ['user.a'], { op: 'removexattr', name: 'user.a' }],
  ['statfs', [], { op: 'statfs' }],
  ['access', [u32(4), u32(0)], { op: 'access', mask: 4 }],
  [
    'fallocate',
    [u64(4), u64(0), u64(4096), u32(3), u32(0)],
    { op: 'fallocate', handle: 4, offset: 0, length: 4096, mode: 'punch' },
  ],
  ['lseek', [u64(4), u64(10), u32(4), u32(0)], { op: 'lseek', handle: 4, offset: 10, whence: 'hole' }],
  [
    'copyFileRange',
    [u64(4), u64(1), u64(12), u64(5), u64(2), u64(3), u64(0)],
    { op: 'copyFileRange', wide: false, from: 4, fromOffset: 1, toNodeId: 12, to: 5, toOffset: 2, length: 3 },
  ],
  [
    'copyFileRange64',
    [u64(4), u64(1), u64(12), u64(5), u64(2), u64(2 ** 33), u64(0)],
    { op: 'copyFileRange', wide: true, from: 4, fromOffset: 1, toNodeId: 12, to: 5, toOffset: 2, length: 2 ** 33 },
  ],
  ['syncfs', [u64(0)], { op: 'syncfs' }],
  ['flush', [u64(4), u32(0), u32(0), u64(0)], { op: 'flush', handle: 4 }],
  ['getlk', [u64(4), u64(1), u64(0), u64(9), u32(1), u32(7), u32(0), u32(0)], { op: 'unsupported' }],
  ['setlk', [u64(4), u64(1), u64(0), u64(9), u32(1), u32(7), u32(0), u32(0)], { op: 'unsupported' }],
  ['setlkw', [u64(4), u64(1), u64(0), u64(9), u32(1), u32(7), u32(1), u32(0)], { op: 'unsupported' }],
  ['bmap', [u64(0), u32(4096), u32(0)], { op: 'unsupported' }],
  ['poll', [u64(4), u64(1), u32(0), u32(1)], { op: 'unsupported' }],
  ['setupMapping', [u64(4), u64(0), u64(4096), u64(0), u64(0)], { op: 'unsupported' }],
  ['removeMapping', [u32(1), u64(0), u64(4096)], { op: 'unsupported' }],
  ['notifyReply', [u64(0), u64(0), u32(3), u32(0), u64(0), u64(0), Buffer.from('abc')], { op: 'notifyReply' }],
  [
    'setattr',
    [
      u32(1),
      u32(0),
      u64(9),
      u64(77),
      u64(0),
      u64(0),
      u64(5),
      u64(0),
      u32(1),
      u32(2),
      u32(0),
      u32(0o600),
      u32(0),
      u32(10),
      u32(20),
      u32(0),
    ],
    { op: 'setattr', changes: { mode: 0o600 }, handle: undefined, killSuidgid: false },
  ],
  ['interrupt', [u64(22)], { op: 'interrupt', unique: 22 }],
  [
    'ioctl',
    [u64(4), u32(0), u32(0x4008_6602), u64(0x7fff_0000), u32(4), u32(8), Buffer.from([16, 0, 0, 0])],
    { op: 'ioctl', handle: 4, command: 0x4008_6602, data: Buffer.from([16, 0, 0, 0]), outSize: 8 },
  ],
];

describe('a request', () => {
  test.each(samples.map(([name, fields, meaning]) => ({ name, fields, meaning })))(
    'of $name is read field by field',
    ({ name, fields, meaning }) => {
      const decoded = decode(request(name, {}, ...fields));
      expect(plain(decoded)).toEqual(plain(meaning));
    },
  );

  test('every opcode has a sample here', () => {
    const missing = Object.keys(opcode).filter((name) => !samples.some(([sample]) => sample === name));
    expect(missing).toEqual([]);
  });

  test('header: caller, inode and number', () => {
    const c = cursor(request('destroy', { unique: 2 ** 40, nodeId: 2 ** 41, uid: 4294967294, gid: 7, pid: 99 }));
    expect(decodeHeader(c)).toEqual({
      opcode: opcode.destroy,
      unique: 2 ** 40,
      nodeId: 2 ** 41,
      uid: 4294967294,
      gid: 7,
      pid: 99,
      extensions: 0,
    });
  });

  const read = samples.filter(([name]) => !['destroy', 'readlink', 'statfs', 'syncfs', 'notifyReply'].includes(name));

  test.each(read.map(([name, fields, meaning]) => ({ name, fields, meaning })))(
    'of $name that ends early is refused, or all that was cut off is what nobody reads',
    ({ name, fields, meaning }) => {
      const whole = request(name, {}, ...fields);
      const cut = (length: number) => {
        const bytes = Buffer.from(whole.subarray(0, length));
        bytes.writeUInt32LE(length, 0);
        return bytes;
      };
      expect(codeOf(() => decode(cut(40)))).toBe('EPROTO');
      for (let length = 41; length < whole.length; length++) {
        const code = codeOf(() => decode(cut(length)));
        if (code !== 'EPROTO') expect(plain(decode(cut(length)))).toEqual(plain(meaning));
      }
    },
  );

  test('whose length is not what was read is refused', () => {
    const bytes = request('lookup', {}, 'x');
    bytes.writeUInt32LE(bytes.length + 1, 0);
    expect(codeOf(() => decode(bytes))).toBe('EPROTO');
  });

  test('a WRITE that promises more data than it brings is refused', () => {
    const bytes = request('write', {}, u64(4), u64(0), u32(4096), u32(0), u64(0), u32(1), u32(0), Buffer.alloc(4095));
    expect(codeOf(() => decode(bytes))).toBe('EPROTO');
  });

  test('a BATCH_FORGET that counts more than it brings is refused', () => {
    expect(codeOf(() => decode(request('batchForget', {}, u32(0xffffffff), u32(0), u64(1), u64(1))))).toBe('EPROTO');
  });

  test('extensions that were not negotiated are refused', () => {
    const context = [u32(24), u32(31), u32(0), u32(0), u64(0)];
    expect(codeOf(() => decode(request('mkdir', { extensions: 3 }, u32(0o755), u32(0), 'd', ...context)))).toBe(
      'EPROTO',
    );
  });

  test('an extension that is longer than the request, or than it says, is refused', () => {
    expect(codeOf(() => decode(request('mkdir', { extensions: 2 }, u32(0o755), u32(0), 'd')))).toBe('EPROTO');
    for (const [size, count] of [
      [24, 1],
      [7, 1],
      [0, 1],
      [16, 3],
    ] as const) {
      const groups = [u32(size), u32(32), u32(count), u32(100)];
      expect(codeOf(() => decode(request('mkdir', { extensions: 2 }, u32(0o755), u32(0), 'd', ...groups)))).toBe(
        'EPROTO',
      );
    }
  });

  test('the group of the directory comes behind the arguments, where the caller is in it', () => {
    const groups = [u32(16), u32(32), u32(1), u32(100)];
    const decoded = decode(request('mkdir', { extensions: 2 }, u32(0o755), u32(0o22), 'd', ...groups));
    expect(plain(decoded)).toEqual({ op: 'mkdir', name: 'd', mode: 0o755, umask: 0o22, groups: [100] });
  });

  test('SETXATTR has flags of its own once that is agreed on', () => {
    const bytes = request('setxattr', {}, u32(1), u32(0), u32(1), u32(0), 'system.posix_acl_access', Buffer.from('v'));
    expect(decode(bytes, true)).toMatchObject({ name: 'system.posix_acl_access', killSgid: true });
  });

  test('a name without its end is refused, even if the buffer behind it has one', () => {
    expect(codeOf(() => decode(request('lookup', {}, Buffer.from('abc'))))).toBe('EPROTO');
  });

  test.each([
    ['a name of 256 bytes', 'lookup', ['n'.repeat(256)], 'ENAMETOOLONG'],
    ['an empty name', 'mkdir', [u32(0), u32(0), ''], 'EINVAL'],
    ["the name '.' for something new", 'mkdir', [u32(0), u32(0), '.'], 'EINVAL'],
    ["a name with '/'", 'unlink', ['a/b'], 'EINVAL'],
    ['a node that no reply can have held', 'rename', [u64(2 ** 62), 'a', 'b'], 'ESTALE'],
    ['WHITEOUT and EXCHANGE at once', 'rename2', [u64(5), u32(6), u32(0), 'a', 'b'], 'EINVAL'],
    ['NOREPLACE and EXCHANGE at once', 'rename2', [u64(5), u32(3), u32(0), 'a', 'b'], 'EINVAL'],
    ['PUNCH_HOLE without KEEP_SIZE', 'fallocate', [u64(4), u64(0), u64(1), u32(2), u32(0)], 'EOPNOTSUPP'],
    ['SEEK_SET', 'lseek', [u64(4), u64(0), u32(0), u32(0)], 'EINVAL'],
    ['both XATTR flags', 'setxattr', [u32(1), u32(3), 'user.a', Buffer.from('v')], 'EINVAL'],
    ['an attribute of 65537 bytes', 'setxattr', [u32(65537), u32(0), 'user.a', Buffer.alloc(65537)], 'E2BIG'],
    ['an attribute name of 256 bytes', 'getxattr', [u32(0), u32(0), 'u'.repeat(256)], 'ERANGE'],
  ] as const)('%s is refused', (_what, name, fields, code) => {
    expect(codeOf(() => decode(request(name, {}, ...fields)))).toBe(code);
  });
});

const setattr = (
  valid: number,
  values: { readonly mode?: number; readonly atime?: number; readonly nsec?: number } = {},
) =>
  decode(
    request(
      'setattr',
      {},
      u32(valid),
      u32(0),
      u64(9),
      u64(77),
      u64(0),
      u64(values.atime ?? 0),
      u64(5),
      u64(0),
      u32(values.nsec ?? 1),
      u32(2),
      u32(0),
      u32(values.mode ?? 0),
      u32(0),
      u32(10),
      u32(20),
      u32(0),
    ),
  );

describe('SETATTR', () => {
  test('leaves alone what is not marked valid', () => {
    expect(setattr(0)).toEqual({ op: 'setattr', changes: {}, handle: undefined, killSuidgid: false });
  });

  test('takes mode bits without the type, size, owner and the open file', () => {
    expect(setattr(0b100_1111, { mode: 0o104755 })).toMatchObject({
      changes: { mode: 0o4755, size: 77, uid: 10, gid: 20 },
      handle: 9,
    });
  });

  test('a time is UTIME_NOW by a bit of its own, and may lie before 1970', () => {
    expect(setattr(0b1_1011_0000)).toMatchObject({ changes: { atime: 'now', mtime: 'now' } });
    expect(setattr(0b1_0011_0000, { atime: -3, nsec: 999_999_999 })).toMatchObject({
      changes: { atime: { sec: -3, nsec: 999_999_999 }, mtime: 'now' },
    });
  });

  test('nanoseconds beyond a second are refused', () => {
    expect(codeOf(() => setattr(1 << 4, { nsec: 1_000_000_000 }))).toBe('EINVAL');
  });
});

describe('hostile bytes', () => {
  test.prop([fc.integer({ min: 0, max: 60 }), fc.uint8Array({ maxLength: 200 })])(
    'behind any opcode decode to a request or an FsError, never to anything else',
    (code, args) => {
      expect(() => codeOf(() => decode(request(code, {}, args)))).not.toThrow();
    },
  );

  test.prop([fc.uint8Array({ maxLength: 120 })])('instead of a request do as well', (bytes) => {
    expect(() => codeOf(() => decode(bytes))).not.toThrow();
  });
});

/** Buffers and Uint8Arrays with the same bytes are the same. */
function plain(value: object): object {
  return Object.fromEntries(
    Object.entries(value).map(([key, field]: [string, unknown]) => [
      key,
      field instanceof Uint8Array ? Uint8Array.from(field) : field,
    ]),
  );
}
