import { Command } from 'commander';
import { runDaemon } from '../lib/daemon.ts';
import type { ServeRun } from '../lib/foreground.ts';
import { stateDirHelp } from '../lib/places.ts';
import { parseProviders } from '../lib/rma-providers.ts';
import { parseMilliseconds, parseSize } from '../lib/sizes.ts';
import { parseTopology } from '../lib/topology-options.ts';

/** Options that every serving command takes. */
export interface ServeOptions {
  readonly foreground?: true;
  readonly listen: readonly string[];
  readonly meta?: string;
  readonly leaseMs?: string;
  readonly recallMs?: string;
  readonly fenceHook?: string;
  readonly fenceTimed?: true;
  readonly buffers?: string;
  readonly topology?: string;
  readonly pci?: string;
  readonly translate: readonly string[];
  readonly rma?: string;
  readonly json?: true;
}

export function withServeOptions(command: Command): Command {
  return command
    .option('-f, --foreground', 'stay in the foreground and log to stderr')
    .option('--listen <address>', 'unix:PATH or tcp://HOST:PORT for clients, again for more', collect, [])
    .option('--meta <dir>', `metadata directory (default: ${stateDirHelp})`)
    .option('--lease-ms <ms>', 'lease of a client (default: 90000)')
    .option(
      '--recall-ms <ms>',
      'from a recall to the fence of a client that does not return (default, and the least: the lease)',
    )
    .option('--fence-hook <program>', 'cuts off a client that was fenced (docs/fencing.md)')
    .option('--fence-timed', 'believe that a client has stopped once its lease and its longest access are over')
    .option('--topology <rule>', 'which PCI peers get layouts: switch, supported (default) or any (docs/topology.md)')
    .option('--pci <address>', 'the PCI function whose memory the device is, where its path does not say it')
    .option(
      '--translate <who=offset>',
      'what a PCI peer or a client adds to bus addresses, again for more',
      collect,
      [],
    )
    .option('--rma <providers>', 'one-sided access for clients: tcp, shm, verbs, or several with commas (docs/rma.md)')
    .option(
      '--buffers <size>',
      'memory for session buffers of all clients, 0 for none (default: an eighth of the device)',
    )
    .option('--json', 'print what runs as JSON');
}

export function runOptions(device: string, options: ServeOptions): Omit<ServeRun, 'failureCode'> {
  return {
    device,
    meta: options.meta,
    readOnly: false,
    listen: options.listen,
    leaseMs: options.leaseMs === undefined ? undefined : parseMilliseconds(options.leaseMs),
    recallMs: options.recallMs === undefined ? undefined : parseMilliseconds(options.recallMs),
    fenceHook: options.fenceHook,
    fenceTimed: options.fenceTimed === true,
    buffers: options.buffers === undefined ? undefined : parseSize(options.buffers),
    topology: parseTopology(options),
    rma: options.rma === undefined ? [] : parseProviders(options.rma),
    mount: undefined,
    json: options.json === true,
  };
}

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('Serve a filesystem to clients without mounting it here.')
    .argument('<device>', 'PCI BAR, memory device or image file')
    .option('-r, --read-only', 'change nothing');
  return withServeOptions(command).action(
    async (device: string, options: ServeOptions & { readonly readOnly?: true }) => {
      const run = { ...runOptions(device, options), readOnly: options.readOnly === true, failureCode: 1 };
      await runDaemon(run, options.foreground === true);
    },
  );
}

export function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
