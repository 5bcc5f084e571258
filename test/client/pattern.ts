/** Bytes that tell where they are from: no two blocks alike. */
export function patternOf(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE((Math.imul(at + 1, 2654435761) ^ seed) >>> 0, at);
  return bytes;
}
