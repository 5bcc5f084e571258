import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { leaseNow } from '../../client/clock.ts';

/** Another's word for the same clock. */
function boottimeMs(): number {
  return Number(execFileSync('python3', ['-c', 'import time; print(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)']));
}

test('leases are measured by the clock that goes on while the machine is suspended', () => {
  const before = boottimeMs();
  const now = leaseNow();
  expect(now).toBeGreaterThanOrEqual(before);
  expect(now).toBeLessThanOrEqual(boottimeMs());
});
