/** Step 3: client processes read and write file blocks on the BAR themselves. */
import type { Checks } from './checks.ts';
import type { Stage } from './stage.ts';
import { digestOf } from './stage.ts';

const fileBytes = 64 << 20;

export async function directAccess(stage: Stage, checks: Checks): Promise<void> {
  checks.begin('3 direct access');
  await stage.must(
    stage.run('dd', 'if=/dev/urandom', `of=${stage.path('large')}`, 'bs=1M', `count=${fileBytes >> 20}`, 'conv=fsync'),
  );
  const reader = await stage.peer({ address: stage.unixAddress });
  const read = await reader.ask({ do: 'read', path: '/large' });
  checks.hold(
    read.digest === (await digestOf(stage.path('large'))),
    'the digest read directly is the one of the mount',
  );
  checks.hold(
    read.directBytes === fileBytes && read.serverBytes === 0,
    `all bytes came from the BAR, not ${read.serverBytes} through the server`,
  );
  checks.done(`a peer (Unix socket) read ${fileBytes >> 20} MiB from the BAR under a READ layout, digest equal`);

  const writer = await stage.peer({ address: stage.tcpAddress });
  const written = await writer.ask({ do: 'write', path: '/written-by-peer', bytes: fileBytes });
  checks.hold(written.directBytes === fileBytes && written.serverBytes === 0, 'all bytes went to the BAR');
  checks.hold(
    written.digest === (await digestOf(stage.path('written-by-peer'))),
    'the mount shows what the peer wrote',
  );
  await reader.ask({ do: 'close' });
  await writer.ask({ do: 'close' });
  checks.done(
    `a peer (TCP) wrote ${fileBytes >> 20} MiB to the BAR under a RW layout and committed, digest through the mount equal`,
  );
}
