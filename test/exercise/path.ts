/** path_resolution(7): where a path leads in the model. */
import { NAME_MAX, S_IFLNK } from '../posix/support/constants.ts';
import type { Node } from './node.ts';
import { isError } from './operations.ts';

/** MAXSYMLINKS of the kernel. */
const symlinksMax = 40;

export interface Place {
  readonly directory: Node;
  readonly name: string;
  readonly node: Node | undefined;
}

/** @param laterName the caller looks at the length of the last name itself */
export function find(root: Node, path: string, follows: boolean, laterName = false): Place | string {
  return walk(root, path, follows, { count: 0 }, laterName);
}

function walk(
  start: Node,
  path: string,
  follows: boolean,
  symlinks: { count: number },
  laterName: boolean,
): Place | string {
  const components = path.split('/');
  let at = start;
  for (const [i, name] of components.entries()) {
    if (!at.isDirectory) return 'ENOTDIR';
    const isLast = i === components.length - 1;
    if (name.length > NAME_MAX && !(isLast && laterName)) return 'ENAMETOOLONG';
    const node = name === '.' ? at : at.entries.get(name);
    if (node?.type === S_IFLNK && (follows || !isLast)) {
      if (++symlinks.count > symlinksMax) return 'ELOOP';
      const behind = walk(at, node.target, true, symlinks, false);
      if (isError(behind) || isLast) return behind;
      if (behind.node === undefined) return 'ENOENT';
      at = behind.node;
    } else if (isLast) return { directory: at, name, node };
    else if (node === undefined) return 'ENOENT';
    else at = node;
  }
  return 'ENOENT';
}
