#!/usr/bin/env bash
# Installs the client programs that the tests call the gateway with, in the versions that tests/sdk
# names: the official SDKs and Vercel's into .tools/python and .tools/node, the Python frameworks,
# which want SDKs of other versions, into .tools/frameworks, Claude Code and Codex into .tools/agents,
# and published tokenizers into .tools/tokenizers and .tools/vocabularies. Claude Code and Codex are
# large: 340 MB to load and 800 MB on disk; the tokenizers take 480 MB on disk, all the rest 600.
# Does nothing where they already are.
#
# It needs python3 (3.11 or newer, with venv), node and npm on PATH; the system is left alone.
# Silent when all went well.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

wanted="$root/tests/sdk"

hash_of() {
    cat "$@" | sha256sum | cut -d" " -f1
}

# The stamp is written last, so a directory with the right one is whole.
is_installed() {
    local dir="$1" hash="$2"
    [ "$(cat "$dir/stamp" 2>/dev/null)" = "$hash" ]
}

install_python() {
    local dir="$root/.tools/$1" requirements="$wanted/$2" module="$3"
    local hash
    hash="$(hash_of "$requirements")"
    # The interpreter is asked as well: an environment can outlive the Python that it was made with.
    if is_installed "$dir" "$hash" && "$dir/bin/python" -c "import $module" 2>/dev/null; then
        return
    fi
    command -v python3 >/dev/null || fail "no python3 here; install Python 3.11 or newer"
    rm -rf "$dir"
    quietly python3 -m venv "$dir"
    quietly "$dir/bin/python" -m pip install --no-input -r "$requirements"
    echo "$hash" >"$dir/stamp"
}

# The lock files name no download addresses, so that any registry will do. To renew one:
# npm install --package-lock-only --omit-lockfile-registry-resolved
install_node() {
    local dir="$root/.tools/$1" package="$2"
    local hash
    hash="$(hash_of "$package/package.json" "$package/package-lock.json")"
    if is_installed "$dir" "$hash"; then
        return
    fi
    command -v node >/dev/null || fail "no node here; install Node.js 20 or newer"
    command -v npm >/dev/null || fail "no npm here; it comes with Node.js"
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$package/package.json" "$package/package-lock.json" "$dir"
    quietly npm ci --prefix "$dir" --no-audit --no-fund --ignore-scripts
    # Nobody debugs these programs, and some maps have a whole vocabulary in them.
    find "$dir" -name '*.map' -delete
    echo "$hash" >"$dir/stamp"
}

install_python python requirements.txt openai
install_python frameworks requirements-frameworks.txt llm
install_node node "$wanted"
install_node agents "$wanted/agents"
install_python tokenizers tokenizers/requirements.txt mistral_common
install_node vocabularies "$wanted/tokenizers"
