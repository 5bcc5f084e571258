import { once } from 'node:events';
import { expect } from 'vitest';
import { test } from './rig.ts';

test('the client tells when the connection goes and comes, when state is lost, and the end', async ({ rig }) => {
  const client = await rig.connect();
  const heard: string[] = [];
  for (const name of ['disconnect', 'reconnect', 'lost', 'close'] as const) client.on(name, () => heard.push(name));
  rig.wire.cut();
  await once(client, 'disconnect');
  rig.wire.heal();
  await once(client, 'reconnect');
  expect(heard).toEqual(['disconnect', 'reconnect']);
  const back = once(client, 'reconnect');
  await rig.restartServer();
  await back;
  expect(heard.slice(2)).toEqual(['disconnect', 'lost', 'reconnect']);
  const closed = once(client, 'close');
  await client.close();
  await closed;
  expect(heard.at(-1)).toBe('close');
});
