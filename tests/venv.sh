# Sourced by examples/quickstart.sh and tests/run.sh: makes .venv at the repository's root if it is missing or was made
# for other requirements, installs citris there, and puts it first on PATH. Argument: the extras to install.
citris_venv() {
    local root requirements stamp python
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "citris needs Python 3.10 or newer; $python is $("$python" --version 2>&1)" >&2
        return 2
    }
    requirements="$1 $(cat "$root/pyproject.toml" "$root/tests/constraints.txt" "$root"/setup.py "$root"/citris_cli/core/ops/sources.py "$root"/citris_cli/core/ops/c/*.[ch] | cksum)"
    stamp="$root/.venv/citris-requirements"
    if ! grep -qxF "$requirements" "$stamp" 2>/dev/null; then
        echo "making $root/.venv (once; a minute or two)" >&2
        [ -x "$root/.venv/bin/python" ] || "$python" -m venv "$root/.venv" || return
        "$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            --constraint "$root/tests/constraints.txt" --editable "$root$1" >&2 || return
        # Both scripts may have asked for their own extras: each keeps its line.
        echo "$requirements" >>"$stamp"
    fi
    export PATH="$root/.venv/bin:$PATH"
}
