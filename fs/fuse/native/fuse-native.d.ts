/** fuse-native 2.2.6 ships no types. Only what this folder uses, the underscored members that it replaces included. */
declare module 'fuse-native' {
  namespace Fuse {
    /** Ends a request: a negative errno, or 0, or the bytes transferred for read and write. */
    type Done = (result: number) => void;
    type DoneWith<T> = (result: number, value?: T) => void;
    /** Ends a request below the public interface; what follows the result is what the C side of that operation takes. */
    type Signal = (result: number, ...values: readonly unknown[]) => void;

    interface Stat {
      readonly mode: number;
      readonly ino: number;
    }

    interface Statfs {
      readonly bsize: number;
      readonly frsize: number;
      readonly blocks: number;
      readonly bfree: number;
      readonly bavail: number;
      readonly files: number;
      readonly ffree: number;
      readonly favail: number;
      readonly namemax: number;
    }

    interface Operations {
      statfs(path: string, done: DoneWith<Statfs>): void;
      readdir(path: string, done: (result: number, names?: readonly string[], stats?: readonly Stat[]) => void): void;
      truncate(path: string, size: number, done: Done): void;
      ftruncate(path: string, fd: number, size: number, done: Done): void;
      readlink(path: string, done: DoneWith<string>): void;
      chown(path: string, uid: number, gid: number, done: Done): void;
      chmod(path: string, mode: number, done: Done): void;
      mknod(path: string, mode: number, rdev: number, done: Done): void;
      setxattr(path: string, name: string, value: Uint8Array, position: number, flags: number, done: Done): void;
      removexattr(path: string, name: string, done: Done): void;
      open(path: string, flags: number, done: DoneWith<number>): void;
      read(path: string, fd: number, target: Uint8Array, length: number, offset: number, done: Done): void;
      write(path: string, fd: number, data: Uint8Array, length: number, offset: number, done: Done): void;
      release(path: string, fd: number, done: Done): void;
      fsync(path: string, dataOnly: number, fd: number, done: Done): void;
      fsyncdir(path: string, dataOnly: number, fd: number, done: Done): void;
      create(path: string, mode: number, done: DoneWith<number>): void;
      unlink(path: string, done: Done): void;
      rename(from: string, to: string, done: Done): void;
      link(from: string, to: string, done: Done): void;
      symlink(target: string, path: string, done: Done): void;
      mkdir(path: string, mode: number, done: Done): void;
      rmdir(path: string, done: Done): void;
      /** Replaced as a whole (remedies.ts); the library only wants to see that they are there. */
      getattr(): void;
      fgetattr(): void;
      utimens(): void;
      getxattr(): void;
      listxattr(): void;
    }

    interface Options {
      readonly timeout: false;
      readonly allowOther: boolean;
      readonly defaultPermissions: true;
      readonly subtype: string;
      readonly fsname: string;
    }

    /** What the C side calls for one kind of request; `request` is its fuse_thread_locals_t. */
    type RawHandler = (request: Buffer, opcode: number, ...args: readonly unknown[]) => void;
  }

  class Fuse {
    constructor(mountPoint: string, operations: Fuse.Operations, options: Fuse.Options);
    mount(done: (error: Error | null) => void): void;

    readonly _handlers: Fuse.RawHandler[];
    _op_getattr(signal: Fuse.Signal, path: string): void;
    _op_fgetattr(signal: Fuse.Signal, path: string, fd: number): void;
    _op_utimens(signal: Fuse.Signal, path: string, ...times: readonly number[]): void;
    _op_getxattr(signal: Fuse.Signal, path: string, name: string, target: Buffer, position: number): void;
    _op_listxattr(signal: Fuse.Signal, path: string, target: Buffer): void;
  }

  export = Fuse;
}
