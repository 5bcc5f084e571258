/** The end of a run: when everybody who is gone has been declared dead, nothing may be left of them. */
import { connect } from '../../client/index.ts';
import type { Filesystem } from '../../fs/engine/filesystem.ts';
import { checkFilesystem } from '../../fs/fsck/check.ts';
import { problemText } from '../../fs/fsck/problem.ts';
import type { MetadataServer } from '../../mds/server.ts';
import { MemoryDevice } from '../support/crash-recorder.ts';
import type { Disk } from './machine.ts';

export interface Ending {
  readonly mds: MetadataServer;
  readonly fs: Filesystem;
  /** Of the server, for the administrator. */
  readonly address: string;
  /** Long enough for all leases and deadlines. */
  readonly pause: () => Promise<void>;
  /** At what the files hold. */
  readonly look: () => Promise<void>;
}

/** @throws Error: something is left behind */
export async function settle({ mds, fs, address, pause, look }: Ending): Promise<void> {
  await pause();
  const admin = await connect(address, { owner: 'admin', uid: 0, gid: 0, groups: [], device: 'none' });
  for (const { id, owner } of mds.status().clients) {
    if (Buffer.from(owner).toString() !== 'admin') await admin.admin.evict(id).catch(() => undefined);
  }
  await look();
  await admin.close();
  await pause();
  const { blocks } = fs.status();
  if (blocks.quarantined + blocks.provisional > 0) {
    throw new Error(`left behind: ${blocks.quarantined} blocks in quarantine, ${blocks.provisional} provisional`);
  }
  const { breaks, layouts } = mds.status();
  if (breaks.length + layouts.length > 0) {
    throw new Error(`left behind: ${breaks.length} breaks, ${layouts.length} layouts`);
  }
  await mds.close();
  await fs.close();
}

/** @throws Error: fsck finds something */
export async function fsck(bytes: Buffer, disk: Disk): Promise<void> {
  const device = new MemoryDevice(bytes);
  const { problems } = await checkFilesystem({ device, store: disk.records, onPass: () => {}, onProblem: () => {} });
  if (problems.length > 0) throw new Error(`fsck: ${problems.map(problemText).join('; ')}`);
}
