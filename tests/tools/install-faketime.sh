#!/usr/bin/env bash
# Makes libfaketime available to the tests, which start a gateway whose clock is wrong; does nothing where
# it already is. One library is all that is wanted, so the package is only unpacked into .tools/faketime,
# whoever asks; nothing is installed.
# Silent when all went well.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
dir="$root/.tools/faketime"

fail() {
    echo "install-faketime: $*" >&2
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

# Here, and the system has what it asks for. It is not run: it would leave a semaphore behind.
works() {
    local library needs
    library="$(find "$dir" -name libfaketimeMT.so.1 -print -quit 2>/dev/null)"
    [ -n "$library" ] && needs="$(ldd "$library" 2>&1)" && ! grep -q 'not found' <<<"$needs"
}

unpack() {
    command -v apt-get >/dev/null || fail "no apt-get here; unpack libfaketime into $dir by hand"
    command -v dpkg >/dev/null || fail "no dpkg here; unpack libfaketime into $dir by hand"

    # Package lists of our own: the system's may be missing or old, and only root may renew them.
    local work="$dir.partial"
    rm -rf "$work"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages" "$work/root"
    local apt_options=(
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=true
    )
    quietly apt-get "${apt_options[@]}" update
    cd "$work/packages"
    quietly apt-get "${apt_options[@]}" download libfaketime
    quietly dpkg -x "$work"/packages/libfaketime_*.deb "$work/root"
    cd "$root"
    rm -rf "$dir"
    mv "$work/root" "$dir"
    rm -rf "$work"
    works || fail "libfaketime was unpacked into $dir but does not work"
}

works || unpack
