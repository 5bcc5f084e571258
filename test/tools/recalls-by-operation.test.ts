/** docs/recalls.md, for programs on a mount: each operation asks back exactly what it must, waits, and then is right. */
import { chmod, link, mkdir, open, readFile, rename, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { operations } from '../../mds/protocol/ops.ts';
import { serverStatusFromWire } from '../../mds/protocol/server-status.ts';
import { Holder } from '../mds/holder.ts';
import { RawClient } from '../mds/raw-client.ts';
import { block, cutTo, fileSize, type OperationName, over, type Row, rwBlocks, table } from '../mds/recall-table.ts';
import { until } from '../support/until.ts';
import { canMount, Sandbox } from './sandbox.ts';

let box: Sandbox;
let address: string;
let files = 0;

/** In a directory of its own, with `other`, as large, beside it. */
interface Place {
  readonly dir: string;
  readonly file: string;
  readonly other: string;
}

function content(letter: string): Buffer {
  const data = Buffer.alloc(fileSize, letter);
  data.fill(0, 4 * block, 6 * block);
  return data;
}

async function makePlace(): Promise<Place> {
  const dir = box.path(`d${++files}`);
  await mkdir(dir);
  const place = { dir, file: join(dir, 'f'), other: join(dir, 'other') };
  for (const [path, letter] of [
    [place.file, '-'],
    [place.other, 'o'],
  ] as const) {
    const data = content(letter);
    const handle = await open(path, 'wx');
    await handle.write(data, 0, 4 * block, 0);
    await handle.write(data, 6 * block, fileSize - 6 * block, 6 * block);
    await handle.close();
  }
  return place;
}

async function must(command: string, ...args: readonly string[]): Promise<void> {
  const { code, stderr } = await box.command(command, ...args);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

const write =
  (flags: string, at: number, length: number) =>
  async ({ file }: Place): Promise<void> => {
    const handle = await open(file, flags);
    try {
      await handle.write(Buffer.alloc(length, 'x'), 0, length, flags === 'a' ? null : at);
    } finally {
      await handle.close();
    }
  };
const cut =
  (size: number) =>
  ({ file }: Place) =>
    truncate(file, size);
const fallocate =
  (...args: readonly (string | number)[]) =>
  ({ file }: Place) =>
    must('fallocate', ...args.map(String), file);
const python =
  (script: string) =>
  ({ file, other }: Place) =>
    must('python3', '-c', `import os, sys, mmap\nfile, other = sys.argv[1:]\n${script}`, file, other);
const copy = (from: 'file' | 'other', at: number, to: 'file' | 'other', toAt: number, length: number) =>
  python(`a, b = os.open(${from}, os.O_RDONLY), os.open(${to}, os.O_RDWR)
assert os.copy_file_range(a, b, ${length}, ${at}, ${toAt}) == ${length}`);

const x = (length: number): Buffer => Buffer.alloc(length, 'x');

interface Operation {
  readonly run: (place: Place) => Promise<unknown>;
  readonly row: Omit<Row, 'own'>;
  /** What the file reads as afterwards; the same by default. */
  readonly expected?: (before: Buffer) => Buffer;
}

/** As in the table, whose word for it this is. */
const as = (operation: OperationName, run: Operation['run'], expected?: Operation['expected']) =>
  [operation, { run, row: table[operation], ...(expected !== undefined && { expected }) }] as const;

const nothing = { writer: [], reader: [] };

const cases: readonly (readonly [string, Operation])[] = [
  as('write in place to 1 and 2', write('r+', block, 2 * block), over(block, x(2 * block))),
  as('write to the hole at 4', write('r+', 4 * block + 10, 10), over(4 * block + 10, x(10))),
  as('write to 3 and the hole at 4', write('r+', 3 * block, 2 * block), over(3 * block, x(2 * block))),
  as('append to the end block', write('a', 0, 10), over(fileSize, x(10))),
  as('write behind the end, to 10', write('r+', 10 * block, 10), over(10 * block, x(10))),
  [
    'O_DIRECT write to 1',
    {
      run: ({ file }) =>
        must('dd', 'if=/dev/zero', `of=${file}`, 'bs=4096', 'seek=1', 'count=1', 'oflag=direct', 'conv=notrunc'),
      row: { writer: [[3, 1, 1, false]], reader: [[3, 1, 1, false]] },
      expected: over(block, Buffer.alloc(block)),
    },
  ],
  [
    'O_DIRECT read of 1',
    {
      run: ({ file }) => must('dd', `if=${file}`, 'of=/dev/null', 'bs=4096', 'skip=1', 'count=1', 'iflag=direct'),
      row: { writer: [[2, 1, 1, false]], reader: [] },
    },
  ],
  as('truncate into 2', cut(2 * block + 5), cutTo(2 * block + 5)),
  as('truncate to 2', cut(2 * block), cutTo(2 * block)),
  as('truncate to the same size', cut(fileSize)),
  as('truncate to 11', cut(11 * block), cutTo(11 * block)),
  as('truncate to more within the end block', cut(fileSize + 50), cutTo(fileSize + 50)),
  as('open with O_TRUNC', async ({ file }) => (await open(file, 'w')).close(), cutTo(0)),
  as('punch 1 and 2', fallocate('-p', '-o', block, '-l', 2 * block), over(block, Buffer.alloc(2 * block))),
  as('punch bytes of 1', fallocate('-p', '-o', block + 10, '-l', 20), over(block + 10, Buffer.alloc(20))),
  as('zero 1 and 2', fallocate('-z', '-o', block, '-l', 2 * block), over(block, Buffer.alloc(2 * block))),
  as('zero 9, longer', fallocate('-z', '-o', 9 * block, '-l', block), cutTo(10 * block)),
  as('allocate 0 to 3', fallocate('-o', 0, '-l', 4 * block)),
  as('allocate 3 to 6', fallocate('-o', 3 * block, '-l', 4 * block)),
  as('allocate 9 and 10, longer', fallocate('-o', 9 * block, '-l', 2 * block), cutTo(11 * block)),
  as('allocate 9 and 10, same size', fallocate('-n', '-o', 9 * block, '-l', 2 * block)),
  as('copy from 1 and 2', copy('file', block, 'other', 0, 2 * block)),
  as('copy to 1 and 2', copy('other', 0, 'file', block, 2 * block), over(block, Buffer.alloc(2 * block, 'o'))),
  as('copy bytes from 1', copy('file', block + 1, 'other', 7, 50)),
  as('copy bytes to 1', copy('other', 6, 'file', block + 7, 50), over(block + 7, Buffer.alloc(50, 'o'))),
  as('snapshot of its directory', ({ dir }) => mkdir(join(dir, '.snapshots', 's'))),
  as('set cow', python(`os.setxattr(file, 'system.iopmemfs.cow', b'on')`)),
  as('set an attribute', python(`os.setxattr(file, 'user.a', b'x')`)),
  as('change mode, owner and times', async ({ file }) => {
    await chmod(file, 0o600);
    await utimes(file, 1, 2);
  }),
  as('link it', ({ file, dir }) => link(file, join(dir, 'f2'))),
  ['fsync it', { run: python('os.fsync(os.open(file, os.O_RDWR))'), row: nothing }],
  ['stat it', { run: ({ file }) => must('stat', file), row: nothing }],
  as('seek in it', python('os.lseek(os.open(file, os.O_RDONLY), 0, os.SEEK_HOLE)')),
];

async function holderOf(
  kind: 'writer' | 'reader',
  { file, dir }: Place,
): Promise<{ holder: Holder; client: RawClient }> {
  const client = await RawClient.connect(address, { owner: `${kind} of ${file}` });
  const [[directory]] = await client.call(operations.LOOKUP, [client.rootIno, Buffer.from(basename(dir))]);
  const [[ino]] = await client.call(operations.LOOKUP, [directory, Buffer.from('f')]);
  return { client, holder: await Holder.of(client, ino, kind === 'writer' ? 2 : 1, 0, rwBlocks * block) };
}

describe.runIf(canMount)('through a mount', () => {
  beforeAll(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    address = `unix:${join(box.dir, 'mds.sock')}`;
    await box.mount('--listen', address);
  });
  afterAll(() => box.remove());

  describe.each(['writer', 'reader'] as const)('what the %s is asked for', (kind) => {
    test.for(cases)('%s', async ([, { run, row, expected }]) => {
      const place = await makePlace();
      const before = content('-');
      const { holder, client } = await holderOf(kind, place);
      try {
        await holder.through(run(place));
        expect(holder.asked).toEqual(row[kind]);
        const after = await holder.through(readFile(place.file));
        expect(after.equals(expected === undefined ? before : expected(before))).toBe(true);
        // Reading it asks for RW, in the file and not behind it.
        for (const [iomode, from, count, changed] of holder.asked.slice(row[kind].length)) {
          expect([kind, iomode, changed]).toEqual(['writer', 2, false]);
          expect(from + count).toBeLessThanOrEqual(Math.ceil(after.length / block));
        }
      } finally {
        await client.connection.end();
      }
    });
  });

  test('a file that is read to its end asks for nothing behind it, and shows what is committed there', async () => {
    const file = box.path(`end${++files}`);
    const handle = await open(file, 'wx');
    await handle.write(Buffer.alloc(2 * block, 'a'), 0, 2 * block, 0);
    await handle.close();
    const client = await RawClient.connect(address, { owner: file });
    try {
      const [[ino]] = await client.call(operations.LOOKUP, [client.rootIno, Buffer.from(basename(file))]);
      const { stateid, extents } = await client.layout(ino, await client.open(ino), 2, 2 * block, 2 * block, 1);
      const holder = Holder.watching(client, ino);
      expect((await holder.through(readFile(file))).length).toBe(2 * block);
      expect(holder.asked).toEqual([]);
      const image = await open(box.image, 'r+');
      await image.write(Buffer.alloc(block, 'b'), 0, block, extents[0]?.[4] ?? 0);
      await image.close();
      await client.call(operations.LAYOUTCOMMIT, [ino, stateid, [[2 * block, block]], 3 * block - 1, null, null]);
      const grown = await holder.through(readFile(file));
      expect(grown.toString('latin1')).toBe('a'.repeat(2 * block) + 'b'.repeat(block));
      expect(holder.asked).toEqual([[2, 2, 1, false]]);
    } finally {
      await client.connection.end();
    }
  });

  test('programs that wait to write, however many, keep no commit and no return out', async () => {
    const dir = box.path(`waiting${++files}`);
    await mkdir(dir);
    const client = await RawClient.connect(address, { owner: dir });
    const holder = Holder.watching(client, 0);
    try {
      const [[directory]] = await client.call(operations.LOOKUP, [client.rootIno, Buffer.from(basename(dir))]);
      const names = Array.from({ length: 32 }, (_, index) => String(index));
      for (const name of names) {
        await writeFile(join(dir, name), Buffer.alloc(block, '-'));
        const [[ino]] = await client.call(operations.LOOKUP, [directory, Buffer.from(name)]);
        await client.layout(ino, await client.open(ino), 2, 0, block, 1);
      }
      const script = `for i in ${names.join(' ')}; do printf x | dd of="$0/$i" conv=notrunc 2>/dev/null & done; wait`;
      const written = must('sh', '-c', script, dir);
      const recalls = [];
      while (recalls.length < names.length) recalls.push(await holder.recalled());
      const [status] = await client.connection.call(operations.STATUS, []);
      expect(serverStatusFromWire(status).breaks).toHaveLength(names.length);
      for (const recall of recalls) {
        await holder.commit(recall, 0, block);
        await holder.giveBack(recall);
      }
      await written;
      for (const name of names) expect((await readFile(join(dir, name), 'latin1')).slice(0, 2)).toBe('x-');
    } finally {
      await client.connection.end();
    }
  });

  test('a store to a mapping: RW before the page is there, READ when it is written back', async () => {
    const place = await makePlace();
    const [writer, reader] = [
      await holderOf('writer', place),
      await makePlace().then((other) => holderOf('reader', other).then((held) => ({ ...held, place: other }))),
    ];
    const store = python(`m = mmap.mmap(os.open(file, os.O_RDWR), 0)\nm[4096:4100] = b'xxxx'\nm.flush()`);
    try {
      await writer.holder.through(store(place));
      const [first, ...rest] = writer.holder.asked;
      expect(first).toMatchObject([2, expect.any(Number), expect.any(Number), false]);
      for (const [iomode, , , changed] of rest) expect([iomode, changed]).toEqual([2, false]);
      await reader.holder.through(store(reader.place));
      expect(reader.holder.asked).toEqual([[3, 1, 1, false]]);
      for (const { file } of [place, reader.place])
        expect((await readFile(file)).equals(over(block, x(4))(content('-')))).toBe(true);
    } finally {
      await writer.client.connection.end();
      await reader.client.connection.end();
    }
  });

  test.for([
    ['unlink', ({ file }: Place) => unlink(file)],
    ['rename over it', ({ file, other }: Place) => rename(other, file)],
  ] as const)('%s waits for nothing; the layouts go afterwards, and the blocks with them', async ([, remove]) => {
    const place = await makePlace();
    const { holder, client } = await holderOf('reader', place);
    try {
      const { ino } = holder;
      await remove(place);
      const recall = await holder.recalled();
      expect(holder.asked).toEqual([[3, 0, 9, true]]);
      expect(await client.statusOf(operations.GETATTR, [ino], 2)).toBe('OK');
      await holder.giveBack(recall);
      const isGone = async () => (await client.statusOf(operations.GETATTR, [ino], 2)) === 'STALE';
      await until('its end', isGone);
    } finally {
      await client.connection.end();
    }
  });
});
