/** Step 5: a client that ignores its recall is fenced at the deadline, and its blocks are nobody's. */
import type { Checks } from './checks.ts';
import { fillWithPattern } from './cow.ts';
import type { Stage } from './stage.ts';

const MiB = 1 << 20;
const fileBytes = 8 * MiB;

interface ShownStatus {
  readonly clients: readonly { readonly owner: string; readonly quarantinedBytes: number }[];
}

/** Of this client alone: what others left is freed in the background once their processes are gone. */
async function quarantinedBytes(stage: Stage, owner: string): Promise<number> {
  const text = await stage.must(stage.program('iopmemfs', 'status', '--json', stage.mountPoint));
  const status: ShownStatus = JSON.parse(text);
  return status.clients.reduce((sum, client) => sum + (client.owner === owner ? client.quarantinedBytes : 0), 0);
}

export async function fenceAtDeadline(
  stage: Stage,
  checks: Checks,
  options: { readonly leaseMs: number },
): Promise<void> {
  checks.begin('5 fence at the deadline');
  await stage.must(
    stage.run('dd', 'if=/dev/urandom', `of=${stage.path('held')}`, 'bs=1M', `count=${fileBytes / MiB}`, 'conv=fsync'),
  );
  const owner = 'demo-silent';
  const silent = await stage.peer({ owner });
  await silent.ask({ do: 'hold', path: '/held', iomode: 'rw', offset: 0, length: 2 * fileBytes, answer: 'ignore' });
  const started = performance.now();
  await stage.must(stage.run('truncate', '-s', '0', stage.path('held')));
  const waitedMs = performance.now() - started;
  checks.hold(waitedMs >= options.leaseMs * 0.9, `truncate waited for the deadline, not ${waitedMs.toFixed(0)} ms`);
  const quarantined = await quarantinedBytes(stage, owner);
  checks.hold(quarantined >= 2 * fileBytes, `its blocks are in quarantine, not only ${quarantined} bytes`);
  checks.done(
    `truncate waited ${(waitedMs / 1000).toFixed(1)} s for a silent client, which was fenced; ${quarantined / MiB} MiB in quarantine`,
  );

  await fillWithPattern(stage, 'filler');
  const heard = await silent.ask({ do: 'held' });
  const refusals = [await silent.ask({ do: 'try-layout', path: '/large' }), await silent.ask({ do: 'try-commit' })].map(
    ({ status }) => status,
  );
  checks.hold(heard.recalled === true, 'it had been recalled');
  const pattern = await silent.ask({ do: 'held' });
  checks.hold(pattern.digest === heard.digest, 'nothing was written to its blocks');
  checks.hold(
    refusals.every((status) => status !== undefined && status !== 'OK'),
    `later requests are refused by name: ${refusals.join(', ')}`,
  );
  await stage.must(stage.run('rm', stage.path('filler')));
  checks.done(
    `the full BAR reused none of its blocks; its later LAYOUTGET and LAYOUTCOMMIT were refused: ${refusals.join(', ')}`,
  );

  silent.kill();
  const reborn = await stage.peer({ owner });
  const after = await quarantinedBytes(stage, owner);
  checks.hold(after === 0, `a new incarnation of the client frees its blocks; ${after} bytes are left in quarantine`);
  await reborn.ask({ do: 'close' });
  checks.done('the client came back as a new incarnation: its blocks are free again');
}
