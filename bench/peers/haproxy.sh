#!/usr/bin/env bash
# HAProxy as a peer: haproxy.sh PROVIDER_PORT LISTEN_PORT. An ACL on the key and a stick table that
# counts the rate per key. Installed by install.sh. The directory it makes lies in $TMPDIR; whoever
# started it removes it.
set -euo pipefail

PATH="$PATH:/usr/sbin" # Debian's place for it, not on every user's PATH
command -v haproxy >/dev/null || {
    echo "haproxy: not installed (install.sh installs it)" >&2
    exit 3
}
provider_port="$1" listen_port="$2"
dir="$(mktemp -d "${TMPDIR:-/tmp}/peer-haproxy.XXXXXX")"

# No log line at all: HAProxy logs nothing unless told to.
cat >"$dir/haproxy.cfg" <<CONF
global
    nbthread 2
    maxconn 9900

defaults
    mode http
    # Without this the first chunk of a stream waits for the next one (152 ms was measured).
    option http-no-delay
    # The default ("safe") opens a connection of its own for the first request of every client.
    http-reuse always
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s

frontend gateway
    bind 127.0.0.1:$listen_port
    acl known_key req.hdr(authorization) -m str "Bearer bench-key"
    http-request deny deny_status 401 unless known_key
    # A rate that is counted for every request and never reached.
    stick-table type string len 64 size 100k expire 10m store http_req_rate(10s)
    http-request track-sc0 req.hdr(authorization)
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
    # A gateway keeps the caller's key and sends one of its own.
    http-request set-header authorization "Bearer provider-key"
    default_backend provider

backend provider
    server provider 127.0.0.1:$provider_port
CONF
# -db: in the foreground, one process.
exec haproxy -q -db -f "$dir/haproxy.cfg"
