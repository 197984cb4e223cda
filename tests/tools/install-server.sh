#!/usr/bin/env bash
# install-server.sh PROGRAM: makes `nginx`, `caddy` or `systemd-analyze` available to the tests; does nothing where it
# already is.
#
# It is unpacked into .tools/PROGRAM, where the tests look after PATH, and never installed: the package would start a
# server on this machine. Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

program="$1"
dir="$root/.tools/$program"

case "$program" in
nginx) package=nginx path=usr/sbin/nginx version=-v ;;
caddy) package=caddy path=usr/bin/caddy version=version ;;
systemd-analyze) package=systemd path=usr/bin/systemd-analyze version=--version ;;
*) fail "install-server.sh knows no $program" ;;
esac

works() {
    [ -x "$dir/$program" ] && "$dir/$program" "$version" >/dev/null 2>&1
}

unpack_locally() {
    unpack "$dir" "$package"
    cat >"$dir/$program" <<END
#!/bin/sh
here="\$(dirname "\$(realpath "\$0")")"
LD_LIBRARY_PATH="$(libraries_in "$dir")" exec "\$here/$path" "\$@"
END
    chmod 755 "$dir/$program"
    works || fail "$program was unpacked into $dir but does not run"
}

# Debian keeps nginx out of a user's PATH.
if command -v "$program" >/dev/null || [ -x "/usr/sbin/$program" ] || works; then
    exit 0
fi
unpack_locally
