#!/usr/bin/env bash
# The shell in which the commands of one page run. It reads names of files from its input, sources each, and
# writes FILE.out (what the terminal would show), FILE.failed (exit status, line and text of each command that
# failed) and, last, FILE.status.
#
# It has a network of its own, so a page's addresses (localhost:3000) are free whatever else runs here. PAGES_REDIS=1
# starts a Redis on its usual port first. All of it ends with the shell, which is the first process of its namespace.
#
# The names begin with `pages_`, because the page's commands share them.
set -u
pages_bin="$(dirname "${BASH_SOURCE[0]}")/bin"

"$(dirname "${BASH_SOURCE[0]}")/../tools/loopback.py" || exit 1

if [ "${PAGES_REDIS:-}" = 1 ]; then
    redis-server --save "" --appendonly no --dir "$PAGES_STATE" >"$PAGES_STATE/redis.log" 2>&1 &
    for _ in $(seq 100); do
        [ "$(redis-cli ping 2>&1)" = PONG ] && break
        sleep 0.1
    done
    [ "$(redis-cli ping 2>&1)" = PONG ] || exit 1
fi
set +u

# The commands are a reader's: they see neither this script's options nor where it stands.
export PATH="$pages_bin:$PATH"
pages_file=
set -E
trap 'pages_failed "$?" "$LINENO" "$BASH_COMMAND"' ERR

# A command that failed: its exit status, line and text. The one that sources the page's file is not the page's.
pages_failed() {
    case "$3" in
    ". \"\$pages_file\""*) ;;
    *) printf '%s %s %s\n' "$@" >>"$pages_file.failed" ;;
    esac
}

echo ready
while read -r pages_file; do
    # shellcheck disable=SC1090 # the page's own commands
    . "$pages_file" </dev/null >"$pages_file.out" 2>&1
    echo "$?" >"$pages_file.partial"
    mv "$pages_file.partial" "$pages_file.status"
done
