/** What `mount` takes for a device, and is a server: `unix:PATH`, `tcp://HOST:PORT`, `tcp://HOST:PORT/SUBTREE`. */
export interface RemoteSource {
  readonly address: string;
  /** From the root of the filesystem, begins with '/'. */
  readonly subtree: string;
}

/** undefined: a path. A socket has no subtree, since its own path has slashes. */
export function remoteSource(source: string): RemoteSource | undefined {
  if (source.startsWith('unix:')) return { address: source, subtree: '/' };
  const match = /^(tcp:\/\/[^/]+)(\/.*)?$/.exec(source);
  return match?.[1] === undefined ? undefined : { address: match[1], subtree: match[2] ?? '/' };
}
