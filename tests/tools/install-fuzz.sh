#!/usr/bin/env bash
# Installs cargo-fuzz for `make fuzz` into .tools/cargo-fuzz, in the version named here. Does nothing
# where it already is. A C++ compiler is needed too: the fuzzer itself is written in it.
# Silent when all went well.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
version=0.13.2
dir="$root/.tools/cargo-fuzz"

if [ "$("$dir/bin/cargo-fuzz" --version 2>/dev/null)" = "cargo-fuzz $version" ]; then
    exit 0
fi
if ! said="$(CARGO_TARGET_DIR="$dir/build" cargo install cargo-fuzz --version "$version" --locked --force --root "$dir" 2>&1)"; then
    echo "$said" >&2
    echo "install-fuzz: cargo-fuzz $version cannot be built" >&2
    exit 1
fi
rm -rf "$dir/build"
