#!/usr/bin/env bash
# LiteLLM as a peer: litellm.sh PROVIDER_PORT LISTEN_PORT. One worker, because several crash-loop on
# a busy machine; the master key, because keys of its own need a database. Its first answer takes
# many seconds (6 to 18 were measured), and while it starts it asks the provider GET /v1/models.
# Installed by install.sh --slow. The directory it makes lies in $TMPDIR; whoever started it removes
# it.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
venv="$root/.tools/peers/litellm"
[ -x "$venv/bin/litellm" ] || {
    echo "litellm: not installed (install.sh --slow installs it)" >&2
    exit 3
}
provider_port="$1" listen_port="$2"
dir="$(mktemp -d "${TMPDIR:-/tmp}/peer-litellm.XXXXXX")"

cat >"$dir/config.yaml" <<CONF
model_list:
- model_name: gpt-4o-mini
  litellm_params:
    model: openai/gpt-4o-mini
    api_base: http://127.0.0.1:$provider_port/v1
    api_key: provider-key
general_settings:
  master_key: bench-key
litellm_settings:
  telemetry: false
  num_retries: 0 # an answer that fails is to be seen
CONF
# Prices from the package instead of from the network, no lines a request, no .env file read.
export LITELLM_LOCAL_MODEL_COST_MAP=True LITELLM_LOG=ERROR LITELLM_MODE=PRODUCTION
cd "$dir"
exec "$venv/bin/litellm" --config "$dir/config.yaml" --host 127.0.0.1 --port "$listen_port" \
    --num_workers 1 --telemetry False >"$dir/log" 2>&1
