# Sourced by what starts and stops the gateways of a page. Each is known by its port, or as the first.
# shellcheck shell=bash

# stop_gateway FILE: ends the process whose ID the file has, as Ctrl-C would, and waits for that.
stop_gateway() {
    local pid
    pid="$(cat "$1")"
    rm -f "$1"
    kill -INT "$pid" 2>/dev/null || return 0
    for _ in $(seq 400); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    echo "the gateway does not stop" >&2
    return 1
}
