/** Faults in layout/ and mds/. */
import type { Mutation } from './mutation.ts';

export const ofLeasing: readonly Mutation[] = [
  {
    name: 'grant-during-recall',
    breaks: 'who asks for what is being recalled waits (I3)',
    module: 'layout/file-leases.ts',
    changes: [
      [
        'getMustWait(client: number, mode: Iomode, range: Range, turn: number): boolean {\n    return (',
        'getMustWait(client: number, mode: Iomode, range: Range, turn: number): boolean {\n    return client < 0 && (',
      ],
      ['assert(!waiting.broken, `I3: break ${waiting.id} was over, yet client ${client.id} gets its range`);', ''],
    ],
  },
  {
    name: 'recall-asks-nobody',
    breaks: 'an operation waits until nobody holds what it needs (I2)',
    module: 'layout/file-leases.ts',
    changes: [
      [
        'if (touched.broken || touched.blockers.size > 0 || touched.behind.size > 0) continue;',
        'if (touched.broken) continue;',
      ],
      [
        'assert(!this.obstructed(touched.purpose, touched), `I2: break ${touched.id} ends with layouts in its way`);',
        '',
      ],
    ],
  },
  {
    name: 'grant-is-not-reserved',
    breaks: 'who breaks sees a grant whose mapping is being made (I3)',
    module: 'layout/segments.ts',
    changes: [
      ['this.#all = added(this.#all, held, this.isShared);\n    return held;', 'return held;'],
      ['unreserve(held: Held): void {\n    this.#all = removed(this.#all, held);', 'unreserve(_held: Held): void {'],
    ],
  },
  {
    name: 'two-writers',
    breaks: 'one writer or many readers (L1)',
    module: 'layout/breaks.ts',
    changes: [['return client !== purpose.client && excludes(purpose.iomode, mode);', 'return false;']],
  },
  {
    name: 'return-of-a-part-returns-all',
    breaks: 'a return of a part leaves the rest held',
    module: 'layout/layouts.ts',
    changes: [
      [
        'const released = file.release(holding, mode, range);\n    if (',
        'const released = file.release(holding, mode, { start: 0, end: Infinity });\n    if (',
      ],
    ],
  },
  {
    name: 'recall-without-deadline',
    breaks: 'what is asked back ends (I9)',
    module: 'layout/recalls.ts',
    changes: [['const deadline = now + this.#deadlineMs;', 'const deadline = now + 1e9;']],
  },
  {
    name: 'reuse-before-the-fence',
    breaks: 'a fence is over when what the client could reach is put away (I7)',
    module: 'mds/leases.ts',
    changes: [['const held = fence.then(() => {', 'const held = Promise.resolve().then(() => {']],
  },
  {
    name: 'quarantine-ends-with-the-lease',
    breaks: 'a fence alone gives nothing free: nothing on a raw BAR stops a late access',
    module: 'mds/past-clients.ts',
    changes: [
      [
        'if (this.#fs.quarantined().has(client.id)) return this',
        'await this.#fs.layouts.releaseQuarantine(client.id);\n      if (this.#fs.quarantined().has(client.id)) return this',
      ],
    ],
  },
  {
    name: 'no-grace',
    breaks: 'after a restart former clients count as holding what they had (RFC 8881 §8.4.2)',
    module: 'mds/server.ts',
    changes: [['if (graceMs > 0) this.#beginGrace(graceMs);', '']],
  },
  {
    name: 'reply-cache-off',
    breaks: 'a request sent twice runs once (RFC 8881 §2.10.6)',
    module: 'mds/slot.ts',
    changes: [
      [
        'if (seqid === this.#seqid && this.#digest !== undefined) return this.#retry(digest);',
        "if (seqid === this.#seqid && this.#digest !== undefined) return { kind: 'execute' };",
      ],
    ],
  },
  {
    name: 'write-verifier-never-changes',
    breaks: 'the client hears that a restart lost what it had not committed (RFC 8881 §18.32.3)',
    module: 'mds/server.ts',
    changes: [['writeVerifier: randomBytes(8),', 'writeVerifier: Buffer.alloc(8),']],
  },
  {
    name: 'reclaim-after-complete',
    breaks: 'who has said RECLAIM_COMPLETE reclaims nothing any more (RFC 8881 §18.51)',
    module: 'mds/reclaim.ts',
    changes: [
      [
        "if (client.reclaimComplete) throw new StatusError('NO_GRACE'",
        "if (client.id < 0) throw new StatusError('NO_GRACE'",
      ],
    ],
    also: [
      {
        module: 'mds/past-clients.ts',
        changes: [
          ['for (const id of client.formers) await this.release(id);', 'if (client.id < 0) await this.release(0);'],
        ],
      },
    ],
  },
  {
    name: 'courteous-is-not-fenced',
    breaks: 'who lost his layouts after his lease is fenced before others get the blocks (I7)',
    module: 'mds/leases.ts',
    changes: [
      [
        'const fence = this.#fencing.begin(client, action.segments.map(fencedSegment));',
        'const fence = this.#channel.isCourteous(client)\n      ? Promise.resolve()\n      : this.#fencing.begin(client, action.segments.map(fencedSegment));',
      ],
    ],
  },
  {
    name: 'void-device-is-answered',
    breaks: 'a fence makes the device ids of its client void (RFC 8154 §2.4.10)',
    module: 'mds/handlers/layout.ts',
    changes: [['if (Buffer.compare(named, current) !== 0) throw', 'if (named.length !== current.length) throw']],
  },
  {
    name: 'recall-of-the-wrong-iomode',
    breaks: 'a recall names what is to be returned',
    module: 'mds/callbacks.ts',
    changes: [
      [
        'return [returnKind.file, ino, stateIdToWire(stateid), mode, offset, length, changed];',
        'return [returnKind.file, ino, stateIdToWire(stateid), mode === iomode.rw ? iomode.read : mode, offset, length, changed];',
      ],
    ],
  },
  {
    name: 'returned-stays-provisional',
    breaks: 'what was granted, and returned without a commit, is free again',
    module: 'mds/leases.ts',
    changes: [
      [
        'const written = segments.filter((segment) => segment.iomode === iomode.rw);',
        'const written = segments.filter(() => client < 0);',
      ],
    ],
  },
  {
    name: 'commit-without-layout',
    breaks: 'only who holds the layout commits (RFC 8881 §18.42)',
    module: 'mds/handlers/layout.ts',
    changes: [
      [
        'if (refused !== undefined) throw new StatusError(refused.status, refused.detail);',
        'if (client.id < 0) throw new StatusError("INVAL", refused?.detail ?? "");',
      ],
    ],
  },
];
