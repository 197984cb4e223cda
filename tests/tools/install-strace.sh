#!/usr/bin/env bash
# Makes `strace` (6.1 or newer) available to the tests; does nothing where it already is.
#
# Where packages can be installed, it is. Elsewhere it is unpacked into .tools/strace, where the tests look
# after PATH. Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

dir="$root/.tools/strace"

works() {
    [ -x "$dir/strace" ] && "$dir/strace" --version >/dev/null 2>&1
}

install_system_wide() {
    quietly "$@" apt-get update
    quietly "$@" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends strace
}

unpack_locally() {
    unpack "$dir" strace
    # What it traces must not get the libraries that it needs itself.
    cat >"$dir/strace" <<END
#!/bin/sh
here="\$(dirname "\$(realpath "\$0")")"
libraries="$(libraries_in "$dir")"
LD_LIBRARY_PATH="\$libraries" exec "\$here/usr/bin/strace" -E LD_LIBRARY_PATH "\$@"
END
    chmod 755 "$dir/strace"
    works || fail "strace was unpacked into $dir but does not run"
}

if command -v strace >/dev/null || works; then
    exit 0
elif words="$(as_root)"; then
    # shellcheck disable=SC2086 # they are words
    install_system_wide $words
else
    unpack_locally
fi
