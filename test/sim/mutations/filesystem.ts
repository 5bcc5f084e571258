/** Faults in fs/. */
import type { Mutation } from './mutation.ts';

export const ofFilesystem: readonly Mutation[] = [
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
        'v.requireNoLayouts(inode.ino, { offset: from, length: shifts ? Infinity : blocksOf(end) * bs - from }, reason);',
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
    name: 'fenced-is-written-in-place',
    breaks:
      'what stays in the file for want of room, and a fenced client may still write, is copied before it is written',
    module: 'fs/engine/file-space.ts',
    changes: [['isOwn: isAlone && !isWritable', 'isOwn: isAlone']],
  },
  {
    name: 'reclaim-of-any-place',
    breaks: 'only what was granted before the restart is reclaimed, where it was granted (RFC 8881 §18.42)',
    module: 'fs/engine/reclaim.ts',
    changes: [
      ['if (mark !== client || block !== place(fileBlock) || !isOwn', 'if (mark !== client || block < 0 || !isOwn'],
      [
        'if (extent.fileBlock !== at || extent.block !== place(at)) return false;',
        'if (extent.fileBlock !== at) return false;',
      ],
    ],
  },
  {
    name: 'commit-converts-all',
    breaks: 'a commit converts what it names, and no more (RFC 8881 §18.42)',
    module: 'fs/engine/layouts.ts',
    changes: [
      [
        'const own = [...(map?.within(from, to) ?? [])].filter(({ mark }) => mark === client);',
        'const own = [...(map?.within(0, Infinity) ?? [])].filter(({ mark }) => mark === client);',
      ],
    ],
  },
  {
    name: 'commit-does-not-grow',
    breaks: 'a commit makes the file as long as what was written (RFC 8881 §18.42)',
    module: 'fs/engine/layouts.ts',
    changes: [
      [
        '  inode.size = size;\n  const now = v.clock.now();\n  const mtime = request',
        '  const now = v.clock.now();\n  const mtime = request',
      ],
    ],
  },
  {
    name: 'move-without-recall',
    breaks: 'blocks move only when nobody holds them',
    module: 'fs/engine/relocation/move.ts',
    changes: [["v.requireNoLayouts(ino, { offset: fileBlock * bs, length: length * bs }, 'unmap');", '']],
  },
  {
    name: 'truncate-without-recall',
    breaks: 'layouts are recalled before the blocks past the new end go',
    module: 'fs/engine/data.ts',
    changes: [["v.requireNoLayouts(inode.ino, { offset: goes.offset, length: goes.end - goes.offset }, 'unmap');", '']],
  },
  {
    name: 'snapshot-without-recall',
    breaks: 'layouts for writing are recalled before a snapshot shares the blocks',
    module: 'fs/engine/tree-copy.ts',
    changes: [["v.requireNoLayouts(source.ino, { offset: 0, length: Infinity }, 'share');", ';']],
  },
  {
    name: 'unwritten-is-read',
    breaks: 'what was preallocated and not written reads as zeros',
    module: 'fs/engine/layouts.ts',
    changes: [
      [
        'if (part.block === undefined || isUnwritten(part)) push(extents, extentState.none, part, 0);',
        'if (part.block === undefined) push(extents, extentState.none, part, 0);',
      ],
    ],
  },
];
