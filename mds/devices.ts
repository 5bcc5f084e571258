/**
 * When device ids of a client end (RFC 8881 §20.12): with a fence, and with a return of everything that was asked back. Those who wished so in GETDEVICEINFO are told, only ever when they hold no layout that names
 * the device.
 */
import { assert } from '../fs/errors.ts';
import type { HeldLayout } from '../layout/types.ts';
import { callClient } from './callbacks.ts';
import type { Client } from './client.ts';
import { deviceIdOf } from './device-id.ts';
import { callbacks, deviceChange } from './protocol/ops.ts';

/** A filesystem has one device today; extents name it by this index. */
export const theDevice = 0;

/** All ids and keys from before are void. */
export function voidDevices(client: Client, generation: number): void {
  client.voidDevice = deviceIdOf(generation, client, theDevice);
  client.renewDevices();
}

/** As soon as the client holds no layout any more that names them, also none that is revoked. */
export function tellOfVoidDevices(client: Client, held: readonly HeldLayout[]): void {
  const { voidDevice } = client;
  assert(
    held.every(({ segments }) => segments.length === 0),
    `device ids of client ${client.id} go while it holds layouts`,
  );
  client.voidDevice = undefined;
  if (voidDevice === undefined || (client.deviceChanges & (1 << deviceChange.delete)) === 0) return;
  const subject = { key: `devices ${client.deviceEpoch}`, ino: undefined };
  void callClient(client, subject, callbacks.CB_NOTIFY_DEVICEID, [[[deviceChange.delete, voidDevice, true]]]);
}
