import { expect, test } from 'vitest';
import { Lease } from '../../client/lease.ts';

function leaseAt(): { lease: Lease; clock: { now: number } } {
  const clock = { now: 1000 };
  return { lease: new Lease(() => clock.now), clock };
}

test('a lease lives from the sending of its last renewal, not from the reply', () => {
  const { lease, clock } = leaseAt();
  lease.begin(10_000, 1000);
  clock.now = 9_000;
  expect(lease.live).toBe(true);
  // Sent at 2000, answered only now.
  lease.renewed(2_000);
  clock.now = 11_500;
  expect(lease.live).toBe(false);
});

test('it ends a tenth early, for clocks that run apart', () => {
  const { lease, clock } = leaseAt();
  lease.begin(10_000, 1000);
  clock.now = 9_999;
  expect(lease.live).toBe(true);
  clock.now = 10_000;
  expect(lease.live).toBe(false);
});

test('replies out of order never shorten it', () => {
  const { lease } = leaseAt();
  lease.begin(10_000, 1000);
  lease.renewed(5_000);
  lease.renewed(3_000);
  expect(lease.endsAt).toBe(14_000);
});

test('before the first renewal, and after its end, nothing is allowed', () => {
  const { lease } = leaseAt();
  expect(lease.live).toBe(false);
  lease.begin(10_000, 1000);
  lease.end();
  expect(lease.live).toBe(false);
});

test('in doubt about a revocation nothing is allowed until it is settled', () => {
  const { lease } = leaseAt();
  lease.begin(10_000, 1000);
  lease.doubt();
  lease.renewed(1000);
  expect(lease.live).toBe(false);
  lease.settle();
  expect(lease.live).toBe(true);
});

test('two renewals may be lost before it ends', () => {
  const { lease } = leaseAt();
  lease.begin(9_000, 0);
  expect(lease.renewalDueAt).toBe(3_000);
  expect(lease.renewalDueAt * 2).toBeLessThan(lease.endsAt);
});
