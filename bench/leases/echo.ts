/**
 * The limit beside the server: what a program costs that takes the same frames from the same kind of socket and answers each with
 * a reply like the server's, and does nothing else. `node echo.js SOCKET`
 */
import { createServer } from 'node:net';
import { operations } from '../../mds/protocol/ops.ts';
import { decode, encode, Frames } from './wire.ts';

const [socket = ''] = process.argv.slice(2);
const other = Buffer.alloc(12, 0x5a);
const device = Buffer.alloc(16, 0xa5);
const sequence = [0, 31];
/** What LAYOUTGET of one extent, and a LAYOUTRETURN that leaves nothing, are answered with. */
const results = new Map<unknown, readonly unknown[]>([
  [operations.LAYOUTGET.number, [[1, other], [1, 0, 1 << 20], [[1, 0, 1 << 20, device, 1 << 30]], false]],
  [operations.LAYOUTRETURN.number, [null]],
]);

const server = createServer((connection) => {
  const frames = new Frames();
  connection.on('error', () => connection.destroy());
  connection.on('data', (chunk) => {
    const replies: Buffer[] = [];
    frames.push(chunk, (body) => {
      const [, xid, , , , , operation] = decode(body);
      replies.push(encode([1, xid, 0, results.get(operation) ?? [], null, sequence]));
    });
    if (replies.length > 0) connection.write(Buffer.concat(replies));
  });
});
server.listen(socket, () => process.send?.('listening'));
process.once('disconnect', () => {
  server.close(() => process.exit());
});
