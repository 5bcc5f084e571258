/** A metadata server in a process of its own, that a test can kill: IMAGE META ADDRESS. Says `ready` when it serves. */
import { openDevice } from '../../fs/bar/open.ts';
import { openFilesystem } from '../../fs/engine/engine.ts';
import { openLevelStore } from '../../fs/meta/level-store.ts';
import { MetadataServer } from '../../mds/server.ts';

const [image, meta, address] = process.argv.slice(2);
if (image === undefined || meta === undefined || address === undefined) {
  throw new Error('usage: server-program IMAGE META ADDRESS');
}
const device = await openDevice(image, { writable: true, lock: true });
const store = await openLevelStore(meta, { create: false });
const fs = await openFilesystem({ device, store });
await new MetadataServer(fs).listen(address);
process.stdout.write('ready\n');
