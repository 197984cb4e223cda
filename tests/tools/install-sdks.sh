#!/usr/bin/env bash
# Installs the providers' official SDKs for the tests: Python's into .tools/python, Node's into
# .tools/node, in the versions that tests/sdk names. Does nothing where they already are.
#
# It needs python3 (3.10 or newer, with venv), node and npm on PATH; the system is left alone.
# Silent when all went well.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

wanted="$root/tests/sdk"
python_dir="$root/.tools/python"
node_dir="$root/.tools/node"

hash_of() {
    cat "$@" | sha256sum | cut -d" " -f1
}

# The stamp is written last, so a directory with the right one is whole.
is_installed() {
    local dir="$1" hash="$2"
    [ "$(cat "$dir/stamp" 2>/dev/null)" = "$hash" ]
}

install_python() {
    local hash
    hash="$(hash_of "$wanted/requirements.txt")"
    # The interpreter is asked as well: an environment can outlive the Python that it was made with.
    if is_installed "$python_dir" "$hash" && "$python_dir/bin/python" -c 'import openai' 2>/dev/null; then
        return
    fi
    command -v python3 >/dev/null || fail "no python3 here; install Python 3.10 or newer"
    rm -rf "$python_dir"
    quietly python3 -m venv "$python_dir"
    quietly "$python_dir/bin/python" -m pip install --no-input -r "$wanted/requirements.txt"
    echo "$hash" >"$python_dir/stamp"
}

# The lock file names no download addresses, so that any registry will do. To renew it:
# npm install --package-lock-only --omit-lockfile-registry-resolved
install_node() {
    local hash
    hash="$(hash_of "$wanted/package.json" "$wanted/package-lock.json")"
    if is_installed "$node_dir" "$hash"; then
        return
    fi
    command -v node >/dev/null || fail "no node here; install Node.js 20 or newer"
    command -v npm >/dev/null || fail "no npm here; it comes with Node.js"
    rm -rf "$node_dir"
    mkdir -p "$node_dir"
    cp "$wanted/package.json" "$wanted/package-lock.json" "$node_dir"
    quietly npm ci --prefix "$node_dir" --no-audit --no-fund --ignore-scripts
    echo "$hash" >"$node_dir/stamp"
}

install_python
install_node
