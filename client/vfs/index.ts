/**
 * The filesystem of a server for a mount:
 *   FUSE driver → RemoteVfs → Session (names, attributes) and OpenFiles (layouts, bytes on the device).
 * docs/remote-mount.md says what programs can rely on.
 */
export { type ConnectedVfs, connectVfs, type RemoteOptions } from './connect.ts';
export type { KernelPages, RemoteFilesystem } from './filesystem.ts';
