#!/usr/bin/env bash
# Installs Schemathesis, in the version that tests/conformance names, into .tools/conformance; does nothing where it
# already is.
#
# It needs python3 (3.11 or newer, with venv); the system is left alone. Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

install_python conformance "$root/tests/conformance/requirements.txt" schemathesis
