#!/usr/bin/env bash
# nginx as a peer: nginx.sh PROVIDER_PORT LISTEN_PORT, and in the environment HTTP2_PORT, TLS_PORT, CERTIFICATE and
# CERTIFICATE_KEY for the other protocols. A key map and a rate limit per key before
# a kept-alive upstream: the least that a gateway does, by the fastest way to do it.
# Installed by install.sh. The directory it makes lies in $TMPDIR; whoever started it removes it.
set -euo pipefail

PATH="$PATH:/usr/sbin" # Debian's place for it, not on every user's PATH
command -v nginx >/dev/null || {
    echo "nginx: not installed (install.sh installs it)" >&2
    exit 3
}
provider_port="$1" listen_port="$2"
dir="$(mktemp -d "${TMPDIR:-/tmp}/peer-nginx.XXXXXX")"
others=""
if [ -n "${TLS_PORT:-}" ]; then
    # It reads the key as root and hands it to its workers.
    others="listen 127.0.0.1:$HTTP2_PORT http2 reuseport backlog=4096;
        listen 127.0.0.1:$TLS_PORT ssl http2 reuseport backlog=4096;
        ssl_certificate $CERTIFICATE;
        ssl_certificate_key $CERTIFICATE_KEY;
        ssl_protocols TLSv1.2 TLSv1.3;"
fi
chmod 711 "$dir" # started by root, its workers are another user and must reach their temp files

cat >"$dir/nginx.conf" <<CONF
daemon off; # TERM to the master ends the workers too
worker_processes 2;
pid $dir/pid;
error_log $dir/error.log error;
events { worker_connections 24000; }
http {
    access_log off;
    client_body_temp_path $dir/body;
    proxy_temp_path $dir/proxy;
    fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi;
    scgi_temp_path $dir/scgi;

    # The default closes a connection after 1000 requests; a benchmark would count the reconnects.
    keepalive_requests 1000000000;
    keepalive_timeout 600s;

    client_max_body_size 64m;
    client_body_buffer_size 1m; # the default of 16k sends a long prompt through a file

    map \$http_authorization \$account {
        default "";
        "Bearer bench-key" bench;
    }
    # A rate that is counted for every request and never reached.
    limit_req_zone \$account zone=accounts:1m rate=1000000r/s;
    limit_req_status 429;

    upstream provider {
        server 127.0.0.1:$provider_port max_fails=0; # one server: never take it out of use
        keepalive 256; # idle connections kept per worker
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }
    server {
        # One accept queue per worker, so that both get their share of a few connections.
        listen 127.0.0.1:$listen_port reuseport backlog=4096;
        $others
        location = /v1/chat/completions {
            if (\$account = "") { return 401; }
            limit_req zone=accounts burst=1000000 nodelay;
            proxy_pass http://provider;
            proxy_http_version 1.1; # 1.0 and "Connection: close" are the defaults:
            proxy_set_header Connection ""; # without these two lines no keep-alive
            proxy_set_header Authorization "Bearer provider-key"; # a gateway keeps the caller's key
            proxy_buffering off; # each chunk of a stream goes out at once
            proxy_read_timeout 600s;
        }
    }
}
CONF
# -e: the default error log is opened before the configuration is read, and may not be writable.
exec nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
