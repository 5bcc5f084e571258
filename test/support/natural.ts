import { InvalidArgumentError } from 'commander';

/** An option's value: a whole number from 0. @throws InvalidArgumentError */
export function natural(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0) throw new InvalidArgumentError('a number is wanted');
  return number;
}
