/** A client that holds a layout and notes what it is asked for, and what an operation waits for. */
import { operations } from '../../mds/protocol/ops.ts';
import type { RawClient, Recall } from './raw-client.ts';
import { block } from './recall-table.ts';

/** As in recall-table.ts. */
export type AskedFor = readonly [iomode: number, from: number, count: number, changed: boolean];

/** Besides slot 0, on which its own operation may be waiting. */
const slot = 1;

export class Holder {
  readonly client: RawClient;
  readonly ino: number;
  /** All that it was asked for. */
  readonly asked: AskedFor[] = [];
  readonly #recalls: Recall[] = [];
  #wake: () => void = () => {};

  private constructor(client: RawClient, ino: number) {
    this.client = client;
    this.ino = ino;
    client.connection.onRecall = (recall) => {
      const [, , iomode, offset, length, changed] = recall;
      this.asked.push([iomode, offset / block, length / block, changed]);
      this.#recalls.push(recall);
      this.#wake();
      return 'OK';
    };
  }

  /** It holds layouts already. */
  static watching(client: RawClient, ino: number): Holder {
    return new Holder(client, ino);
  }

  /** Holds the range, as far as the file goes where it is for reading, and has the file open where it is for writing. */
  static async of(client: RawClient, ino: number, iomode: 1 | 2, offset: number, length: number): Promise<Holder> {
    const holder = new Holder(client, ino);
    const stateid = await client.open(ino);
    await client.layout(ino, stateid, iomode, offset, length, slot);
    if (iomode === 1) await client.call(operations.CLOSE, [stateid], slot);
    return holder;
  }

  /**
   * What the operation comes to, when each recall was answered with a return; `whileItWaits` before that. Fails where the
   * operation did not wait.
   */
  async through<T>(
    operation: Promise<T>,
    whileItWaits: (recall: Recall) => Promise<void> = async () => {},
  ): Promise<T> {
    let over = false;
    const end = (): void => {
      over = true;
      this.#wake();
    };
    operation.then(end, end);
    for (;;) {
      const recall = this.#recalls.shift();
      if (recall === undefined) {
        if (over) break;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      await this.settled();
      if (over) throw new Error(`it did not wait for ${JSON.stringify(this.asked.at(-1))}`);
      await whileItWaits(recall);
      await this.giveBack(recall);
    }
    await this.settled();
    return operation;
  }

  /** The next recall, which is left to whoever asked. */
  async recalled(): Promise<Recall> {
    for (;;) {
      const recall = this.#recalls.shift();
      if (recall !== undefined) return recall;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Commits a range that it was just asked for; `last`: offset of the last byte written, if the file may have grown. */
  async commit([stateid, ino]: Recall, offset: number, length: number, last?: number, at = slot): Promise<void> {
    await this.client.call(operations.LAYOUTCOMMIT, [ino, stateid, [[offset, length]], last ?? null, null, null], at);
  }

  async giveBack([stateid, ino, iomode, offset, length]: Recall, at = slot): Promise<void> {
    await this.client.call(operations.LAYOUTRETURN, [1, ino, stateid, iomode, offset, length, false], at);
  }

  /** Whatever the server sent before has come. */
  async settled(): Promise<void> {
    for (let i = 0; i < 2; i++) await this.client.call(operations.SEQUENCE, [], slot);
  }
}
