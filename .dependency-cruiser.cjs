/**
 * Imports point one way: bench → tools → mds, client → layout, fs. `npm run imports` checks it, and test/imports.test.ts
 * that it looks at all modules: with a wrong TypeScript the cruiser sees none and calls that success.
 */
const inside = (folder) => `^${folder}/`;

/** Files in `from` may import nothing of ours but what lies in `to`. */
const only = (from, to, except = []) => ({
  name: `${from}-imports`,
  severity: 'error',
  from: { path: inside(from) },
  to: { path: '^(fs|layout|mds|client|tools|bench|test)/', pathNot: [from, ...to].map(inside).concat(except) },
});

module.exports = {
  forbidden: [
    only('fs', []),
    only('layout', []),
    only('mds', ['layout', 'fs']),
    only('client', ['layout', 'fs'], ['^mds/protocol/']),
    only('tools', ['mds', 'client', 'layout', 'fs']),
    only('bench', ['tools', 'mds', 'client', 'layout', 'fs']),
    {
      name: 'layout-is-pure',
      comment: 'no I/O, no clock, no packages: it can be simulated',
      severity: 'error',
      from: { path: '^layout/' },
      to: { pathNot: '^layout/' },
    },
    {
      name: 'front-ends-see-a-vfs',
      comment: 'a driver serves any Vfs, the remote one too',
      severity: 'error',
      from: { path: '^fs/fuse/' },
      to: { path: '^fs/(bar|format|meta|space|engine|fsck)/' },
    },
    {
      name: 'below-the-engine',
      severity: 'error',
      from: { path: '^fs/(bar|format|meta|space)/' },
      to: { path: '^fs/(engine|fuse|fsck)/' },
    },
    { name: 'engine-serves-nobody', severity: 'error', from: { path: '^fs/engine/' }, to: { path: '^fs/(fuse|fsck)/' } },
    { name: 'no-cycles', severity: 'warn', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
