/** Faults in client/. */
import type { Mutation } from './mutation.ts';

export const ofClient: readonly Mutation[] = [
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
    also: [
      {
        module: 'client/callbacks.ts',
        changes: [['if (!this.#requests.isAwaiting(calls)) return', 'if (calls.length >= 0) return']],
      },
    ],
  },
  {
    name: 'client-keeps-layouts-of-a-lost-session',
    breaks: 'layouts are gone with the session (C4)',
    module: 'client/file-data.ts',
    changes: [['this.#epoch += 1;\n    this.cache.remove(everything);', 'this.#epoch += 1;']],
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
    name: 'callback-runs-twice',
    breaks: 'a callback that comes again is answered and not obeyed (RFC 8881 §2.10.6)',
    module: 'client/callback-slots.ts',
    changes: [
      [
        "return digest === last.digest ? last.answer : 'SEQ_FALSE_RETRY';",
        "return digest === last.digest ? run() : 'SEQ_FALSE_RETRY';",
      ],
    ],
  },
  {
    name: 'client-uses-a-layout-from-before-its-fence',
    breaks: 'a grant in a reply that comes again after the fence is looked at before it is used',
    module: 'client/open-files.ts',
    changes: [
      [
        'await this.#session.call(operations.SEQUENCE, [], { urgent: true });\n        if (!this.#isFlagged) break;',
        'break;',
      ],
    ],
  },
];
