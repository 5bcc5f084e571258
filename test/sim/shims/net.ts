/** `node:net` over the simulated network. */

export type { Server, Socket } from 'node:net';
export { connect, createServer } from '../network.ts';
