/** `client/clock.ts`: no clock here stands still or drifts. */
import { loop } from '../loop.ts';

export function leaseNow(): number {
  return loop().now;
}
