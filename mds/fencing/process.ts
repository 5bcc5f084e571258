import type { ClientFacts, FenceResult, FencingProvider } from './provider.ts';

/**
 * A client is one process of this host, and that is gone: with it its mappings of the device, since they are not inherited
 * (MADV_DONTFORK, docs/protocol.md §4), and what it had begun to store.
 */
export class ProcessProvider implements FencingProvider {
  readonly name = 'process';

  serves({ reach }: ClientFacts): boolean {
    return reach.process !== undefined;
  }

  holds({ reach }: ClientFacts): boolean {
    return reach.gone;
  }

  async fence({ reach }: ClientFacts): Promise<FenceResult> {
    if (reach.gone) return { kind: 'fenced' };
    if (reach.process === undefined) return { kind: 'cannot' };
    return { kind: 'wait', why: `process ${reach.process.pid} is alive` };
  }
}
