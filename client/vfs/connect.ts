import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { parseAddress, processName } from '../../mds/protocol/index.ts';
import { clientLimits } from '../limits.ts';
import { type KernelPages, RemoteFilesystem } from './filesystem.ts';
import type { RemoteVfs } from './remote-vfs.ts';

export interface RemoteOptions {
  /** `unix:PATH`, `tcp://HOST:PORT`. */
  readonly address: string;
  /** The directory that is the root, from that of the filesystem. */
  readonly subtree: string;
  /** As `ConnectOptions.device`. */
  readonly device: string | undefined;
  readonly pages: KernelPages;
}

export interface ConnectedVfs {
  readonly vfs: RemoteVfs;
  readonly filesystem: RemoteFilesystem;
}

/** @throws ClientError UNREACHABLE, TIMEOUT, NO_DEVICE, NOENT and NOTDIR of the subtree; FsError EINVAL of the address */
export async function connectVfs({ address, subtree, device, pages }: RemoteOptions): Promise<ConnectedVfs> {
  const filesystem = new RemoteFilesystem(
    {
      addresses: [parseAddress(address)],
      owner: Buffer.from(`${hostname()} ${process.pid} ${randomBytes(8).toString('hex')}`),
      implementation: `iopmemfs mount, ${hostname()} pid ${process.pid}`,
      credentials: [process.geteuid?.() ?? 0, process.getegid?.() ?? 0, process.getgroups?.() ?? []],
      maxIoMs: clientLimits.maxIoMs,
      process: processName(process.pid) ?? null,
      pci: null, // the processor itself
      callTimeoutMs: clientLimits.callTimeoutMs,
      failsWhenSilent: true,
    },
    device,
    pages,
  );
  try {
    return { filesystem, vfs: await filesystem.open(subtree) };
  } catch (error) {
    await filesystem.close();
    throw error;
  }
}
