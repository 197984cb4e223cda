#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60 by default) on the seeds of fuzz/corpus. What it learns
# stays in fuzz/target; what it breaks on is printed, and belongs into fuzz/corpus with its repair.
#
# With --if-built: only where `make fuzz` has been run before, and for a moment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH="$PWD/.tools/cargo-fuzz/bin:$PATH"
seconds="${FUZZ_SECONDS:-60}"

if [ "${1:-}" = --if-built ]; then
    if ! command -v cargo-fuzz >/dev/null || [ ! -d fuzz/target/learnt ]; then
        echo "fuzzing: not run, because it was never built here (make fuzz); its checks run on seeds and mutants in the tests"
        exit 0
    fi
    seconds=2
fi

# No sanitizer: nothing here is unsafe, so that any toolchain will do and bytes come faster.
cargo fuzz build -s none
mapfile -t targets < <(cargo fuzz list)
status=0
for target in "${targets[@]}"; do
    mkdir -p "fuzz/target/learnt/$target" "fuzz/target/broken"
    log="fuzz/target/broken/$target.log"
    if cargo fuzz run -s none "$target" "fuzz/target/learnt/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 \
        -artifact_prefix=fuzz/target/broken/ >"$log" 2>&1; then
        printf '%s: held for %s inputs in %s s\n' "$target" \
            "$(awk '/number_of_executed_units/ { print $2 }' "$log")" "$seconds"
    else
        status=1
        printf '%s: BROKEN\n' "$target"
        tail -n 40 "$log"
    fi
done
exit "$status"
