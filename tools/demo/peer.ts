/**
 * A client process of the demonstration, with its own mapping of the image. It does what main.ts asks, and can
 * misbehave on purpose: keep a layout that was recalled, and go on looking at its old blocks.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type Client, ClientError, connect, type FileHandle, type Layout } from '../../client/index.ts';
import type { BarDevice } from '../../fs/bar/device.ts';
import { openDevice } from '../../fs/bar/open.ts';
import { measureLayoutGet, measureThroughput } from './peer-measure.ts';
import type { PeerReply, PeerRequest, Segment } from './peer-protocol.ts';

const MiB = 1 << 20;

/** Bounds what is filled on a fast machine: 75 MB. */
const committedFilesMax = 500;

class DemoPeer {
  #client: Client | undefined;
  #device: BarDevice | undefined;
  #file: FileHandle | undefined;
  #layout: Layout | undefined;
  /** Where the layout lay when it was granted; kept after it is gone, to look there still. */
  #granted: readonly Segment[] = [];
  #recalled = false;
  #revoked = false;
  readonly #committed: { path: string; digest: string }[] = [];

  async handle(request: PeerRequest): Promise<PeerReply> {
    switch (request.do) {
      case 'connect':
        this.#client = await connect(request.address, { device: request.device, owner: request.owner });
        this.#device = await openDevice(request.device, { writable: true, lock: false });
        return {};
      case 'read':
        return this.#read(request.path);
      case 'write':
        return this.#write(request.path, request.bytes);
      case 'hold':
        return this.#hold(request);
      case 'held':
        return {
          recalled: this.#recalled,
          revoked: this.#revoked,
          returned: this.#layout?.ranges.length === 0,
          digest: this.#digestOfGranted(),
        };
      case 'try-layout':
        return this.#refusalOf(async () => {
          const file = await this.#connected.open(request.path, 'r+');
          await file.layout({ offset: 0, length: MiB, iomode: 'RW' });
        });
      case 'try-commit':
        return this.#refusalOf(() => this.#kept.commit([{ offset: 0, length: 4096 }]));
      case 'write-until-killed':
        return this.#writeUntilKilled(request.dir);
      case 'progress':
        return { committed: this.#committed };
      case 'measure-throughput':
        return measureThroughput(this.#connected, request.path, request.bytes);
      case 'measure-layoutget':
        return measureLayoutGet(this.#connected, request.path, request.rounds);
      case 'take':
        return this.#take(request.path);
      case 'close':
        await this.#client?.close();
        await this.#device?.close();
        return {};
    }
  }

  get #connected(): Client {
    if (this.#client === undefined) throw new Error('not connected');
    return this.#client;
  }

  get #kept(): Layout {
    if (this.#layout === undefined) throw new Error('no layout');
    return this.#layout;
  }

  async #read(path: string): Promise<PeerReply> {
    const client = this.#connected;
    const before = { ...client.counters };
    const file = await client.open(path, 'r');
    const hash = createHash('sha256');
    const buffer = Buffer.alloc(MiB);
    for (let position = 0; ; ) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
    await file.close();
    return { digest: hash.digest('hex'), ...bytesSince(client, before) };
  }

  async #write(path: string, bytes: number): Promise<PeerReply> {
    const client = this.#connected;
    const before = { ...client.counters };
    const file = await client.open(path, 'w');
    const hash = createHash('sha256');
    for (let position = 0; position < bytes; position += MiB) {
      const data = randomBytes(Math.min(MiB, bytes - position));
      hash.update(data);
      await file.write(data, 0, data.length, position);
    }
    await file.sync();
    await file.close();
    return { digest: hash.digest('hex'), ...bytesSince(client, before) };
  }

  async #hold(request: Extract<PeerRequest, { do: 'hold' }>): Promise<PeerReply> {
    const rw = request.iomode === 'rw';
    this.#file = await this.#connected.open(request.path, rw ? 'r+' : 'r');
    const { offset, length, answer } = request;
    const layout = await this.#file.layout({ offset, length, iomode: rw ? 'RW' : 'READ', onRecall: answer });
    layout.on('recall', () => {
      this.#recalled = true;
    });
    layout.on('revoked', () => {
      this.#revoked = true;
    });
    this.#layout = layout;
    this.#granted = layout.segments
      .flatMap((segment) => (segment.state === 'NONE_DATA' ? [] : [segment]))
      .map(({ offset: at, length: long, storageOffset }) => ({ offset: at, length: long, storageOffset }));
    return { segments: this.#granted };
  }

  /** What lies on the device where the layout was granted, whether it is still held or not. */
  #digestOfGranted(): string {
    const hash = createHash('sha256');
    for (const { storageOffset, length } of this.#granted) {
      for (const view of this.#device?.views(storageOffset, length) ?? []) hash.update(view);
    }
    return hash.digest('hex');
  }

  async #refusalOf(attempt: () => Promise<unknown>): Promise<PeerReply> {
    try {
      await attempt();
      return { status: 'OK' };
    } catch (error) {
      if (error instanceof ClientError) return { status: error.status };
      throw error;
    }
  }

  async #writeUntilKilled(dir: string): Promise<PeerReply> {
    for (let i = 0; i < committedFilesMax; i++) {
      const path = `${dir}/${i}`;
      const data = randomBytes(1 + ((i * 6151) % 300_000));
      const file = await this.#connected.open(path, 'w');
      await file.write(data, 0, data.length, 0);
      await file.sync();
      await file.close();
      this.#committed.push({ path, digest: createHash('sha256').update(data).digest('hex') });
    }
    return {};
  }

  async #take(path: string): Promise<PeerReply> {
    this.#file ??= await this.#connected.open(path, 'r+');
    const started = performance.now();
    this.#layout = await this.#file.layout({ offset: 0, length: MiB, iomode: 'RW' });
    return { microseconds: [(performance.now() - started) * 1000] };
  }
}

function bytesSince(client: Client, before: Client['counters']): PeerReply {
  const { counters } = client;
  return {
    directBytes:
      counters.directBytesRead + counters.directBytesWritten - before.directBytesRead - before.directBytesWritten,
    serverBytes:
      counters.serverBytesRead + counters.serverBytesWritten - before.serverBytesRead - before.serverBytesWritten,
  };
}

const peer = new DemoPeer();
process.on('message', (message: { id: number; request: PeerRequest }) => {
  const { id, request } = message;
  peer
    .handle(request)
    .then((reply) => process.send?.({ id, reply }))
    .catch((error: unknown) => process.send?.({ id, error: error instanceof Error ? error.message : String(error) }));
});
// The parent is gone: nobody will ask any more.
process.on('disconnect', () => process.exit());
