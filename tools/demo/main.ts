#!/usr/bin/env node
/**
 * The whole chain on real input: mkfs, mount, serve, lease, DMA, recall, fence, crash, fsck. One line per step; exit
 * code 0 only if every check held.
 */
import { Checks } from './checks.ts';
import { cowUnderMappings } from './cow.ts';
import { crashAndRecover, unmountAndCompare } from './crash.ts';
import { directAccess } from './direct.ts';
import { fenceAtDeadline } from './fence.ts';
import { measure } from './measure.ts';
import { Stage } from './stage.ts';
import { copyTree, makeAndMount } from './tree.ts';

/** Short, so that the step that waits for a silent client takes seconds; the default of the server is 90 s. */
const leaseMs = 3000;
const imageBytes = 512 << 20;

async function demonstrate(): Promise<number> {
  const checks = new Checks();
  checks.begin('0 set-up');
  const stage = await Stage.open(imageBytes);
  const stop = (): void => void stage.close().finally(() => process.exit(130));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    await makeAndMount(stage, checks, { leaseMs });
    const tree = await copyTree(stage, checks);
    await directAccess(stage, checks);
    await cowUnderMappings(stage, checks);
    await fenceAtDeadline(stage, checks, { leaseMs });
    const table = await measure(stage, checks);
    await crashAndRecover(stage, checks, { leaseMs });
    await unmountAndCompare(stage, checks, { leaseMs, tree });
    console.log(`\n${table}\n\nAll checks held.`);
  } catch (error) {
    checks.fail(error);
  } finally {
    process.removeListener('SIGINT', stop);
    process.removeListener('SIGTERM', stop);
    await stage.close();
  }
  return checks.failed ? 1 : 0;
}

process.exitCode = await demonstrate();
