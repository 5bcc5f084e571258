/**
 * Session buffers are provisional blocks of no file: their `P` records name this number, which no inode ever has, and as file block
 * the block of the device itself.
 */
export const buffersIno = 3;
