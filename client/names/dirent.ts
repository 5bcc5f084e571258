import { FileType } from '../stats.ts';

/** One entry of a directory, as node's fs.Dirent, with the inode beside. */
export class Dirent extends FileType {
  readonly name: string;
  /** Names that are not UTF-8 are exact only here. */
  readonly nameBytes: Uint8Array;
  /** Of the directory that it was found in, as it was asked for. */
  readonly parentPath: string;
  readonly ino: number;
  /** Type bits of st_mode (S_IFMT). */
  readonly type: number;

  constructor(name: string, nameBytes: Uint8Array, parentPath: string, ino: number, type: number) {
    super();
    this.name = name;
    this.nameBytes = nameBytes;
    this.parentPath = parentPath;
    this.ino = ino;
    this.type = type;
  }

  protected get typeBits(): number {
    return this.type;
  }
}
