/**
 * A regular expression where a string is expected is a pattern for it: `toMatchObject({ stderr: /in use/ })`. Without
 * this it would be compared as an object that has no properties of its own, which everything matches.
 */
import { expect } from 'vitest';

expect.addEqualityTesters([
  (actual: unknown, expected: unknown): boolean | undefined =>
    expected instanceof RegExp && !(actual instanceof RegExp)
      ? typeof actual === 'string' && expected.test(actual)
      : undefined,
]);
