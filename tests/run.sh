#!/usr/bin/env bash
# All tests, in .venv, which is made if needed; as many at a time as there are cores, each with one thread.
# Arguments go to pytest: -n 0 runs all in one process, as --pdb does too, and shows what tests print (-s).
# The page of animate-latents is tried in a real browser where there is one: apt-get install chromium
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/venv.sh
citris_venv '[dev]'
# One thread each; tests of two and three threads do not keep the other workers from the cores while these wait.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
python -m pytest -n auto --dist worksteal "$@"
