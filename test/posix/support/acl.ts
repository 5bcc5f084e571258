/** Access control lists in the short text form of acl(5), to and from the extended attribute (posix_acl_xattr.h). */

export interface Entry {
  readonly tag: number;
  readonly permissions: number;
  /** Of a named user or group; undefined otherwise. */
  readonly id: number | undefined;
}

const tags = new Map([
  ['u:', 1],
  ['u', 2],
  ['g:', 4],
  ['g', 8],
  ['m:', 16],
  ['o:', 32],
]);

const noId = 0xffff_ffff;

/** `u::rw-,u:4001:r--,g::---,m::rw-,o::---` */
export function encodeAcl(text: string): Buffer {
  const entries = text.split(',').map((entry) => {
    const [kind = '', id = '', permissions = ''] = entry.split(':');
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16LE(tags.get(id === '' ? `${kind}:` : kind) ?? 0, 0);
    bytes.writeUInt16LE(
      ['r', 'w', 'x'].reduce((bits, letter, i) => bits | (permissions[i] === letter ? 4 >> i : 0), 0),
      2,
    );
    bytes.writeUInt32LE(id === '' ? noId : Number(id), 4);
    return bytes;
  });
  return Buffer.concat([Buffer.of(2, 0, 0, 0), ...entries]);
}

export function parseAcl(bytes: Buffer): readonly Entry[] {
  const entries: Entry[] = [];
  for (let at = 4; at < bytes.length; at += 8) {
    const id = bytes.readUInt32LE(at + 4);
    entries.push({
      tag: bytes.readUInt16LE(at),
      permissions: bytes.readUInt16LE(at + 2),
      id: id === noId ? undefined : id,
    });
  }
  return entries;
}
