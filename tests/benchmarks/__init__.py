"""Measurements as ratios from one run; see :mod:`tests.benchmarks.__main__`."""

import os

# As the command line does, and before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
