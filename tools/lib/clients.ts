/** How clients of a server are shown, and named on a command line. */
import { InvalidArgumentError } from 'commander';
import type { ClientStatus } from '../../mds/protocol/server-status.ts';
import { formatColumns } from './columns.ts';
import { formatSize } from './sizes.ts';

/** The connection that asks is a client as well, of no interest to anybody. */
export function others<T extends { readonly implementation: string }>(clients: readonly T[]): readonly T[] {
  return clients.filter((each) => !each.implementation.endsWith(` pid ${process.pid}`));
}

/** Owners are bytes; most are text. What is none, or could be taken for a number, is shown in digits. */
export function ownerText(owner: Uint8Array): string {
  const text = Buffer.from(owner).toString('utf8');
  return /^[\x20-\x7e]*$/.test(text) && !isNumber(text) ? text : `0x${Buffer.from(owner).toString('hex')}`;
}

/** What somebody means who writes the number of a client, or its owner as `ownerText` shows it. */
export function clientOf(text: string): number | Uint8Array {
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text);
  return /^0x([0-9a-f]{2})+$/.test(text) ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text);
}

/** The number of a client, as an argument. @throws InvalidArgumentError */
export function clientNumber(text: string): number {
  const id = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(id)) throw new InvalidArgumentError('a number is needed');
  return id;
}

export function clientTable(clients: readonly ClientStatus[]): string {
  const rows = clients.map((c) => [
    String(c.id),
    c.state,
    String(c.opens),
    formatSize(c.quarantinedBytes),
    `${c.leaseLeftMs} ms`,
    ownerText(c.owner),
  ]);
  const header = ['CLIENT', 'STATE', 'OPEN', 'QUARANTINED', 'LEASE LEFT', 'OWNER'];
  return formatColumns([header, ...rows], ['right', 'left', 'right', 'right', 'right', 'left']);
}

function isNumber(text: string): boolean {
  return /^(\d+|0x([0-9a-f]{2})+)$/.test(text);
}
