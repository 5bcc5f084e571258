/** Type bits of st_mode (S_IFMT). */
export const typeBits = 0o170000;

/** Fifo, character device, directory, block device, regular file, symlink, socket. */
const fileTypes: ReadonlySet<number> = new Set([0o010000, 0o020000, 0o040000, 0o060000, 0o100000, 0o120000, 0o140000]);

/** Whether the type bits of a mode are of a known type. */
export function isFileType(mode: number): boolean {
  return fileTypes.has(mode & typeBits);
}
