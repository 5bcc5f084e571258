/** A remote mount without a kernel. */
import { constants } from 'node:fs';
import { expect } from 'vitest';
import { connectVfs } from '../../client/vfs/index.ts';
import { n, readAll, root } from '../support/filesystem.ts';
import { test } from './rig.ts';

test('what a restarted server lost of small writes never comes back over what was written later', async ({ rig }) => {
  const address = `unix:${rig.wire.path}`;
  const { vfs, filesystem } = await connectVfs({ address, subtree: '', device: undefined, pages: { drop: () => {} } });
  try {
    const { attr, handle } = await vfs.create(vfs.rootIno, n('file'), 0o644, constants.O_RDWR, root);
    // The first ones through the server, later ones directly.
    const last = 9;
    for (let byte = 1; byte <= last; byte++) await vfs.write(handle, 0, Buffer.alloc(100, byte), root);
    expect(rig.server.status().layouts.length).toBe(1);
    await rig.restartServer();
    await expect(vfs.fsync(attr.ino, false)).rejects.toMatchObject({ code: 'EIO' });
    await vfs.fsync(attr.ino, false);
    const { ino } = await rig.lab.vfs.lookup(rig.lab.vfs.rootIno, n('file'), root);
    expect([...new Set(await readAll(rig.lab.vfs, ino))]).toEqual([last]);
  } finally {
    await filesystem.close();
  }
});
