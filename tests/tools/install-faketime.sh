#!/usr/bin/env bash
# Makes libfaketime available to the tests, which start a gateway whose clock is wrong; does nothing where
# it already is. One library is all that is wanted, so the package is only unpacked into .tools/faketime,
# whoever asks; nothing is installed.
# Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

dir="$root/.tools/faketime"

# Here, and the system has what it asks for. It is not run: it would leave a semaphore behind.
works() {
    local library needs
    library="$(find "$dir" -name libfaketimeMT.so.1 -print -quit 2>/dev/null)"
    [ -n "$library" ] && needs="$(ldd "$library" 2>&1)" && ! grep -q 'not found' <<<"$needs"
}

if ! works; then
    unpack "$dir" libfaketime
    works || fail "libfaketime was unpacked into $dir but does not work"
fi
