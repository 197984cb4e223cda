# Sourced by what installs packages of Python and Node for the tests, into .tools, in pinned versions.
# shellcheck shell=bash
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

hash_of() {
    cat "$@" | sha256sum | cut -d" " -f1
}

# The stamp is written last, so a directory with the right one is whole.
is_installed() {
    local dir="$1" hash="$2"
    [ "$(cat "$dir/stamp" 2>/dev/null)" = "$hash" ]
}

# install_python DIR REQUIREMENTS MODULE: an environment in .tools/DIR, in which the module can be imported.
install_python() {
    local dir="$root/.tools/$1" requirements="$2" module="$3"
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

# install_node DIR FOLDER: what the lock file of the folder names, in .tools/DIR.
#
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
