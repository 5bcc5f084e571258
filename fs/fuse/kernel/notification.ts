/** Messages to the kernel that no request asked for, encoded: what it has cached is no longer true. Pure. */
import { type Name, nameToBytes } from '../../name.ts';
import { expireOnly, notify, outHeaderSize } from './abi.ts';

/**
 * FUSE_NOTIFY_INVAL_INODE: attributes, and the pages of the range (bytes). A length of Infinity reaches the end of the
 * file, 0 leaves the pages alone.
 */
export function encodeInvalInode(nodeId: number, offset: number, length: number): Buffer {
  const bytes = message(notify.invalInode, 24);
  bytes.writeBigUInt64LE(BigInt(nodeId), 16);
  // A negative offset means attributes only, a length of 0 everything from the offset on (fuse_reverse_inval_inode).
  bytes.writeBigInt64LE(length === 0 ? -1n : BigInt(offset), 24);
  bytes.writeBigInt64LE(Number.isFinite(length) ? BigInt(length) : 0n, 32);
  return bytes;
}

/**
 * FUSE_NOTIFY_INVAL_ENTRY: a name in a directory. It expires: the kernel looks it up again before it uses it, and then
 * takes it away if it leads elsewhere. So what is mounted on it stays where the name stays. A kernel before 6.2 drops it.
 * One that is gone is dropped at once, since nobody might ever look again.
 */
export function encodeInvalEntry(parentNodeId: number, name: Name, how: 'changed' | 'gone' = 'changed'): Buffer {
  const text = nameToBytes(name);
  const bytes = message(notify.invalEntry, 16 + text.length + 1);
  bytes.writeBigUInt64LE(BigInt(parentNodeId), 16);
  bytes.writeUInt32LE(text.length, 24);
  bytes.writeUInt32LE(how === 'gone' ? 0 : expireOnly, 28);
  text.copy(bytes, 32);
  return bytes;
}

/** A notification is a reply to request 0 with its code in place of the error. */
function message(code: number, payload: number): Buffer {
  const bytes = Buffer.alloc(outHeaderSize + payload);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(code, 4);
  return bytes;
}
