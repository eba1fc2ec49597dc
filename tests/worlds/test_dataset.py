"""A dataset as it is written: what the files hold, what the loaders read of it, and that a seed decides its bytes."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from citris_cli.data.datasets import load_independent, load_sequences, load_triplets
from citris_cli.errors import InputError
from citris_cli.worlds import dataset
from citris_cli.worlds.ball_in_boxes import BallInBoxes
from citris_cli.worlds.dataset import SPLITS, write_dataset
from citris_cli.worlds.world import World
from tests.worlds.turntable import Turntable

#: First digits of the SHA-256 of what datasets of seed 5 with 300 frames have always held. It is NumPy's generator that
#: decides them: a version of it that draws other numbers would change them, and every result that names a seed.
PUBLISHED = {
    "train": {"images": "0fe1eb5ab542682c", "latents": "7569b903206ae269", "targets": "1e28b72916348862"},
    "val_indep": {"images": "e66fb61bbbc32121", "latents": "a75c5d0b124e9ac2", "targets": "c42d47300c1def02"},
    "test_triplets": {
        "images": "5f873a539b14d3c0",
        "latents": "f2161db601e54fed",
        "mask": "82ad138f24f2576e",
    },
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_frames_states_and_targets_of_a_seed_are_the_published_ones(tmp_path: Path) -> None:
    write_dataset(BallInBoxes(), tmp_path, frames=300, seed=5)
    for split, arrays in PUBLISHED.items():
        with np.load(tmp_path / f"{split}.npz", allow_pickle=False) as file:
            for name, digest in arrays.items():
                assert hashlib.sha256(file[name].tobytes()).hexdigest().startswith(digest), (split, name)


@pytest.mark.parametrize("world", [BallInBoxes(), Turntable()])
def test_every_file_describes_its_columns(tmp_path: Path, world: World) -> None:
    files = write_dataset(world, tmp_path, frames=5, seed=0)
    assert files == [tmp_path / f"{split}.npz" for split in SPLITS]
    for path in files:
        with np.load(path, allow_pickle=False) as file:
            assert tuple(file["keys"]) == world.keys
            assert file["kinds"].tolist() == [variable.kind for variable in world.variables]
            for name in ("graph_temporal", "graph_instantaneous"):
                np.testing.assert_array_equal(file[name], getattr(world, name))
                assert file[name].dtype == np.uint8
            images = file["images"]
            np.testing.assert_array_equal(world.render(file["latents"]), images)
            assert images.shape[-3:] == (world.size, world.size, 3)


def test_what_is_written_of_any_world_is_read_with_its_kinds(tmp_path: Path) -> None:
    world = Turntable()
    write_dataset(world, tmp_path, frames=30, seed=0)
    kinds = [variable.kind for variable in world.variables]
    data, independent, triplets = load_sequences([tmp_path]), load_independent(tmp_path), load_triplets(tmp_path)
    for read in (data, independent, triplets):
        # "tint" and "angle" are names that nobody knows: the files alone tell what they are.
        assert read.columns.names == world.keys
        assert [variable.kind for variable in read.columns] == kinds
        assert read.factors == read.columns
    assert data.variables.names == ("angle", "tint")
    assert len(triplets.mask) == dataset.TRIPLETS
    assert len(independent.frames) == dataset.INDEPENDENT


def test_same_seed_same_bytes_and_the_length_of_train_changes_no_other_file(tmp_path: Path) -> None:
    for folder, frames, seed in (("a", 40, 1), ("b", 40, 1), ("c", 60, 1), ("d", 40, 2)):
        write_dataset(BallInBoxes(), tmp_path / folder, frames, seed)
    a, b, c, d = (contents(tmp_path / folder) for folder in "abcd")
    assert a == b
    assert a["train.npz"] != c["train.npz"]
    assert {name: a[name] for name in a if name != "train.npz"} == {name: c[name] for name in c if name != "train.npz"}
    assert all(a[name] != d[name] for name in a)


def test_the_size_of_a_chunk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(BallInBoxes(), tmp_path / "whole", 50, 0)
    monkeypatch.setattr(dataset, "CHUNK", 7)
    sizes: list[int] = []
    world = BallInBoxes()
    render = BallInBoxes.render
    monkeypatch.setattr(BallInBoxes, "render", lambda self, z: (sizes.append(len(z)), render(self, z))[1])
    write_dataset(world, tmp_path / "parts", 50, 0)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    assert max(sizes) == 7


def test_a_drawing_that_fails_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: BallInBoxes, latents: np.ndarray) -> np.ndarray:
        raise KeyboardInterrupt

    write_dataset(BallInBoxes(), tmp_path, 50, 0)
    before = contents(tmp_path)
    monkeypatch.setattr(BallInBoxes, "render", fail)
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            write_dataset(BallInBoxes(), folder, 50, 1, overwrite=True)
    assert contents(tmp_path) == before


def test_other_data_are_not_replaced_without_being_told(tmp_path: Path) -> None:
    write_dataset(BallInBoxes(), tmp_path, 50, 0)
    before = contents(tmp_path)
    write_dataset(BallInBoxes(), tmp_path, 50, 0)  # the very same
    assert contents(tmp_path) == before
    (tmp_path / "mine.npz").write_bytes(b"of mine")
    for frames, seed, named in ((50, 1, "train"), (40, 0, "train")):
        with pytest.raises(
            InputError, match=rf"{named}\.npz: holds other data; name another directory with -o, or rep"
        ):
            write_dataset(BallInBoxes(), tmp_path, frames, seed)
    (tmp_path / "test_indep.npz").write_bytes(b"nothing that could be read")
    with pytest.raises(InputError, match=r"test_indep\.npz: holds other data"):
        write_dataset(BallInBoxes(), tmp_path, 50, 0)
    assert contents(tmp_path) == before | {"mine.npz": b"of mine", "test_indep.npz": b"nothing that could be read"}
    write_dataset(BallInBoxes(), tmp_path, 50, 1, overwrite=True)
    write_dataset(BallInBoxes(), tmp_path / "other", 50, 1)
    assert {name: (tmp_path / name).read_bytes() for name in before} == contents(tmp_path / "other")
    assert (tmp_path / "mine.npz").read_bytes() == b"of mine"


def test_killed_between_two_files_it_is_no_dataset(tmp_path: Path) -> None:
    """It has the files of one dataset, or no sequence to learn from."""
    write_dataset(BallInBoxes(), tmp_path / "d", 20, 0)
    script = (
        "import os, signal, sys; from pathlib import Path; from citris_cli.worlds.ball_in_boxes import BallInBoxes\n"
        "from citris_cli.worlds.dataset import write_dataset\n"
        "replace, left = os.replace, [int(sys.argv[1])]\n"
        "def counted(*names):\n    left[0] or os.kill(os.getpid(), signal.SIGKILL)\n    left[0] -= 1; replace(*names)\n"
        "os.replace = counted\n"
        "write_dataset(BallInBoxes(), Path(sys.argv[2]), 20, 1, overwrite=True)"
    )
    died = subprocess.run([sys.executable, "-c", script, "2", tmp_path / "d"], check=False)
    assert died.returncode == -signal.SIGKILL
    left = [path.name for path in (tmp_path / "d").iterdir()]
    assert len(left) == 7  # four files with their names, and three without
    assert "train.npz" not in left
    with pytest.raises(InputError, match=r"has no train\.npz"):
        load_sequences([tmp_path / "d"])
    write_dataset(BallInBoxes(), tmp_path / "d", 20, 1, overwrite=True)
    write_dataset(BallInBoxes(), tmp_path / "other", 20, 1)
    assert contents(tmp_path / "d") == contents(tmp_path / "other")


@pytest.mark.parametrize(
    ("frames", "says"), [(1, "1 frame has no step"), (10**12, "1,000,000,000,000 frames need about .* GiB of memory")]
)
def test_sequences_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path, frames: int, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        write_dataset(BallInBoxes(), tmp_path / "new", frames, 0)
    assert not (tmp_path / "new").exists()
