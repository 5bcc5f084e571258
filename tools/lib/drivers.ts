import type { MountDriver } from '../../fs/fuse/driver.ts';

/** Each is loaded only when it is used: they bring libraries along that the other does not need. */
const drivers = {
  kernel: async (): Promise<MountDriver> => (await import('../../fs/fuse/kernel/index.ts')).mountKernel,
  'fuse-native': async (): Promise<MountDriver> => (await import('../../fs/fuse/native/driver.ts')).mountFuseNative,
} as const;

export type DriverName = keyof typeof drivers;

export const defaultDriver: DriverName = 'kernel';

export function isDriverName(text: string): text is DriverName {
  return Object.hasOwn(drivers, text);
}

export function loadDriver(name: DriverName): Promise<MountDriver> {
  return drivers[name]();
}
