#!/usr/bin/env bash
# Installs cargo-deny for `make deny` into .tools/cargo-deny, in the version named here. Does nothing
# where it already is. Built without optimisation: that takes two cores under a minute instead of
# several, and reading a lock file takes it a second either way.
# Silent when all went well.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
version=0.20.2
dir="$root/.tools/cargo-deny"

if [ "$("$dir/bin/cargo-deny" --version 2>/dev/null)" = "cargo-deny $version" ]; then
    exit 0
fi
if ! said="$(CARGO_TARGET_DIR="$dir/build" cargo install cargo-deny --version "$version" --locked --debug --force --root "$dir" 2>&1)"; then
    echo "$said" >&2
    echo "install-deny: cargo-deny $version cannot be built" >&2
    exit 1
fi
rm -rf "$dir/build"
