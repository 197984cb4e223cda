#!/usr/bin/env bash
# Makes `strace` available to the tests; does nothing where it already is.
#
# With root (or sudo that asks for no password) it is installed as a system package. Without, the packages
# are unpacked into .tools/strace, where the tests look after PATH.
# Silent when all went well.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
local_dir="$root/.tools/strace"

fail() {
    echo "install-strace: $*" >&2
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

local_works() {
    [ -x "$local_dir/strace" ] && "$local_dir/strace" --version >/dev/null 2>&1
}

install_system_wide() {
    quietly "$@" apt-get update
    quietly "$@" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends strace
}

unpack_locally() {
    command -v apt-get >/dev/null || fail "no apt-get here; install strace 6.1 or newer by hand"
    command -v dpkg >/dev/null || fail "no dpkg here; install strace 6.1 or newer by hand"

    # Package lists of our own: the system's may be missing, and only root may renew them.
    local work="$local_dir.partial"
    rm -rf "$work"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages" "$work/root"
    local apt_options=(
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=true
    )
    quietly apt-get "${apt_options[@]}" update

    local wanted=(strace) library
    while read -r library; do
        if ! dpkg-query -W -f '${Status}' "$library" 2>/dev/null | grep -q 'ok installed'; then
            wanted+=("$library")
        fi
    done < <(apt-cache "${apt_options[@]}" depends strace | sed -n 's/^ *|\{0,1\}Depends: \(lib[a-z0-9.+-]*\)$/\1/p')
    cd "$work/packages"
    quietly apt-get "${apt_options[@]}" download "${wanted[@]}"

    local package
    for package in "$work"/packages/*.deb; do
        quietly dpkg -x "$package" "$work/root"
    done
    # What it traces must not get the libraries that it needs itself.
    cat >"$work/root/strace" <<'EOF'
#!/bin/sh
here="$(dirname "$(realpath "$0")")"
libraries="$(find "$here" -type f -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd: -)"
LD_LIBRARY_PATH="$libraries" exec "$here/usr/bin/strace" -E LD_LIBRARY_PATH "$@"
EOF
    chmod 755 "$work/root/strace"
    cd "$root"
    rm -rf "$local_dir"
    mv "$work/root" "$local_dir"
    rm -rf "$work"
    local_works || fail "strace was unpacked into $local_dir but does not run"
}

if command -v strace >/dev/null || local_works; then
    exit 0
elif command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    install_system_wide env
elif command -v apt-get >/dev/null && command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    install_system_wide sudo -n
else
    unpack_locally
fi
