#!/usr/bin/env bash
# Builds the release before from the history, and runs it beside this one on one Redis: what docs/upgrades.md promises
# of a rolling upgrade and of the way back. Prints a row for each case; `make mixed`, and a part of `make faults`.
#
# BEFORE names the commit where another release is to be the one before.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
cd "$root"

# The last commit before accounts of people.
commit="${BEFORE:-7df1661873d903552018daf73460148a87035bfd}"
target="${CARGO_TARGET_DIR:-target}"
mkdir -p "$target/before"
target="$(realpath "$target")"
source="$target/before/source"
binary="$target/before/debug/resullm"

git rev-parse --git-dir >/dev/null 2>&1 ||
    fail "this is no clone of the project, so the release before cannot be built from its history"
git cat-file -e "$commit^{commit}" 2>/dev/null ||
    fail "the release before, commit $commit, is not in this clone's history: it is shallow; git fetch --unshallow brings the rest"

# The scripts that the tests run as those of the release before are that release's.
for script in tests/it/store/before/*.lua; do
    git show "$commit:src/store/redis/scripts/$(basename "$script")" | cmp -s - <(tail -n +2 "$script") || [ -n "${BEFORE:-}" ] ||
        fail "$script is not what the release before ran"
done

forget_source() {
    [ ! -e "$source" ] || git worktree remove --force "$source" 2>/dev/null || rm -rf "$source"
    git worktree prune
}

if [ ! -x "$binary" ] || [ "$(cat "$target/before/commit" 2>/dev/null)" != "$commit" ]; then
    trap forget_source EXIT
    forget_source
    quietly git worktree add --detach "$source" "$commit"
    (cd "$source" && CARGO_TARGET_DIR="$target/before" cargo build --locked)
    echo "$commit" >"$target/before/commit"
    forget_source
    trap - EXIT
fi
cargo build --locked

PYTHONDONTWRITEBYTECODE=1 timeout 900 python3 tests/tools/mixed.py "$binary" "$target/debug/resullm"
