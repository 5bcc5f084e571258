import { Command, Option } from 'commander';
import { runDaemon } from '../lib/daemon.ts';
import { mountOptionsHelp, parseMountOptions } from '../lib/mount-options.ts';
import { ExitError, errorText } from '../lib/program.ts';
import { remoteSource } from '../lib/remote-source.ts';
import { remount } from '../lib/remount.ts';
import type { MountRequest } from '../lib/service.ts';
import { collect, runOptions, type ServeOptions, withServeOptions } from './serve.ts';

/** Exit codes of mount(8): a wrong call, and a mount that failed. */
export const mountExit = { usage: 1, failure: 32 } as const;

interface Options extends ServeOptions {
  readonly options: readonly string[];
  readonly driver?: string;
  readonly sloppy?: true;
}

export function mountCommand(): Command {
  const command = new Command('mount')
    .description('Serve a filesystem and mount it here, in the background; ready when the mount answers.')
    .argument('<source>', 'PCI BAR, memory device or image file; or a server: unix:PATH, tcp://HOST:PORT[/SUBTREE]')
    .argument('<directory>', 'an empty directory')
    .option('-o, --options <list>', 'ro, noexec, allow_other, direct_io and others, see below', collect, [])
    .option('--driver <name>', 'kernel (our own, the default) or fuse-native (libfuse 2)')
    .addOption(new Option('--sloppy', 'leave out mount options that nobody knows').hideHelp())
    .addHelpText('after', `${mountOptionsHelp}\n\nExit code: 0 mounted, 1 wrong call, 32 not mounted.`);
  return withServeOptions(command).action(async (device: string, directory: string, options: Options) => {
    const run = runOptions(device, options);
    const driver = options.driver === undefined ? [] : [`driver=${options.driver}`];
    const parsed = parsedOptions([...driver, ...options.options], options.sloppy === true);
    if (parsed.remount) return remount(device, directory, parsed);
    const mount: MountRequest = {
      directory,
      driver: parsed.driver,
      allowOther: parsed.allowOther,
      directIo: parsed.directIo,
      pollMs: parsed.pollMs,
      kernelOptions: parsed.kernel,
    };
    const { failure: failureCode } = mountExit;
    const remote = remoteSource(device);
    if (remote === undefined && parsed.device !== undefined) {
      throw new ExitError(mountExit.usage, 'device= is for a mount over a server: here the source is the device');
    }
    if (remote !== undefined) {
      const { json } = run;
      const { readOnly, believed, device: localDevice } = parsed;
      const all = { remote, device, localDevice, readOnly, believed, mount, json, failureCode };
      return runDaemon(all, options.foreground === true);
    }
    const all = {
      ...run,
      meta: run.meta ?? parsed.meta,
      readOnly: parsed.readOnly,
      listen: [...run.listen, ...parsed.listen],
      leaseMs: run.leaseMs ?? parsed.leaseMs,
      recallMs: run.recallMs ?? parsed.recallMs,
      fenceHook: run.fenceHook ?? parsed.fenceHook,
      fenceTimed: run.fenceTimed || parsed.fenceTimed,
      buffers: run.buffers ?? parsed.buffers,
      rma: [...run.rma, ...parsed.rma],
      topology: {
        rule: run.topology.rule ?? parsed.topology.rule,
        pci: run.topology.pci ?? parsed.topology.pci,
        translations: [...(run.topology.translations ?? []), ...(parsed.topology.translations ?? [])],
      },
      mount,
      failureCode,
    };
    await runDaemon(all, options.foreground === true);
  });
}

/** @throws ExitError 1: mount(8) tells a wrong call from a mount that failed */
export function parsedOptions(lists: readonly string[], sloppy: boolean): ReturnType<typeof parseMountOptions> {
  try {
    return parseMountOptions(lists, sloppy);
  } catch (error) {
    throw new ExitError(mountExit.usage, errorText(error), error);
  }
}
