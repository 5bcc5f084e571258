/** Programs that wait for a layout which a client does not give back, and are sent signals. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Client, connect, type Layout } from '../../client/index.ts';
import { canMount, outcomeOf, Sandbox } from './sandbox.ts';

const content = Buffer.alloc(8192, 'a');

/** By system calls as they are: Python's own go on after EINTR. */
const program = `
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
caught = []
signal.signal(signal.SIGUSR1, lambda *_: caught.append(1))
what, path = sys.argv[1], sys.argv[2].encode()
if what == 'write':
    fd = os.open(path, os.O_WRONLY)
    go = lambda: libc.pwrite(fd, b'b' * 4096, 4096, 0)
elif what == 'truncate': go = lambda: libc.truncate(path, 0)
elif what == 'open': go = lambda: libc.open(path, os.O_WRONLY | os.O_TRUNC)
print('ready', flush=True)
result = go()
print('failed' if result < 0 else 'done', ctypes.get_errno(), len(caught), flush=True)
`;

describe.runIf(canMount)('a program that changes a file under a layout that its holder keeps', () => {
  let box: Sandbox;
  let peer: Client;
  let layout: Layout;
  let recalled: Promise<unknown>;

  beforeEach(async () => {
    box = await Sandbox.create();
    await box.must('mkfs', box.image);
    const address = `unix:${join(box.dir, 'mds.sock')}`;
    // The deadline of a recall is longer than any test.
    await box.mount('--listen', address, '-o', 'lease_ms=600000,recall_ms=600000');
    await writeFile(box.path('file'), content);
    peer = await connect(address);
    const file = await peer.open('/file', 'r+');
    layout = await file.layout({ offset: 0, length: 8192, iomode: 'RW', onRecall: 'ignore' });
    recalled = new Promise((resolve) => layout.once('recall', resolve));
  });
  afterEach(async () => {
    try {
      await layout.return();
      await peer.close();
    } finally {
      await box.remove();
    }
  });

  const start = (what: string): ChildProcessWithoutNullStreams =>
    box.interactive('python3', '-c', program, what, box.path('file'));

  test.each(['write', 'truncate', 'open'])(
    'is gone at once when it is killed, and has changed nothing: %s',
    async (what) => {
      const child = start(what);
      const outcome = outcomeOf(child);
      await recalled;
      child.kill('SIGKILL');
      expect(await outcome).toMatchObject({ code: null, stdout: 'ready\n' });
      expect(layout.live, 'nobody was fenced').toBe(true);
      await layout.return();
      expect((await readFile(box.path('file'))).equals(content)).toBe(true);
    },
  );

  test('waits on through another signal, which it has a handler for', async () => {
    const child = start('write');
    const outcome = outcomeOf(child);
    await recalled;
    child.kill('SIGUSR1');
    for (let i = 0; i < 20; i++) await stat(box.mountPoint);
    await layout.return();
    expect(await outcome).toMatchObject({ code: 0, stdout: 'ready\ndone 0 1\n' });
    expect((await readFile(box.path('file'))).subarray(0, 4096).equals(Buffer.alloc(4096, 'b'))).toBe(true);
  });
});
