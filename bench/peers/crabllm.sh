#!/usr/bin/env bash
# crabllm as a peer: crabllm.sh PROVIDER_PORT LISTEN_PORT. Keys, usage, limits of requests and of
# tokens, and a budget in dollars, all in memory. Installed by install.sh. The directory it makes
# lies in $TMPDIR; whoever started it removes it.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
crabllm="$root/.tools/peers/crabllm/bin/crabllm"
[ -x "$crabllm" ] || {
    echo "crabllm: not installed (install.sh installs it)" >&2
    exit 3
}
provider_port="$1" listen_port="$2"
dir="$(mktemp -d "${TMPDIR:-/tmp}/peer-crabllm.XXXXXX")"

cat >"$dir/crabllm.toml" <<CONF
listen = "127.0.0.1:$listen_port"
shutdown_timeout = 1 # the default lets open streams hold it for 30 s after TERM

[providers.provider]
kind = "openai"
base_url = "http://127.0.0.1:$provider_port/v1"
api_key = "provider-key"
models = ["gpt-4o-mini"]
max_retries = 0 # an answer that fails is to be seen
timeout = 600

[[keys]]
name = "bench"
key = "bench-key"
models = ["*"]

# Without prices a budget is never touched.
[models."gpt-4o-mini".pricing]
input_cost_per_million = 0.15
output_cost_per_million = 0.6

# Limits and a budget that are counted for every request and never reached.
[extensions]
usage = {}
rate_limit = { requests_per_minute = 1000000000, tokens_per_minute = 1000000000000 }
budget = { default_budget = 1000000000.0 }
CONF
# Two threads; at its own level of logging it writes a line a request.
export TOKIO_WORKER_THREADS=2 RUST_LOG=error
exec "$crabllm" serve --config "$dir/crabllm.toml" >"$dir/log" 2>&1
