#!/usr/bin/env bash
# Portkey as a peer: portkey.sh PROVIDER_PORT LISTEN_PORT. One process, as it has no workers; it
# checks no key. Installed by install.sh --slow. The directory it makes lies in $TMPDIR; whoever
# started it removes it.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
server="$root/.tools/peers/portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
if ! [ -f "$server" ] || ! command -v node >/dev/null; then
    echo "portkey: not installed (install.sh --slow installs it)" >&2
    exit 3
fi
provider_port="$1" listen_port="$2"
dir="$(mktemp -d "${TMPDIR:-/tmp}/peer-portkey.XXXXXX")"

# Two things that it cannot be told.
cat >"$dir/before.mjs" <<JS
import net from 'node:net';
import { subscribe } from 'node:diagnostics_channel';

// It listens on every interface.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, _host, ...rest) {
  return listen.call(this, port, '127.0.0.1', ...rest);
};

// It is told the provider by a header; the runner's headers cannot know the port.
subscribe('http.server.request.start', ({ request }) => {
  request.rawHeaders.push('x-portkey-custom-host', 'http://127.0.0.1:$provider_port/v1');
});
JS
# Without the first, it refuses to call a private address.
export TRUSTED_CUSTOM_HOSTS=127.0.0.1 NODE_ENV=production
# Headless: without its page of the latest requests.
exec node --import "$dir/before.mjs" "$server" --headless "--port=$listen_port" \
    >"$dir/log" 2>&1
