#!/usr/bin/env bash
# All tests, in .venv, which is made if needed. Arguments go to pytest.
# The page of animate-latents is tried in a real browser where there is one: apt-get install chromium
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/venv.sh
citris_venv '[dev]'
python -m pytest "$@"
