#!/usr/bin/env bash
# Installs the readers of bodies that the gateway's own reading is compared with: packages of Python and Node in
# the versions that tests/readers names, and a program of Go's own library, built from tests/readers/readers.go.
# Does nothing where they already are.
#
# Go is Debian's (1.19 or newer). Where packages can be installed, it is; elsewhere it is unpacked into .tools/go.
# Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

wanted="$root/tests/readers"
unpacked="$root/.tools/go"

# The Go at hand, if there is one: on PATH, or else unpacked.
go_program() {
    command -v go || find "$unpacked/usr/lib" -path '*/go-*/bin/go' -type f 2>/dev/null | sort | tail -n 1
}

install_go() {
    local words
    [ -z "$(go_program)" ] || return 0
    if words="$(as_root)"; then
        # shellcheck disable=SC2086 # they are words
        quietly $words apt-get update
        # shellcheck disable=SC2086 # they are words
        quietly $words env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends golang-go
    else
        also='golang-[0-9.]+-(go|src)' unpack "$unpacked" golang-go
    fi
    [ -n "$(go_program)" ] || fail "no Go here; install it (apt-get install golang-go)"
}

build_go() {
    local dir="$root/.tools/readers-go" go hash
    hash="$(hash_of "$wanted/readers.go")"
    if is_installed "$dir" "$hash" && [ -x "$dir/readers" ]; then
        return
    fi
    install_go
    go="$(go_program)"
    rm -rf "$dir"
    mkdir -p "$dir"
    # One that was unpacked does not know where it is.
    case "$go" in "$unpacked"/*) export GOROOT="$(dirname "$(dirname "$go")")" ;; esac
    # Nothing but the standard library, so that nothing is loaded and no C is compiled.
    quietly env GOTOOLCHAIN=local GO111MODULE=off GOFLAGS= CGO_ENABLED=0 GOCACHE="$dir/cache" \
        "$go" build -o "$dir/readers" "$wanted/readers.go"
    rm -rf "$dir/cache"
    # The tests compare it with the source that they belong to.
    cp "$wanted/readers.go" "$dir/readers.go"
    echo "$hash" >"$dir/stamp"
}

install_python readers "$wanted/requirements.txt" starlette
install_python readers-older "$wanted/requirements-older.txt" starlette
install_node readers-node "$wanted"
build_go
