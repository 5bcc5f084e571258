import { FsError } from '../../fs/errors.ts';
import { challengeArea } from '../../fs/format/superblock.ts';
import { limits } from '../../fs/limits.ts';
import { ClientError } from '../errors.ts';
import { clientLimits } from '../limits.ts';
import type { DmaEngine } from './engine.ts';

/** What the server has just written, and where (DEVICE_CHALLENGE). */
export interface Challenge {
  readonly storageOffset: number;
  readonly nonce: Uint8Array;
}

/**
 * Proves that the engine reaches the memory that the server writes to. Twice in a row: a copy that was taken after the
 * first challenge has that one, and not the second. A place that others' challenges have overwritten meanwhile is asked
 * for again.
 * @throws FsError ENODEV: it is other memory; ClientError of the server
 */
export async function prove(engine: DmaEngine, challenge: () => Promise<Challenge>): Promise<void> {
  const block = Buffer.alloc(limits.blockSize);
  let found = 0;
  for (let tries = 0; tries < clientLimits.proofTriesMax; tries++) {
    const { storageOffset, nonce } = await challenge();
    const end = storageOffset + nonce.length;
    if (storageOffset < challengeArea.offset || end > limits.blockSize || nonce.length < clientLimits.proofBytesMin) {
      throw new ClientError('BAD_REPLY', `DEVICE_CHALLENGE: ${nonce.length} bytes at ${storageOffset}`);
    }
    await engine.read(0, block);
    found = block.subarray(storageOffset, end).equals(nonce) ? found + 1 : 0;
    if (found === 2) return;
  }
  throw new FsError('ENODEV', {
    detail: 'is not the memory that the server writes to, though it looks like it: a copy?',
  });
}
