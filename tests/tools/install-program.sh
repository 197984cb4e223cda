#!/usr/bin/env bash
# install-program.sh NAME: makes `strace` (6.1 or newer), `curl` or `jq` available to the tests; does nothing where it
# already is.
#
# Where packages can be installed, it is. Elsewhere it is unpacked into .tools/NAME, where the tests look
# after PATH. Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

program="$1"
dir="$root/.tools/$program"

works() {
    [ -x "$dir/$program" ] && "$dir/$program" --version >/dev/null 2>&1
}

install_system_wide() {
    quietly "$@" apt-get update
    quietly "$@" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$program"
}

unpack_locally() {
    local own=""
    unpack "$dir" "$program"
    # What it traces must not get the libraries that it needs itself.
    [ "$program" = strace ] && own="-E LD_LIBRARY_PATH"
    cat >"$dir/$program" <<END
#!/bin/sh
here="\$(dirname "\$(realpath "\$0")")"
libraries="$(libraries_in "$dir")"
LD_LIBRARY_PATH="\$libraries" exec "\$here/usr/bin/$program" $own "\$@"
END
    chmod 755 "$dir/$program"
    works || fail "$program was unpacked into $dir but does not run"
}

if command -v "$program" >/dev/null || works; then
    exit 0
elif words="$(as_root)"; then
    # shellcheck disable=SC2086 # they are words
    install_system_wide $words
else
    unpack_locally
fi
