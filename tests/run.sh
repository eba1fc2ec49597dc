#!/usr/bin/env bash
# All tests, in .venv, which is made if needed. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/venv.sh
citris_venv '[dev]'
python -m pytest "$@"
