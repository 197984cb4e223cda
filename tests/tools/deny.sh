#!/usr/bin/env bash
# Checks what comes in through the lock files of the gateway and of its benchmark: licences, sources and banned crates always, advisories
# where the RustSec database can be had. Where it cannot, one loud line says so and nothing fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH="$PWD/.tools/cargo-deny/bin:$PATH"

checks="bans licenses sources"
if said="$(timeout 120 cargo deny --locked fetch db 2>&1)"; then
    checks="advisories $checks"
else
    echo "$said" | tail -n 1
    echo '!!! ADVISORIES WERE NOT CHECKED: the RustSec database cannot be fetched from here !!!'
fi
for manifest in Cargo.toml bench/Cargo.toml; do
    printf '%s: ' "$manifest"
    # shellcheck disable=SC2086 # a list of words
    cargo deny --manifest-path "$manifest" --locked --config deny.toml check --allow license-not-encountered $checks
done
