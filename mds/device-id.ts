/**
 * Device ids: opaque to the client, 16 bytes (RFC 8881 §3.3.14). Generation of the filesystem, epoch of the client,
 * index of the device: a mount or a fence makes every id from before unknown, so that no address outlives its key.
 */
import type { Client } from './client.ts';

export function deviceIdOf(generation: number, client: Client, device: number): Uint8Array {
  const id = Buffer.alloc(16);
  id.writeUInt32BE(Math.floor(generation / 2 ** 32), 0);
  id.writeUInt32BE(generation % 2 ** 32, 4);
  id.writeUInt32BE(client.deviceEpoch, 8);
  id.writeUInt32BE(device, 12);
  return id;
}
