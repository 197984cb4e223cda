#!/usr/bin/env bash
# Installs the client programs that the tests call the gateway with, in the versions that tests/sdk
# names: the official SDKs, Vercel's and TypeScript's compiler into .tools/python and .tools/node, the Python
# frameworks, which want SDKs of other versions, into .tools/frameworks, Claude Code and Codex into .tools/agents,
# and published tokenizers into .tools/tokenizers and .tools/vocabularies. Claude Code and Codex are
# large: 340 MB to load and 800 MB on disk; the tokenizers take 480 MB on disk, all the rest 600.
# Does nothing where they already are.
#
# It needs python3 (3.11 or newer, with venv), node and npm on PATH; the system is left alone.
# Silent when all went well.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.sh"

wanted="$root/tests/sdk"

install_python python "$wanted/requirements.txt" openai
install_python frameworks "$wanted/requirements-frameworks.txt" llm
install_node node "$wanted"
install_node agents "$wanted/agents"
install_python tokenizers "$wanted/tokenizers/requirements.txt" mistral_common
install_node vocabularies "$wanted/tokenizers"
