#!/usr/bin/env bash
# build.sh COPIED PROJECT TARGET STEP: runs a step of the Dockerfile's build in a mount namespace in which the copied
# files stand in the place of the project, so that what the tests have compiled already counts.
set -euo pipefail
copied="$1" project="$2" target="$3" step="$4"

# The target directory stays where it is, also inside of the project.
case "$target" in
"$project"/*)
    mkdir -p "$copied${target#"$project"}"
    mount --bind "$target" "$copied${target#"$project"}"
    ;;
esac
mount --rbind "$copied" "$project"
cd "$project"
PATH="$IMAGE_BIN:$PATH" CARGO_TARGET_DIR="$target" exec sh -c "$step"
