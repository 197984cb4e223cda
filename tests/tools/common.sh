# Sourced by what makes programs available to the tests: where the project is, and how to fail.
# shellcheck shell=bash
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

fail() {
    echo "$(basename "$0" .sh): $*" >&2
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
