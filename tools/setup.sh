#!/bin/sh
# Makes a checkout ready to run, from nothing but Node and npm: system packages, npm packages, build. Quick when there is
# nothing to do, safe when several run at once, and it asks no questions.
#
#   tools/setup.sh           what the programs need
#   tools/setup.sh --tests   and what the tests run on a mount: git, rsync, sqlite3, attr, Python; libfabric
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

# One at a time in a checkout: the lock is on its directory and ends with this process.
if command -v flock >/dev/null; then
  exec 9<.
  flock 9
fi

node_major=$(node -p 'process.versions.node.split(".")[0]') || fail "node is missing: install Node.js 20 or later"
[ "$node_major" -ge 20 ] || fail "Node.js 20 or later is needed, this is $(node --version)"
[ "$(uname -s)" = Linux ] || fail "iopmemfs runs on Linux, this is $(uname -s)"

# Prints the packages whose commands are missing: pairs of command and package.
missing_packages() {
  while [ $# -gt 0 ]; do
    command -v "$1" >/dev/null || printf ' %s' "$2"
    shift 2
  done
}

# As missing_packages, for a library that a program loads when it is asked for.
missing_library() {
  for dir in /usr/lib/*-linux-gnu /usr/lib /usr/lib64 /usr/local/lib; do
    [ ! -e "$dir/$1" ] || return 0
  done
  printf ' %s' "$2"
}

# mount and umount of util-linux, fusermount3 for those who mount without being root, the tools that the demo compares with.
packages=$(missing_packages umount mount fusermount3 fuse3 diff diffutils)
if [ "${1-}" = --tests ]; then
  packages="$packages$(missing_packages git git rsync rsync sqlite3 sqlite3 setfattr attr python3 python3)"
  packages="$packages$(missing_library libfabric.so.1 libfabric1)"
fi
if [ -n "$packages" ]; then
  install="apt-get install -y --no-install-recommends$packages"
  if ! command -v apt-get >/dev/null; then
    fail "these packages are missing, under their Debian names:$packages"
  elif [ "$(id -u)" -ne 0 ]; then
    fail "system packages are missing; run: sudo $install"
  fi
  say "installing$packages"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # a list of words
  log=$(mktemp)
  if ! { apt-get update -q && apt-get install -q -y --no-install-recommends $packages; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt failed; run: $install"
  fi
  rm -f "$log"
fi

if [ ! -e /dev/fuse ] && ! modprobe fuse 2>/dev/null; then
  say "there is no /dev/fuse: mounting will fail until the kernel has FUSE (modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
fi

# npm writes node_modules/.package-lock.json when it is done, so a broken install is begun again.
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  say "installing npm packages"
  log=$(mktemp)
  npm ci --loglevel=error </dev/null >"$log" 2>&1 || { head -n 20 "$log" >&2; rm -f "$log"; fail "npm ci failed"; }
  rm -f "$log"
  touch node_modules/.package-lock.json
fi

# The stamp is as old as the build that it stands for, and made before it: what is edited meanwhile is newer.
changed_source() {
  find . \( -name node_modules -o -name dist -o -name .git -o -name test \) -prune -o \
    -newer dist/.built \( -name '*.ts' -o -name '*.json' \) -print -quit
}
if [ ! -e dist/.built ] || [ -n "$(changed_source)" ]; then
  say "building"
  stamp=$(mktemp)
  npm run --silent build </dev/null >&2 || fail "the build failed"
  mv "$stamp" dist/.built
fi
