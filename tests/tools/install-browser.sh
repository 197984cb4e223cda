#!/usr/bin/env bash
# Makes Chromium's headless shell available to the tests, which show it the pages of examples/; does nothing where it
# already is.
#
# It is unpacked into .tools/chromium-headless-shell, with the libraries and fonts that this machine lacks, and never
# installed: it would bring a desktop's programs along. Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/apt.sh"

program=chromium-headless-shell
dir="$root/.tools/$program"

# Without a sandbox, which root has not: it opens no page.
works() {
    [ -x "$dir/$program" ] && "$dir/$program" --no-sandbox --version >/dev/null 2>&1
}

if command -v "$program" >/dev/null || works; then
    exit 0
fi
without="x11-utils xdg-utils" unpack "$dir" "$program"
cat >"$dir/fonts.conf" <<END
<?xml version="1.0"?>
<fontconfig>
  <dir>/usr/share/fonts</dir>
  <dir prefix="relative">usr/share/fonts</dir>
</fontconfig>
END
cat >"$dir/$program" <<END
#!/bin/sh
here="\$(dirname "\$(realpath "\$0")")"
libraries="$(libraries_in "$dir")"
export FONTCONFIG_FILE="\$here/fonts.conf"
LD_LIBRARY_PATH="\$libraries" exec "\$here/usr/lib/chromium/$program" "\$@"
END
chmod 755 "$dir/$program"
works || fail "$program was unpacked into $dir but does not run"
