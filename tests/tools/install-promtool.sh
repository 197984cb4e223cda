#!/usr/bin/env bash
# Makes `promtool` available to the tests, which check the alerts and the metrics with it; does nothing where it
# already is.
#
# Always unpacked into .tools/promtool: Debian's package would start a Prometheus server. Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

dir="$root/.tools/promtool"

works() {
    [ -x "$dir/promtool" ] && "$dir/promtool" --version >/dev/null 2>&1
}

if command -v promtool >/dev/null || works; then
    exit 0
fi
unpack "$dir" prometheus
mv "$dir/usr/bin/promtool" "$dir/promtool"
rm -rf "${dir:?}/usr" "${dir:?}/etc" "${dir:?}/lib" "${dir:?}/var"
works || fail "promtool was unpacked into $dir but does not run"
