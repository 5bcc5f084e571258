/**
 * Faults put into the product on purpose, each in a copy that one run of the simulation loads (hooks.mjs): the proof that
 * its checks find what they are for. Every text must stand in its module exactly once, so that this list stays in step with
 * the code.
 */

export interface Mutation {
  readonly name: string;
  /** The promise that is broken. */
  readonly breaks: string;
  /** From the repository's root. */
  readonly module: string;
  readonly changes: readonly (readonly [text: string, by: string])[];
}

/** The module's source with the mutation. @throws Error where a text does not stand in it exactly once */
export function mutate({ name, module, changes }: Mutation, source: string): string {
  return changes.reduce((changed, [text, by]) => {
    const times = changed.split(text).length - 1;
    if (times !== 1) throw new Error(`mutation ${name}: stands in ${module} ${times} times, not once:\n${text}`);
    return changed.replace(text, () => by);
  }, source);
}

/** @throws Error: there is none of this name */
export function mutationNamed(name: string): Mutation {
  const found = mutations.find((each) => each.name === name);
  if (found === undefined)
    throw new Error(`no mutation ${name}; there are ${mutations.map((each) => each.name).join()}`);
  return found;
}

export const mutations: readonly Mutation[] = [
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
      ['this.#all = added(this.#all, held);\n    return held;', 'return held;'],
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
    name: 'fence-puts-nothing-away',
    breaks: 'what a fenced client could reach goes to quarantine (I2)',
    module: 'fs/engine/fencing.ts',
    changes: [
      [
        'export async function quarantine(v: Volume, client: number, segments: readonly FencedSegment[]): Promise<void> {',
        'export async function quarantine(v: Volume, client: number, segments: readonly FencedSegment[]): Promise<void> {\n  if (client > 0) return;',
      ],
    ],
  },
  {
    name: 'holds-forgotten',
    breaks: 'a held block that its file gives up goes to quarantine (I2)',
    module: 'fs/space/space.ts',
    changes: [['if (this.#holds.empty) {', 'if (group > 0) {']],
  },
  {
    name: 'quarantine-forgotten-at-restart',
    breaks: 'quarantine survives a restart',
    module: 'fs/engine/load.ts',
    changes: [['builder.addHold({ block, length }, clientId, access);', '']],
  },
  {
    name: 'quarantine-ends-with-the-lease',
    breaks: 'a fence alone gives nothing free: nothing on a raw BAR stops a late access',
    module: 'mds/past-clients.ts',
    changes: [
      [
        'if (this.#fs.quarantined().has(client.id)) return void',
        'await this.#fs.layouts.releaseQuarantine(client.id);\n      if (this.#fs.quarantined().has(client.id)) return void',
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
    name: 'former-clients-not-fenced',
    breaks: 'who does not come back after a restart is fenced',
    module: 'fs/engine/fencing.ts',
    changes: [
      [
        'for (const [ino, access] of grantsOf(v, client)) {',
        'for (const [ino, access] of client > 0 ? [] : grantsOf(v, client)) {',
      ],
    ],
  },
  {
    name: 'grant-before-durable',
    breaks: 'a mapping is durable before it is granted (I5)',
    module: 'fs/engine/engine.ts',
    changes: [['(v.isDurable ? value : v.sync().then(() => value))', 'value']],
  },
  {
    name: 'commit-before-durable',
    breaks: 'what a commit acknowledged survives a crash',
    module: 'fs/engine/engine.ts',
    changes: [['request, client));\n      await v.sync();', 'request, client));']],
  },
  {
    name: 'restart-makes-nothing-persistent',
    breaks: 'a sync answers for what a killed daemon had stored',
    module: 'fs/engine/engine.ts',
    changes: [['if (superblock.dirty) await device.persist(0, superblock.blockCount * bs);', '']],
  },
  {
    name: 'commit-persists-no-data',
    breaks: 'the data of a group is on the device before its metadata is written (G3)',
    module: 'fs/engine/layouts.ts',
    changes: [
      [
        'for (const extent of v.extents.get(inode.ino)?.within(from, to) ?? []) v.wrote(extent.block * bs, extent.length * bs);',
        '',
      ],
    ],
  },
  {
    name: 'commit-converts-nothing',
    breaks: "a commit makes provisional blocks the file's",
    module: 'fs/engine/layouts.ts',
    changes: [
      [
        'const own = [...(map?.within(from, to) ?? [])].filter(({ mark }) => mark === client);',
        'const own = [...(map?.within(from, to) ?? [])].filter(() => client < 0);',
      ],
    ],
  },
  {
    name: 'commit-shrinks',
    breaks: 'a commit never shrinks a file (RFC 8881 §18.42)',
    module: 'fs/engine/layouts.ts',
    changes: [
      [
        'last === undefined ? inode.size : Math.max(inode.size, last + 1);',
        'last === undefined ? inode.size : last + 1;',
      ],
    ],
  },
  {
    name: 'provisional-is-visible',
    breaks: 'what was not committed is not read by anybody (I8)',
    module: 'fs/engine/layouts.ts',
    changes: [
      [
        'provide(v, inode, missing, client);\n  if',
        'provide(v, inode, missing, client);\n  for (const each of missing) commitBlocks(v, inode, each.fileBlock, each.fileBlock + each.length, client);\n  if',
      ],
    ],
  },
  {
    name: 'freed-is-reused-at-once',
    breaks: 'a freed block is reused only after the group that freed it is durable',
    module: 'fs/space/space.ts',
    changes: [['if (group <= this.#durable) {', 'if (group > 0) {']],
  },
  {
    name: 'shared-is-written-in-place',
    breaks: 'a shared block is copied before it is written',
    module: 'fs/engine/data.ts',
    changes: [
      ['return !part.isOwn || (isCow(inode) && !v.fresh.has(part));', 'return isCow(inode) && !v.fresh.has(part);'],
      [
        'if (known !== undefined && known.mark === 0 && !isCow(inode)) {',
        'if (known !== undefined && !isCow(inode)) {',
      ],
    ],
  },
  {
    name: 'clone-without-recall',
    breaks: 'layouts for writing are recalled before blocks become shared',
    module: 'fs/engine/clone.ts',
    changes: [["v.requireNoLayouts(ino, { offset: 0, length: Infinity }, 'share');", '']],
  },
  {
    name: 'punch-without-recall',
    breaks: 'layouts are recalled before their blocks leave the file',
    module: 'fs/engine/fallocate.ts',
    changes: [
      [
        "v.requireNoLayouts(inode.ino, { offset: from, length: shifts ? Infinity : blocksOf(end) * bs - from }, 'unmap');",
        '',
      ],
    ],
  },
  {
    name: 'write-without-recall',
    breaks: 'layouts of others are recalled before a write',
    module: 'fs/engine/data.ts',
    changes: [
      ["v.requireNoLayouts(inode.ino, range, isInPlace(v, inode, first, last) ? 'write' : 'remap', by.client);", ''],
    ],
  },
  {
    name: 'unlink-without-recall',
    breaks: 'layouts are recalled before a file goes',
    module: 'fs/engine/namespace.ts',
    changes: [["if (inode.isFile) v.requireNoLayouts(inode.ino, { offset: 0, length: Infinity }, 'unmap');", '']],
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
    name: 'client-ignores-its-lease',
    breaks: 'no access starts after the lease could have ended',
    module: 'client/lease.ts',
    changes: [['return !this.#doubted && this.#now() < this.endsAt;', 'return this.#renewedAt > 0;']],
  },
  {
    name: 'client-ignores-recalls',
    breaks: 'what is recalled is not used from the answer on (C1)',
    module: 'client/inode.ts',
    changes: [
      ["this.data.leave(range, mode === iomode.any ? 'all' : mode === iomode.rw ? 'writable' : 'readable');", ''],
    ],
  },
  {
    name: 'client-does-not-commit-at-recall',
    breaks: 'what was written is committed before it is returned',
    module: 'client/inode.ts',
    changes: [
      [
        'await this.#commitBeforeReturn();\n      await this.#giveBack(range, mode);',
        'await this.#giveBack(range, mode);',
      ],
    ],
  },
  {
    name: 'client-keeps-crossed-grants',
    breaks: 'no grant is used that was on its way while something was given back (C2)',
    module: 'client/layout-hold.ts',
    changes: [['intact: () => current() && epoch === this.#epoch && this.#returning === 0,', 'intact: () => true,']],
  },
  {
    name: 'client-knows-of-no-grant-on-its-way',
    breaks: 'a recall that crossed a grant is put off, not denied (RFC 8881 §12.5.5.2)',
    module: 'client/recalls.ts',
    changes: [["return getting ? 'delay' : 'nomatching';", "return 'nomatching';"]],
  },
  {
    name: 'client-keeps-layouts-of-a-lost-session',
    breaks: 'layouts are gone with the session (C4)',
    module: 'client/inode.ts',
    changes: [['this.#unfinished.clear();\n    this.data.cache.remove(everything);', 'this.#unfinished.clear();']],
  },
  {
    name: 'client-reads-below-its-own-write',
    breaks: 'what was written over READ_DATA is read from then on, and committed (RFC 5663 §2.3.5)',
    module: 'client/layout-cache.ts',
    changes: [
      [
        "const blanks = this.#within(range).filter((segment) => segment.kind === 'blank');",
        "const blanks = this.#within(range).filter((segment) => segment.kind === 'blank' && segment.old === undefined);",
      ],
    ],
  },
  {
    name: 'fenced-is-written-in-place',
    breaks:
      'what stays in the file for want of room, and a fenced client may still write, is copied before it is written',
    module: 'fs/engine/file-space.ts',
    changes: [['isOwn: isAlone && !isWritable', 'isOwn: isAlone']],
  },
];
