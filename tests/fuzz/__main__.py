"""``python -m tests.fuzz``: bad files into every command that reads such files, and every command killed everywhere.

Without options, every kind of file with every mutation once. ``--minutes N`` goes on with other seeds for so long.
``--seed N --case KIND/MUTATION`` repeats one case. ``--kill`` kills commands at their file events instead. The exit
status is 1 if anything fails that is not on the list in ``tests/fuzz/known.py``; what on that list fails no longer is
named.

Damage to files of ours that is believed (read with status 0, and other numbers came of it) is a failure, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

#: A process that forks has one thread.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main() -> int:
    """Run what the command line says; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, help="go on for so long, with other seeds")
    parser.add_argument("--cases", type=int, help="so many bad files (with --kill: kills), and no more")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--case", help="KIND/MUTATION, or one of both; with --kill, COMMAND or COMMAND/EVENT")
    parser.add_argument("--kill", action="store_true", help="kill every command at each of its file events")
    parser.add_argument("--verbose", action="store_true", help="show what every command says")
    given = parser.parse_args()
    os.environ.update(ONE_THREAD)  # before NumPy and PyTorch are imported, which is below

    from tests.fuzz.fuzz import fuzz
    from tests.fuzz.kill import kill
    from tests.fuzz.run import warm_up

    warm_up()
    with tempfile.TemporaryDirectory(prefix="citris-fuzz-") as root:
        return (kill if given.kill else fuzz)(given, Path(root))


if __name__ == "__main__":
    sys.exit(main())
