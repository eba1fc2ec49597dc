"""What is said of files and folders; what each kind of file is taken for is tested with the command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.show.datasets import describe_arrays, describe_directory
from citris_cli.show.description import description_lines
from citris_cli.wording import size_in_words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (12_340, "12.3 kB"),
        (1_500_000, "1.5 MB"),
        (2 * 10**9, "2.0 GB"),
    ],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert size_in_words(size) == words


def test_latents_are_counted_by_variable(tmp_path: Path) -> None:
    arrays = {"z": np.zeros((5, 3)), "assignment": np.array([0, 2, 0]), "variables": np.array(["a", "b"])}
    np.savez(tmp_path / "z.npz", **arrays)
    found = describe_arrays(tmp_path / "z.npz").facts
    assert (found["kind"], found["frames"], found["latents"]) == ("causal latents", 5, 3)
    assert found["latents_per_variable"] == {"a": 2, "b": 0, "psi(0)": 1}
    found = describe_directory(tmp_path).facts
    assert (found["kind"], [one["file"] for one in found["entries"]]) == ("artifacts", [str(tmp_path / "z.npz")])


def test_a_terminal_acts_on_nothing_that_a_file_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"x\x1b[2J\n": np.zeros(3)})
    facts = describe_arrays(tmp_path / "a.npz").facts
    assert r"  x\x1b[2J\n  float64 [3]" in [line.replace(" (memory-mapped)", "") for line in description_lines(facts)]


def test_a_folder_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds neither \.npz files nor models nor pictures"):
        describe_directory(tmp_path)
    (tmp_path / "boxes").mkdir()
    with pytest.raises(InputError, match=r"name one of its folders \(boxes\)"):
        describe_directory(tmp_path)
