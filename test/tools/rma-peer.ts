/**
 * A client that writes over and over to the blocks of a file by a key, and never gives anything back:
 * `rma-peer.ts ADDRESS PROVIDER DEVICE-SIZE FILE LENGTH`. Prints a line when the first write is over, and one with the
 * reason when no write goes through any more.
 */
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { Peer } from './rma-client.ts';

const [address = '', provider = '', size = '', name = '', length = ''] = process.argv.slice(2);
const wanted: ProviderName = provider === 'shm' ? 'shm' : 'tcp';
const peer = await Peer.connect(address, wanted, Number(size));
const { pieces } = await peer.layout(await peer.open(name), 'write', Number(length));
await peer.engine.prepare(pieces);
const bytes = Buffer.alloc(Number(length), 0xee);
try {
  for (let rounds = 0; ; rounds++) {
    for (const piece of pieces) await peer.engine.write(piece.storageOffset, bytes.subarray(0, piece.length));
    if (rounds === 0) process.stdout.write(`writing ${pieces.map((piece) => piece.storageOffset).join(' ')}\n`);
  }
} catch (error) {
  process.stdout.write(`over: ${error instanceof Error ? error.message : String(error)}\n`);
}
process.exit(0);
