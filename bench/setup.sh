#!/bin/sh
# What the benchmarks need besides the project itself: a C compiler, the filesystems to compare with, and the programs
# that are run on them. Installs what is missing where apt may, and otherwise says what to install.
set -eu

packages=
need() {
  command -v "$1" >/dev/null || packages="$packages $2"
}
need gcc gcc
need pkg-config pkg-config
need taskset util-linux
need bindfs bindfs
need mergerfs mergerfs
need git git
need sqlite3 sqlite3
[ -e /usr/share/doc/libfuse3-dev/examples/passthrough_ll.c ] || packages="$packages libfuse3-dev"
[ -e /usr/include/rdma/fabric.h ] || packages="$packages libfabric-dev"
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
  echo "bench: these packages are missing, under their Debian names:$packages" >&2
  exit 1
fi
echo "bench: installing$packages" >&2
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
{ apt-get update -q && apt-get install -q -y --no-install-recommends $packages; } >/dev/null 2>&1 </dev/null || {
  echo "bench: apt failed; run: apt-get install -y$packages" >&2
  exit 1
}
