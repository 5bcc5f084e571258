import { test as base } from 'vitest';
import type { MetadataServerOptions } from '../../mds/server.ts';
import { Rig } from './rig.ts';

/** A test with a server of its own; stopped and removed afterwards whatever happened. */
export const test = base.extend<{ options: MetadataServerOptions; rig: Rig }>({
  options: {},
  rig: async ({ options }, use) => {
    const rig = await Rig.start(options);
    try {
      await use(rig);
    } finally {
      await rig.stop();
    }
  },
});
