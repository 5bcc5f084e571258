import { expect, test } from 'vitest';

test('a pattern in toMatchObject, toEqual and toContainEqual is looked for', () => {
  const told = { code: 1, stderr: 'mnt: in use (EBUSY)\n' };
  expect(told).toMatchObject({ stderr: /in use \(EBUSY\)$/m });
  expect(told).not.toMatchObject({ stderr: /not mounted/ });
  expect(told).not.toMatchObject({ code: /1/ });
  expect({ told: [told] }).not.toMatchObject({ told: [{ stderr: /not mounted/ }] });
  expect(told).toEqual({ code: 1, stderr: /EBUSY/ });
  expect([told.stderr]).not.toContainEqual(/not mounted/);
  expect({ pattern: /a/ }).toEqual({ pattern: /a/ });
});
