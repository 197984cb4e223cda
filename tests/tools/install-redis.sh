#!/usr/bin/env bash
# Makes `redis-server` (6.2 or newer) available to the tests; does nothing where it already is.
#
# Where packages can be installed, it is, and its service is kept from starting: the tests start servers of
# their own, on ports of their own. Elsewhere it is unpacked into .tools/redis, where the tests look after PATH.
# Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

dir="$root/.tools/redis"

works() {
    [ -x "$dir/usr/bin/redis-server" ] &&
        LD_LIBRARY_PATH="$(libraries_in "$dir")" "$dir/usr/bin/redis-server" --version >/dev/null 2>&1
}

install_system_wide() {
    local policy=/usr/sbin/policy-rc.d
    quietly "$@" apt-get update
    # 101 tells the package scripts that starting services is forbidden here.
    if [ ! -e "$policy" ]; then
        # shellcheck disable=SC2064 # what the trap removes is known now
        trap "$* rm -f $policy" EXIT
        printf '#!/bin/sh\nexit 101\n' | "$@" tee "$policy" >/dev/null
        "$@" chmod 755 "$policy"
    fi
    quietly "$@" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y --no-install-recommends redis-server
}

if command -v redis-server >/dev/null || works; then
    exit 0
elif words="$(as_root)"; then
    # shellcheck disable=SC2086 # they are words
    install_system_wide $words
else
    unpack "$dir" redis-server redis-tools
    works || fail "redis-server was unpacked into $dir but does not run"
fi
