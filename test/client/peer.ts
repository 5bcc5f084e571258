/**
 * A client in a process of its own, driven by lines of JSON on its standard input:
 * `{"open": path, "flags"?}`, `{"write": position, "length", "seed"}`, `{"read": position, "length"}`, `{"sync": true}`,
 * `{"writeSync": position}`. Answers one line for each: the result, or `{"status"}` of the error.
 */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { connect, type FileHandle, type OpenFlags } from '../../client/index.ts';
import { patternOf } from './pattern.ts';

interface Command {
  readonly open?: string;
  readonly flags?: OpenFlags;
  readonly write?: number;
  readonly read?: number;
  readonly writeSync?: number;
  readonly length?: number;
  readonly seed?: number;
  readonly sync?: boolean;
}

const [address, owner] = process.argv.slice(2);
if (address === undefined || owner === undefined) throw new Error('usage: peer ADDRESS OWNER');
const client = await connect(address, { owner });
let opened: FileHandle | undefined;
process.stdout.write('{"ready":true}\n');

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await obey(JSON.parse(line)).catch((error: unknown) => ({
    status: error instanceof Error && 'status' in error ? error.status : String(error),
  }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await client.close();

async function obey(command: Command): Promise<unknown> {
  if (command.open !== undefined) {
    opened = await client.open(command.open, command.flags ?? 'r');
    return { ino: opened.ino };
  }
  if (opened === undefined) throw new Error('nothing is open');
  const { length = 0 } = command;
  if (command.write !== undefined) {
    return await opened.write(patternOf(length, command.seed ?? 0), 0, length, command.write);
  }
  if (command.writeSync !== undefined)
    return { bytesWritten: opened.writeSync(Buffer.alloc(1), 0, 1, command.writeSync) };
  if (command.read !== undefined) {
    const buffer = Buffer.alloc(length);
    const result = await opened.read(buffer, 0, length, command.read);
    const digest = createHash('sha256').update(buffer.subarray(0, result.bytesRead)).digest('hex');
    return { ...result, buffer: undefined, digest };
  }
  await opened.sync();
  return {};
}
