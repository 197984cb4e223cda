# Sourced by what makes Debian's programs available to the tests: installed by root, or unpacked by anyone.
# shellcheck shell=bash
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# What makes a command root's, if packages can be installed here by root or a sudo that asks for no password.
as_root() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" -eq 0 ]; then
        echo env
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        echo sudo -n
    else
        return 1
    fi
}

# unpack DIR PACKAGE...: the packages, and the libraries that the last of them needs and the system lacks. `also` is a
# pattern for the names of further packages that it needs, directly or not. With `without`, it is all packages that apt
# would install for it, save these and what only these need.
unpack() {
    local dir="$1"
    shift
    local program
    for program in apt-get dpkg; do
        command -v "$program" >/dev/null || fail "no $program here; install $* by hand"
    done

    # Package lists of our own: the system's may be missing or old, and only root may renew them.
    local work="$dir.partial"
    rm -rf "$work"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/packages" "$work/root"
    local apt_options=(
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
        -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=true
    )
    quietly apt-get "${apt_options[@]}" update

    local wanted=("$@") library
    while read -r library; do
        if ! dpkg-query -W -f '${Status}' "$library" 2>/dev/null | grep -q 'ok installed'; then
            wanted+=("$library")
        fi
    done < <(apt-cache "${apt_options[@]}" depends "${@: -1}" | sed -n 's/^ *|\{0,1\}Depends: \(lib[a-z0-9.+-]*\)$/\1/p')
    if [ -n "${also:-}" ]; then
        while read -r library; do
            wanted+=("$library")
        done < <(apt-cache "${apt_options[@]}" depends --recurse --important "${@: -1}" | grep -Ex "$also" | sort -u)
    fi
    if [ -n "${without:-}" ]; then
        local status="$work/status"
        cp /var/lib/dpkg/status "$status"
        for library in $without; do
            printf '\nPackage: %s\nStatus: install ok installed\nVersion: 9999\nArchitecture: all\n' "$library" >>"$status"
        done
        while read -r library; do
            wanted+=("$library")
        done < <(apt-get "${apt_options[@]}" -o "Dir::State::status=$status" --simulate --no-install-recommends \
            install "${@: -1}" | awk '/^Inst/ { print $2 }')
    fi
    cd "$work/packages"
    quietly apt-get "${apt_options[@]}" download "${wanted[@]}"

    local package
    for package in "$work"/packages/*.deb; do
        quietly dpkg -x "$package" "$work/root"
    done
    cd "$root"
    rm -rf "$dir"
    mv "$work/root" "$dir"
    rm -rf "$work"
}

# The folders of an unpacked program's own libraries.
libraries_in() {
    find "$1" -type f -name 'lib*.so*' -printf '%h\n' | sort -u | paste -sd: -
}
