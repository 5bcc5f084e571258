/** docs/protocol.md is what others write clients from: it must say what the code does. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { serverLimits } from '../../mds/limits.ts';
import { FrameDecoder } from '../../mds/protocol/frame.ts';
import { wireLimits } from '../../mds/protocol/limits.ts';
import { callbacks, operations } from '../../mds/protocol/ops.ts';
import { status } from '../../mds/protocol/status.ts';
import { services } from '../../mds/services.ts';

const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8');
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) => line.split('|').map((cell) => cell.trim()));

function row(number: number, name: string): readonly string[] | undefined {
  return rows.find(([, no, label]) => no === String(number) && label?.split(' ')[0] === name);
}

const limit = (what: string) => Number(rows.find(([, label]) => label?.startsWith(what))?.[2]);

describe('docs/protocol.md', () => {
  test.for(Object.values(operations).map((operation) => [operation.name, operation] as const))(
    '%s',
    ([, operation]) => {
      const documented = row(operation.number, operation.name);
      expect(documented).toBeDefined();
      const mark = documented?.[2]?.split(' ')[1];
      expect(mark).toBe(operation.session === 'none' ? '–' : operation.idempotent ? undefined : '○');
    },
  );

  test('callbacks and statuses', () => {
    for (const { name, number } of Object.values(callbacks)) expect(row(number, name), name).toBeDefined();
    for (const [name, number] of Object.entries(status)) expect(row(number, name), name).toBeDefined();
  });

  test('limits', () => {
    expect(limit('frame (body')).toBe(wireLimits.frameMax);
    expect(limit('nesting')).toBe(wireLimits.depthMax);
    expect(limit('data of one READ')).toBe(wireLimits.dataMax);
    expect(limit('slots')).toBe(wireLimits.slotsMax);
    expect(limit('callback slots')).toBe(wireLimits.callbackSlotsMax);
    expect(limit('referring calls')).toBe(wireLimits.referringMax);
    expect(limit('callbacks of')).toBe(serverLimits.callbacksQueuedMax);
    expect(limit('replies kept')).toBe(serverLimits.cachedRepliesMax);
    expect(limit('sessions')).toBe(serverLimits.sessionsPerClientMax);
    expect(limit('requests of')).toBe(serverLimits.requestsPerConnectionMax);
    expect(limit('connections')).toBe(serverLimits.connectionsMax);
    expect(limit('clients')).toBe(serverLimits.clientsMax);
    expect(limit('open files')).toBe(serverLimits.opensPerClientMax);
    expect(limit('files open')).toBe(serverLimits.opensMax);
    expect(limit('half frames')).toBe(serverLimits.halfFramesMax);
    expect(limit('segments')).toBe(serverLimits.segmentsPerClientMax);
    expect(limit('extents of one')).toBe(wireLimits.extentsMax);
    expect(limit('bytes of one layout')).toBe(serverLimits.layoutWriteMax);
    expect(limit('reply kept')).toBe(serverLimits.cachedReplyMax);
    expect(limit('words')).toBe(wireLimits.textMax);
  });

  test('the example is what it says', () => {
    const other = Buffer.from('0102030405060708090a0b0c', 'hex');
    const session = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
    const [request, reply] = [...page.matchAll(/```hex\n([^`]*)```/g)].map(([, block = '']) => {
      const digits = block
        .split('\n')
        .map((line) => line.slice(0, 50))
        .join('')
        .replaceAll(/\s/g, '');
      return new FrameDecoder().push(Buffer.from(digits, 'hex'))[0];
    });
    const args = [16, [1, other], 2, 0, Infinity, 1, 64, false];
    expect(request).toEqual([0, 7, session, 0, 3, true, operations.LAYOUTGET.number, args, null]);
    expect(operations.LAYOUTGET.isRequest(request?.[7])).toBe(true);
    expect(reply?.slice(0, 3)).toEqual([1, 7, 0]);
    expect(operations.LAYOUTGET.isReply(reply?.[3])).toBe(true);
  });
});

test('the server serves every operation of the protocol, and only those', () => {
  const offered = [...services.values()].map(({ operation }) => operation.name);
  expect(offered.toSorted()).toEqual(Object.keys(operations).toSorted());
});

test('no reply that must not run twice is too large to be kept', () => {
  const perExtent = 1 + 1 + 9 + 9 + 18 + 9;
  expect(wireLimits.extentsMax * perExtent + 200).toBeLessThan(serverLimits.cachedReplyMax);
});

test('a callback can name the last request of every slot of its client', () => {
  expect(wireLimits.referringMax).toBe(wireLimits.slotsMax * serverLimits.sessionsPerClientMax);
  const ofOneClient = wireLimits.callbackSlotsMax * serverLimits.sessionsPerClientMax;
  expect(serverLimits.callbacksPerConnectionMax).toBeGreaterThanOrEqual(ofOneClient);
});
