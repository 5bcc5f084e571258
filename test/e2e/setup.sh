#!/bin/sh
# What the tests with virtual machines need, once: an emulator, a kernel with its modules, a first root for it. Only from
# Debian's packages; the kernel is unpacked into .e2e and not installed. Without it these tests are skipped.
set -eu
cd "$(dirname "$0")/../.."
say() { echo "e2e: $*" >&2; }

packages=
for pair in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio modprobe:kmod; do
  command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
if [ -n "$packages" ]; then
  [ "$(id -u)" -eq 0 ] || { say "missing packages; run: sudo apt-get install -y --no-install-recommends$packages"; exit 1; }
  say "installing$packages"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086 # a list of words
  { apt-get update -q && apt-get install -q -y --no-install-recommends $packages; } >/dev/null </dev/null
fi

if [ ! -e .e2e/initrd ]; then
  rm -rf .e2e && mkdir -p .e2e/root
  package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
  say "unpacking $package"
  (cd .e2e && apt-get download -q "$package" >/dev/null 2>&1 && dpkg -x ./linux-image-*.deb kernel && rm ./linux-image-*.deb)
  version=$(ls .e2e/kernel/lib/modules)
  cp ".e2e/kernel/boot/vmlinuz-$version" .e2e/vmlinuz
  depmod -b "$PWD/.e2e/kernel" "$version"
  mkdir -p .e2e/root/bin .e2e/root/modules
  cp "$(command -v busybox)" .e2e/root/bin/busybox
  cp test/e2e/init .e2e/root/init
  chmod 755 .e2e/root/init
  # Each in the order in which it has to be loaded. -C /dev/null: whatever this machine has configured is nothing to us.
  for module in virtio_pci 9pnet_virtio 9p virtio_net fuse; do
    modprobe -C /dev/null -d "$PWD/.e2e/kernel" -S "$version" --show-depends "$module" || exit 1
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >.e2e/order
  while read -r path; do
    cp "$path" .e2e/root/modules/
    basename "$path"
  done <.e2e/order >.e2e/root/modules/order
  (cd .e2e/root && find . | cpio -o -H newc --quiet >../initrd.part)
  mv .e2e/initrd.part .e2e/initrd
  rm -rf .e2e/kernel .e2e/root .e2e/order
fi
