/** A `Vfs` that hands every operation on, to be spread into one that does some of them itself. */
import type { Vfs } from '../../fs/vfs.ts';

export function forwardVfs(vfs: Vfs): Vfs {
  return {
    rootIno: vfs.rootIno,
    hasAcls: vfs.hasAcls === true,
    lookup: (parent, name, by) => vfs.lookup(parent, name, by),
    find: (parent, name, by) => vfs.find(parent, name, by),
    remember: (ino, count) => vfs.remember(ino, count),
    forget: (ino, count) => vfs.forget(ino, count),
    getattr: (ino, by) => vfs.getattr(ino, by),
    setattr: (ino, changes, by, handle) => vfs.setattr(ino, changes, by, handle),
    access: (ino, mask, by) => vfs.access(ino, mask, by),
    create: (parent, name, mode, flags, by) => vfs.create(parent, name, mode, flags, by),
    mkdir: (parent, name, mode, by) => vfs.mkdir(parent, name, mode, by),
    mknod: (parent, name, mode, rdev, by) => vfs.mknod(parent, name, mode, rdev, by),
    symlink: (parent, name, target, by) => vfs.symlink(parent, name, target, by),
    tmpfile: (parent, mode, flags, by) => vfs.tmpfile(parent, mode, flags, by),
    readlink: (ino, by) => vfs.readlink(ino, by),
    link: (ino, parent, name, by) => vfs.link(ino, parent, name, by),
    unlink: (parent, name, by) => vfs.unlink(parent, name, by),
    rmdir: (parent, name, by) => vfs.rmdir(parent, name, by),
    rename: (parent, name, toParent, toName, mode, by) => vfs.rename(parent, name, toParent, toName, mode, by),
    open: (ino, flags, by) => vfs.open(ino, flags, by),
    opendir: (ino, by) => vfs.opendir(ino, by),
    release: (handle) => vfs.release(handle),
    read: (handle, offset, length, by, use) => vfs.read(handle, offset, length, by, use),
    write: (handle, offset, data, by, at) => vfs.write(handle, offset, data, by, at),
    fallocate: (handle, mode, offset, length, by) => vfs.fallocate(handle, mode, offset, length, by),
    seek: (handle, offset, whence, by) => vfs.seek(handle, offset, whence, by),
    copyRange: (from, fromOffset, to, toOffset, length, by) =>
      vfs.copyRange(from, fromOffset, to, toOffset, length, by),
    ...(vfs.map === undefined ? {} : { map: vfs.map.bind(vfs) }),
    fsync: (ino, dataOnly) => vfs.fsync(ino, dataOnly),
    syncfs: () => vfs.syncfs(),
    readdir: (handle, cookie, limit, by) => vfs.readdir(handle, cookie, limit, by),
    getxattr: (ino, name, by) => vfs.getxattr(ino, name, by),
    listxattr: (ino, by) => vfs.listxattr(ino, by),
    setxattr: (ino, name, value, mode, by) => vfs.setxattr(ino, name, value, mode, by),
    removexattr: (ino, name, by) => vfs.removexattr(ino, name, by),
    statfs: (ino) => vfs.statfs(ino),
  };
}
