"""How much memory a few lines of code take, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: For tests of memory: what the system says of a child elsewhere may start at its parent's peak.
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads resident memory from /proc")

#: What the measured code may call.
_READER = """
import sys
from pathlib import Path

def memory(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
"""

_LOOK = """
before, most = memory("VmRSS"), 0

def look():
    global most
    most = max(most, memory("VmRSS") - before)
"""


def grown_by(imports: str, code: str, *arguments: object) -> int:
    """Bytes by which the most resident memory of a process grows while it runs some code.

    Args:
        imports: runs before the measuring begins.
        code: what is measured; arguments are in ``sys.argv``.
        arguments: of the process.
    """
    script = f"{_READER}\n{imports}\nbefore = memory('VmHWM')\n{code}\nprint(memory('VmHWM') - before)"
    return _printed(script, *arguments)


def most_resident(imports: str, code: str, *arguments: object) -> int:
    """Bytes by which resident memory has grown at most at the moments at which some code calls ``look()``.

    Unlike :func:`grown_by` it does not see what comes and goes between two looks.
    """
    return _printed(f"{_READER}\n{imports}\n{_LOOK}\n{code}\nprint(most)", *arguments)


def _printed(script: str, *arguments: object) -> int:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return int(done.stdout)
