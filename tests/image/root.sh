#!/usr/bin/env bash
# root.sh ROOT COMMAND...: runs a command with ROOT as its root directory. Programs and libraries are those of this
# machine, read-only; /etc, /usr/local, /var and all else are ROOT's own. Needs namespaces for mounts and the network.
set -euo pipefail
root="$1"
shift

"$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../tools/loopback.py"
mount --rbind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr" 2>/dev/null || true
mount --bind "$root/.local" "$root/usr/local"
# The package ca-certificates brings this machine's, once a step has asked for it.
if grep -qs 'install .*ca-certificates' "$root/skipped"; then
    mount --rbind /etc/ssl "$root/etc/ssl"
fi
for name in bin sbin lib lib32 lib64; do
    if [ -d "/$name" ] && [ ! -L "/$name" ]; then
        mkdir -p "$root/$name"
        mount --rbind "/$name" "$root/$name"
    fi
done
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount --rbind /proc "$root/proc"
exec chroot "$root" "$@"
