"""The operations under ``python -O``, where no ``assert`` is executed: they refuse and compute what they do without."""

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
#: A part of the tests here that takes seconds: what is refused, and of each operation a little.
CHOSEN = (
    "changed_in_place or not_fit or does_not_fit or sees_everything or sample_of_what or running_means or gumbel or "
    "sample_pairs or position or library and not switched_off and not second_openmp or every_row"
)


def test_the_operations_without_assertions() -> None:
    command = [sys.executable, "-O", "-m", "pytest", "-p", "no:cacheprovider", str(HERE), "-k", CHOSEN]
    command += ["--ignore", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=HERE.parents[2], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found is not None, done.stdout
    assert int(found[1]) > 50
