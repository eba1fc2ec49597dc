"""Wheels say what is in them: with the compiled functions for a platform and every Python 3, without them for any."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from citris_cli.core.ops import sources

ROOT = Path(__file__).parents[1]
LIBRARY = f"citris_cli/core/ops/{sources.LIBRARY}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a wheel is made of, with weights that are none and functions that take no time to compile."""
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "citris_cli", tmp_path / "citris_cli", ignore=ignored)
    for path in (ROOT / "citris_cli").rglob("*.safetensors"):
        (tmp_path / path.relative_to(ROOT)).write_bytes(b"")
    (tmp_path / "citris_cli/core/ops/c/kernels.c").write_text("int level(void) { return 0; }\n")
    return tmp_path


def wheel(checkout: Path, **variables: str) -> tuple[str, dict[str, bytes]]:
    """Build one; the end of its name, and what is in it."""
    environment = {name: value for name, value in os.environ.items() if name != "CITRIS_KERNELS"} | variables
    command = [sys.executable, "setup.py", "-q", "bdist_wheel", "-d", "made"]
    subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
    (path,) = (checkout / "made").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return path.name.split("-", 2)[2], {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("variables", [{"CITRIS_KERNELS": "0"}, {"CC": "false"}], ids=["asked for", "no compiler"])
def test_a_wheel_without_the_compiled_functions_is_for_any_platform(checkout: Path, variables: dict[str, str]) -> None:
    name, files = wheel(checkout, **variables)
    assert name == "py3-none-any.whl"
    assert not [one for one in files if one.endswith((".so", ".pyd", ".dll"))]
    assert "citris_cli/py.typed" in files
    # All that is no program, too.
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "citris_cli").rglob("*") if path.is_file()}
    assert {
        one for one in own if "__pycache__" not in one and one != LIBRARY and ".cpython-" not in one
    } <= files.keys()


@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("gcc") is None, reason="needs Linux and gcc")
def test_a_wheel_with_them_is_for_every_python_and_brings_no_openmp(checkout: Path) -> None:
    name, files = wheel(checkout, CC="gcc")
    assert name.startswith("py3-none-linux_")
    assert files[LIBRARY][:4] == b"\x7fELF"
    assert b"libgomp" not in files[LIBRARY]
    assert [one for one in files if one.endswith(".so")] == [LIBRARY]
