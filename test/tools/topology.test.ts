import { existsSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Sandbox } from './sandbox.ts';

const folder = '/sys/bus/pci/devices';
const functions = existsSync(folder) ? readdirSync(folder).sort() : [];
const [first, second] = functions;

test.skipIf(first === undefined || second === undefined)(
  'functions of this machine (skipped: it shows none)',
  async () => {
    const sandbox = await Sandbox.create();
    try {
      const { stdout, code } = await sandbox.run(
        'iopmemfs',
        'topology',
        first ?? '',
        first ?? '',
        second ?? '',
        '--json',
      );
      expect(code).toBe(0);
      const [own, other] = JSON.parse(stdout);
      expect(own).toMatchObject({ peer: first, distance: 0 });
      expect(other.peer).toBe(second);
      expect(other.distance).toBeGreaterThan(0);
    } finally {
      await sandbox.remove();
    }
  },
);
