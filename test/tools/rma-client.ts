/** A client without anything around it: it holds what the test asks for, and gives it back when the test says so. */
import { randomBytes } from 'node:crypto';
import type { LaidOut } from '../../client/dma/engine.ts';
import { RmaEngine } from '../../client/dma/rma.ts';
import { Session } from '../../client/session.ts';
import { extentState } from '../../fs/engine/leases.ts';
import type { ProviderName } from '../../fs/fabric/providers.ts';
import { iomode } from '../../layout/types.ts';
import { attrFromWire, operations, parseAddress, type ReplyOf } from '../../mds/protocol/index.ts';

type StateId = ReplyOf<typeof operations.OPEN>[0];

export class Peer {
  readonly session: Session;
  readonly engine: RmaEngine;

  private constructor(session: Session, engine: RmaEngine) {
    this.session = session;
    this.engine = engine;
  }

  static async connect(address: string, provider: ProviderName, size: number): Promise<Peer> {
    const options = {
      addresses: [parseAddress(address)],
      owner: randomBytes(16),
      implementation: 'a test',
      credentials: [0, 0, []] as [number, number, number[]],
      maxIoMs: 1000,
      process: null,
      pci: null,
      callTimeoutMs: 50_000,
    };
    const session = new Session(options, {
      recall: () => 'ok',
      recallAll: () => 'ok',
      recallBuffers: () => 'ok',
      recallAny: () => {},
      putOff: () => {},
      available: () => {},
      devicesChanged: () => {},
      flagged: () => {},
      lost: () => {},
      reclaim: () => Promise.resolve(),
      leaseEnded: () => {},
      settling: () => undefined,
      quiet: () => true,
      placed: () => {},
      disconnected: () => {},
      connected: () => {},
    });
    await session.open(undefined);
    return new Peer(session, new RmaEngine(session, { size, writable: true, providers: [provider], timeoutMs: 3_000 }));
  }

  /** Opens the file for reading and writing; it is made if it is not there. */
  async open(name: string): Promise<{ readonly ino: number; readonly stateid: StateId }> {
    const root = this.session.server.rootIno;
    const [stateid, attr] = await this.session.call(operations.OPEN, [
      [2, root, Buffer.from(name), 0o644, false],
      3,
      false,
      false,
    ]);
    return { ino: attrFromWire(attr).ino, stateid };
  }

  async layout(file: { readonly ino: number; readonly stateid: StateId }, access: 'read' | 'write', length: number) {
    const mode = access === 'write' ? iomode.rw : iomode.read;
    const [stateid, , extents] = await this.session.call(operations.LAYOUTGET, [
      file.ino,
      file.stateid,
      mode,
      0,
      length,
      length,
      64,
      false,
    ]);
    const pieces = extents
      .filter(([state]) => state !== extentState.none)
      .map(([state, offset, count, , storageOffset]): LaidOut => {
        return { ino: file.ino, offset, length: count, storageOffset, writable: state !== extentState.read };
      });
    return { stateid, pieces };
  }

  /** Stops, and gives back a part of the layout. */
  giveBack(ino: number, stateid: StateId, offset: number, count: number, pieces: readonly LaidOut[]) {
    this.engine.release(pieces);
    return this.session.call(operations.LAYOUTRETURN, [1, ino, stateid, iomode.any, offset, count, false]);
  }

  async close(): Promise<void> {
    await this.engine.close();
    await this.session.call(operations.LAYOUTRETURN, [3, null, null, iomode.any, 0, Infinity, false]);
    await this.session.close();
  }
}
