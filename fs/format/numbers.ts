/**
 * Reads a msgpack array of as many numbers as `into` has places, without making an object. Answers false for anything
 * but integers from 0 to 2^32 - 1 in their shortest forms, one array, nothing behind it: not wrong, but not for here.
 */
export function readNumbers(bytes: Uint8Array, into: number[]): boolean {
  if (bytes[0] !== 0x90 + into.length) return false;
  let at = 1;
  for (let i = 0; i < into.length; i++) {
    const first = bytes[at] ?? 0xff;
    const size = first < 0x80 ? 0 : first === 0xcc ? 1 : first === 0xcd ? 2 : first === 0xce ? 4 : 8;
    if (size === 8) return false;
    let number = size === 0 ? first : 0;
    for (let byte = 1; byte <= size; byte++) number = number * 256 + (bytes[at + byte] ?? 0);
    into[i] = number;
    at += 1 + size;
  }
  return at === bytes.length;
}
