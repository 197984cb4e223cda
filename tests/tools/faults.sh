#!/usr/bin/env bash
# Runs the faults at full length and prints what came of each: case, figure, verdict.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mkdir -p "${CARGO_TARGET_DIR:-target}"
table="$(realpath "${CARGO_TARGET_DIR:-target}")/faults.txt"
rm -f "$table"
status=0
FAULTS_LONG=1 FAULTS_TABLE="$table" \
    cargo test --locked --test it -- faults:: carry:: exact:: image:: leases:: readers:: sealing:: tokenizers:: --test-threads 1 || status=$?
FAULTS_TABLE="$table" tests/tools/mixed.sh || status=$?

printf '\n== faults\n'
{
    echo "case | figure | verdict"
    [ ! -f "$table" ] || sort "$table"
} | awk -F ' [|] ' '
    { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } }
    END { for (n = 1; n <= NR; n++) printf "%-*s | %-*s | %s\n", width[1], cell[n, 1], width[2], cell[n, 2], cell[n, 3] }
'
exit "$status"
