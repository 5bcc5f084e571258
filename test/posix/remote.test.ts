/** A sample of the suites on a mount over a server; `npm run test:remote` runs all that there is (docs/remote-mount.md). */
process.env.IOPMEMFS_TEST_MOUNT = 'remote';

await import('./unlink.test.ts');
await import('./truncate.test.ts');
await import('./acl.test.ts');
await import('./append.test.ts');
