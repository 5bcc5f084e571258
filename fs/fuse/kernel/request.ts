/** Requests of the kernel as the rest of this driver sees them: fields checked, names and data within bounds. */
import type { Name } from '../../name.ts';
import type { FallocateMode, Handle, RenameMode, SetAttr } from '../../vfs.ts';

/** struct fuse_in_header. */
export interface RequestHeader {
  readonly opcode: number;
  /** Names the request in its reply; odd for an INTERRUPT. */
  readonly unique: number;
  readonly nodeId: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Length of what follows the arguments, in units of 8 bytes. */
  readonly extensions: number;
}

/**
 * The arguments of each operation, beyond the inode in the header. `umask` is to be applied only where that was agreed
 * on (session.ts). `data` of a write views the request's own bytes; every other
 * field is a copy. Offsets and lengths may exceed any file: whoever uses them compares with the largest file.
 */
interface Arguments {
  readonly init: InitArguments;
  readonly destroy: object;
  readonly lookup: { readonly name: Name | '.' | '..' };
  readonly forget: { readonly count: number };
  readonly batchForget: { readonly forgets: readonly { readonly nodeId: number; readonly count: number }[] };

  readonly getattr: object;
  readonly statx: object;
  readonly setattr: {
    readonly changes: SetAttr;
    readonly handle: Handle | undefined;
    readonly killSuidgid: boolean;
  };
  readonly access: { readonly mask: number };
  readonly setxattr: {
    readonly name: string;
    readonly value: Uint8Array;
    readonly mode: 'either' | 'create' | 'replace';
    readonly killSgid: boolean;
  };
  readonly getxattr: { readonly name: string; readonly size: number };
  readonly listxattr: { readonly size: number };
  readonly removexattr: { readonly name: string };
  readonly statfs: object;

  readonly readlink: object;
  readonly symlink: { readonly name: Name; readonly target: Uint8Array };
  readonly mknod: { readonly name: Name; readonly mode: number; readonly umask: number; readonly rdev: number };
  readonly mkdir: { readonly name: Name; readonly mode: number; readonly umask: number };
  readonly unlink: { readonly name: Name };
  readonly rmdir: { readonly name: Name };
  readonly rename: {
    readonly name: Name;
    readonly toParent: number;
    readonly toName: Name;
    readonly mode: RenameMode;
  };
  readonly link: { readonly nodeId: number; readonly name: Name };

  readonly create: { readonly name: Name; readonly mode: number; readonly umask: number; readonly flags: number };
  readonly tmpfile: { readonly mode: number; readonly umask: number; readonly flags: number };
  readonly open: { readonly flags: number; readonly killSuidgid: boolean };
  readonly opendir: object;
  readonly flush: { readonly handle: Handle };
  readonly release: { readonly handle: Handle };
  readonly releasedir: { readonly handle: Handle };

  readonly read: ReadArguments;
  readonly write: {
    readonly handle: Handle;
    readonly offset: number;
    readonly data: Uint8Array;
    readonly killSuidgid: boolean;
    /** At the end, wherever that is by now; else at the offset, though the file may have been opened with O_APPEND. */
    readonly appends: boolean;
    /** By the descriptor (O_DSYNC, O_SYNC) or this call (RWF_DSYNC, RWF_SYNC): what is durable before it is answered. */
    readonly syncs: 'data' | 'all' | undefined;
  };
  readonly fallocate: {
    readonly handle: Handle;
    readonly mode: FallocateMode;
    readonly offset: number;
    readonly length: number;
  };
  readonly lseek: { readonly handle: Handle; readonly offset: number; readonly whence: 'data' | 'hole' };
  readonly copyFileRange: {
    readonly from: Handle;
    readonly fromOffset: number;
    readonly toNodeId: number;
    readonly to: Handle;
    readonly toOffset: number;
    readonly length: number;
    /** COPY_FILE_RANGE_64: the answer counts in 64 bits. */
    readonly wide: boolean;
  };
  readonly fsync: { readonly dataOnly: boolean };
  readonly fsyncdir: { readonly dataOnly: boolean };
  readonly syncfs: object;
  readonly readdir: ReadArguments;
  readonly readdirplus: ReadArguments;

  readonly interrupt: { readonly unique: number };
  readonly ioctl: {
    readonly handle: Handle;
    readonly command: number;
    /** What the caller hands over. */
    readonly data: Uint8Array;
    /** Bytes that the caller takes at most. */
    readonly outSize: number;
  };
  readonly notifyReply: object;
  readonly unsupported: object;
}

interface InitArguments {
  readonly major: number;
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  /** 0 before 7.36. */
  readonly flags2: number;
}

interface ReadArguments {
  readonly handle: Handle;
  readonly offset: number;
  readonly size: number;
}

export type Operation = keyof Arguments;
/** The request of one operation. */
export type RequestOf<Op extends Operation> = { readonly op: Op } & Arguments[Op];
export type Request = { [Op in Operation]: RequestOf<Op> }[Operation];
