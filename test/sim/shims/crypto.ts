/** `node:crypto` as far as the product uses it, from the seed. */
import { Random } from '../../exercise/random.ts';
import { isEntered, loop } from '../loop.ts';

/** For what modules draw when they are loaded, once for all runs. */
const atLoad = new Random(0);

const random = (): Random => (isEntered() ? loop().random : atLoad);

export function randomBytes(length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random().below(256)));
}

export function randomInt(end: number): number {
  return random().below(end);
}

export function randomUUID(): string {
  const hex = randomBytes(16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
}
