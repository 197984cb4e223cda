#!/usr/bin/env bash
# Makes `redis-server` available to the tests; does nothing where it already is.
#
# With root (or sudo that asks for no password) it is installed as a system package and its
# service is kept from starting: the tests start servers of their own, on ports of their own.
# Without, the packages are unpacked into .tools/redis, where the tests look after PATH.
# Silent when all went well.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
local_dir="$root/.tools/redis"

fail() {
    echo "install-redis: $*" >&2
    exit 1
}

# Runs a command and shows what it said only if it failed.
quietly() {
    local said
    if ! said="$("$@" 2>&1)"; then
        echo "$said" >&2
        fail "this failed: $*"
    fi
}

local_libraries() {
    local found
    found="$(find "$local_dir" -type f -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd: -)"
    echo "$found"
}

local_works() {
    [ -x "$local_dir/usr/bin/redis-server" ] &&
        LD_LIBRARY_PATH="$(local_libraries)" "$local_dir/usr/bin/redis-server" --version >/dev/null 2>&1
}

install_system_wide() {
    local as_root=("$@")
    local policy=/usr/sbin/policy-rc.d
    quietly "${as_root[@]}" apt-get update
    # 101 tells the package scripts that starting services is forbidden here.
    if [ ! -e "$policy" ]; then
        # shellcheck disable=SC2064 # what the trap removes is known now
        trap "${as_root[*]} rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
        "${as_root[@]}" chmod 755 "$policy"
    fi
    quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y --no-install-recommends redis-server
}

unpack_locally() {
    command -v apt-get >/dev/null || fail "no apt-get here; install redis-server 6.2 or newer by hand"
    command -v dpkg >/dev/null || fail "no dpkg here; install redis-server 6.2 or newer by hand"

    # Package lists of our own: the system's may be missing, and only root may renew them.
    local work="$local_dir.partial"
    rm -rf "$work"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages" "$work/root"
    local apt_options=(
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=true
    )
    quietly apt-get "${apt_options[@]}" update

    local wanted=(redis-server redis-tools) library
    while read -r library; do
        if ! dpkg-query -W -f '${Status}' "$library" 2>/dev/null | grep -q 'ok installed'; then
            wanted+=("$library")
        fi
    done < <(apt-cache "${apt_options[@]}" depends redis-tools | sed -n 's/^ *|\{0,1\}Depends: \(lib[a-z0-9.+-]*\)$/\1/p')
    cd "$work/packages"
    quietly apt-get "${apt_options[@]}" download "${wanted[@]}"

    local package
    for package in "$work"/packages/*.deb; do
        quietly dpkg -x "$package" "$work/root"
    done
    cd "$root"
    rm -rf "$local_dir"
    mv "$work/root" "$local_dir"
    rm -rf "$work"
    local_works || fail "redis-server was unpacked into $local_dir but does not run"
}

if command -v redis-server >/dev/null || local_works; then
    exit 0
elif command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    install_system_wide env
elif command -v apt-get >/dev/null && command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    install_system_wide sudo -n
else
    unpack_locally
fi
