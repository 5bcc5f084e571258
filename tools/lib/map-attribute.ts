/** Where the blocks of a file lie, asked through the mount: the attribute `system.iopmemfs.map` (docs/files.md). */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { FsError } from '../../fs/errors.ts';
import { limits } from '../../fs/limits.ts';
import type { MappedExtent } from '../../fs/vfs.ts';
import { getXattr } from './xattr.ts';

const attribute = 'system.iopmemfs.map';

const Bytes = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Line = Type.Object({
  offset: Bytes,
  length: Bytes,
  device: Bytes,
  storageOffset: Bytes,
  busAddress: Type.String({ pattern: '^0x[0-9a-f]{1,16}$' }),
  unwritten: Type.Boolean(),
  shares: Bytes,
});
const Rest = Type.Object({ next: Bytes });
const isLine = Compile(Line);
const isRest = Compile(Rest);

/** @throws FsError as getxattr(2); EPROTO: the value is not what files.md says */
export function mapByAttribute(path: string): readonly MappedExtent[] {
  const extents: MappedExtent[] = [];
  for (let from: number | undefined = 0; from !== undefined; ) {
    const value = getXattr(path, from === 0 ? attribute : `${attribute}.${from}`, limits.xattrValueMax);
    let next: number | undefined;
    for (const text of value.split('\n')) {
      if (text === '') continue;
      const line: unknown = JSON.parse(text);
      if (isLine.Check(line)) extents.push(extentOf(line));
      else if (isRest.Check(line) && line.next > from) next = line.next;
      else throw new FsError('EPROTO', { path, name: attribute, detail: `not understood: ${text}` });
    }
    from = next;
  }
  return extents;
}

function extentOf(line: Static<typeof Line>): MappedExtent {
  return { ...line, busAddress: BigInt(line.busAddress) };
}
