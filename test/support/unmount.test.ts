import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { expect, onTestFinished, test } from 'vitest';
import { canMount, outcomeOf, Sandbox } from '../tools/sandbox.ts';
import { holdersOf, whileInUse } from './unmount.ts';

test.skipIf(!canMount)('a mount that a stranger uses for a while is unmounted afterwards', async () => {
  const box = await Sandbox.create();
  onTestFinished(() => box.remove());
  await box.must('mkfs', box.image);
  await box.mount();
  const file = await open(box.path('file'), 'w');
  expect(await holdersOf(box.mountPoint)).toEqual([
    expect.stringMatching(new RegExp(`^process ${process.pid}: fd/${file.fd} .*/file$`)),
  ]);
  let refusals = 0;
  const outcome = await whileInUse(box.mountPoint, async () => {
    const attempt = await outcomeOf(spawn('umount', [box.mountPoint]));
    if (attempt.code !== 0 && ++refusals === 2) await file.close();
    return attempt;
  });
  expect(outcome.code).toBe(0);
  expect(refusals).toBeGreaterThanOrEqual(2);
  expect(await holdersOf(box.mountPoint)).toEqual([]);
});
