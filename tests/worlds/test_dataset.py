"""A dataset as it is written: what the files hold, what the loaders read of it, and that a seed decides its bytes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citris_cli.data.datasets import load_independent, load_sequences, load_triplets
from citris_cli.data.layout import SPLITS
from citris_cli.errors import CitrisError, InputError
from citris_cli.worlds import drawing
from citris_cli.worlds.ball_in_boxes import BallInBoxes
from citris_cli.worlds.dataset import split_sizes, write_dataset
from citris_cli.worlds.world import World, combine
from tests.data.memory import grown_by, needs_proc
from tests.waiting import PATIENCE
from tests.worlds.turntable import Deadly, DeadlyOnce, Turntable, Vast

#: First digits of the SHA-256 of what a training sequence of seed 5 with 300 frames has always held. It is NumPy's
#: generator that decides them: a version of it that draws other numbers would change them, and every result that names
#: a seed.
PUBLISHED = {"images": "0fe1eb5ab542682c", "latents": "7569b903206ae269", "targets": "1e28b72916348862"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_frames_states_and_targets_of_a_seed_are_the_published_ones(tmp_path: Path) -> None:
    write_dataset(BallInBoxes(), tmp_path, frames=300, seed=5, splits=["train"])
    with np.load(tmp_path / "train.npz", allow_pickle=False) as file:
        for name, digest in PUBLISHED.items():
            assert hashlib.sha256(file[name].tobytes()).hexdigest().startswith(digest), name


@pytest.mark.parametrize("world", [BallInBoxes(), Turntable()])
def test_every_file_describes_its_columns(tmp_path: Path, world: World) -> None:
    files = write_dataset(world, tmp_path, frames=5, seed=3, independent=7)
    assert files == [tmp_path / f"{split}.npz" for split in (*SPLITS, "independent")]
    for path in files:
        with np.load(path, allow_pickle=False) as file:
            assert tuple(file["keys"]) == world.variables.names
            if world.targets == world.variables.names:
                assert "keys_targets" not in file
            else:
                assert tuple(file["keys_targets"]) == world.targets
            assert file["kinds"].tolist() == [variable.kind for variable in world.variables]
            for name in ("graph_temporal", "graph_instantaneous"):
                np.testing.assert_array_equal(file[name], getattr(world, name))
                assert file[name].dtype == np.uint8
            images, latents, targets = file["images"], file["latents"], file["targets"]
            shape = (world.size, world.size, world.channels)
            np.testing.assert_array_equal(
                world.render(latents.reshape(-1, latents.shape[-1])), images.reshape(-1, *shape)
            )
            steps = len(images) - (path.stem in ("train", "val", "test"))
            assert (targets.shape, targets.dtype) == ((steps, len(world.targets)), np.uint8)
            if "indep" in path.stem:
                assert targets.all()
            told = json.loads(str(file["provenance"]))
            assert (told["world"], told["seed"], told["split"], told["count"]) == (
                world.name,
                3,
                path.stem,
                len(images),
            )
            assert told["settings"] == json.loads(json.dumps(world.settings))
            assert told["versions"]["numpy"] == np.__version__


def test_sizes_are_in_the_published_proportions_and_none_too_small_to_measure_with(tmp_path: Path) -> None:
    assert list(split_sizes(100_000).values()) == [100_000, 10_000, 10_000, 25_000, 25_000, 10_000, 10_000]
    small = split_sizes(20)
    assert list(small.values()) == [20, 100, 100, 500, 500, 100, 100]
    for path in write_dataset(BallInBoxes(), tmp_path, frames=20, seed=0, independent=9):
        with np.load(path, allow_pickle=False) as file:
            assert len(file["images"]) == {**small, "independent": 9}[path.stem]


@pytest.mark.parametrize("world", [BallInBoxes(), Turntable()])
def test_triplets_are_pairs_of_frames_of_the_held_out_sequence_and_their_recombination(
    tmp_path: Path, world: World
) -> None:
    write_dataset(world, tmp_path, frames=5, seed=0)
    masks = []
    for split in ("val", "test"):
        with np.load(tmp_path / f"{split}_triplets.npz", allow_pickle=False) as file:
            latents, mask = file["latents"], file["targets"]
        with np.load(tmp_path / f"{split}.npz", allow_pickle=False) as file:
            sequence = {row.tobytes() for row in file["latents"]}
        assert {row.tobytes() for row in latents[:, :2].reshape(-1, latents.shape[-1])} <= sequence
        np.testing.assert_array_equal(latents[:, 2], combine(world, latents[:, 0], latents[:, 1], mask))
        masks.append(mask)
    mask = np.concatenate(masks)
    assert not mask[:, ~world.intervened_on].any()
    reached = mask[:, world.intervened_on]
    assert {tuple(row) for row in reached.tolist()} == {(0, 1), (1, 0), (1, 1)}
    assert (np.abs(reached.mean(0) - 2 / 3) < 0.12).all()


def test_what_is_written_of_any_world_is_read_with_its_kinds(tmp_path: Path) -> None:
    world = Turntable()
    write_dataset(world, tmp_path, frames=30, seed=0)
    data, independent, triplets = load_sequences([tmp_path]), load_independent(tmp_path), load_triplets(tmp_path)
    for read in (data, independent, triplets):
        # "tint" and "angle" are names that nobody knows: the files alone tell what they are.
        assert read.columns.names == world.targets
        assert [variable.kind for variable in read.columns] == ["angle", "continuous", "categorical"]
        assert read.factors is not None
        assert read.factors.names == world.variables.names
        assert [factor.kind for factor in read.factors] == [variable.kind for variable in world.variables]
        assert not read.notes
    assert data.variables.names == ("angle", "tint")
    assert (len(triplets.mask), len(independent.frames)) == (100, 500)
    # Independent frames are a sequence to whom they are given as one, of which nothing needs to be said.
    assert not load_sequences([tmp_path / "val_indep.npz"]).notes


def test_same_seed_same_bytes_and_neither_length_nor_absence_of_a_split_changes_another(tmp_path: Path) -> None:
    for folder, frames, seed in (("a", 40, 1), ("b", 40, 1), ("c", 60, 1), ("d", 40, 2)):
        write_dataset(BallInBoxes(), tmp_path / folder, frames, seed)
    a, b, c, d = (contents(tmp_path / folder) for folder in "abcd")
    assert a == b
    assert a["train.npz"] != c["train.npz"]
    assert {name: a[name] for name in a if name != "train.npz"} == {name: c[name] for name in c if name != "train.npz"}
    assert all(a[name] != d[name] for name in a)
    for split in SPLITS:
        written = write_dataset(BallInBoxes(), tmp_path / split, 40, 1, splits=[split], independent=3)
        assert [path.name for path in written] == [f"{split}.npz", "independent.npz"]
        assert contents(tmp_path / split)[f"{split}.npz"] == a[f"{split}.npz"]


def test_the_size_of_a_chunk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dataset(BallInBoxes(), tmp_path / "whole", 50, 0)
    monkeypatch.setattr(drawing, "CHUNK", 7)
    sizes: list[int] = []
    world = BallInBoxes()
    render = BallInBoxes.render
    monkeypatch.setattr(BallInBoxes, "render", lambda self, z: (sizes.append(len(z)), render(self, z))[1])
    write_dataset(world, tmp_path / "parts", 50, 0)
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    assert max(sizes) == 7


def test_several_processes_write_the_same_bytes_as_one_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, int]] = []
    write_dataset(Turntable(), tmp_path / "one", 50, 0, independent=700)
    monkeypatch.setattr(drawing, "_WORTH", -1e9)
    monkeypatch.setattr(drawing, "CHUNK", 100)
    write_dataset(
        Turntable(), tmp_path / "two", 50, 0, independent=700, workers=2, on_progress=lambda *done: shown.append(done)
    )
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    total = 50 + 2 * 100 + 2 * 500 + 2 * 300 + 700
    assert shown[-1] == (total, total)
    assert [done for done, _ in shown] == sorted({done for done, _ in shown})
    assert not multiprocessing.active_children()


def test_processes_that_keep_dying_are_told_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "_WORTH", -1e9)
    with pytest.raises(CitrisError, match="processes that draw frames keep dying"):
        write_dataset(Deadly(), tmp_path / "d", 1000, 0, workers=2)
    assert not list(tmp_path.iterdir())


def test_others_draw_what_a_process_that_died_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that dies does so while the other waits for its frames to be taken, which are more than a pipe holds."""
    write_dataset(Turntable(), tmp_path / "whole", 1000, 0, splits=["train"])
    monkeypatch.setattr(drawing, "_WORTH", -1e9)
    monkeypatch.setattr(drawing, "CHUNK", 60)
    died = tmp_path / "died"
    monkeypatch.setenv("TURNTABLE_DIED", str(died))
    write_dataset(DeadlyOnce(), tmp_path / "d", 1000, 0, splits=["train"], workers=2)
    assert died.exists()
    assert contents(tmp_path / "d") == contents(tmp_path / "whole")
    assert not multiprocessing.active_children()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_drawing_ends_whose_processes_were_killed_while_they_sent_frames() -> None:
    """As by a signal to the whole group. They send 100 MB each, which takes longer than it takes to kill them."""
    pool = drawing.Drawing(Vast(), 2, 10**9, lambda *_: None)
    pool._worth_it = True
    next(pool.frames(np.zeros((10 * drawing.CHUNK, 1), np.float32)))
    time.sleep(0.2)
    running = multiprocessing.active_children()
    assert running
    for process in running:
        process.kill()
    ended = threading.Thread(target=pool.__exit__, args=(None, None, None), daemon=True)
    ended.start()
    ended.join(PATIENCE)
    assert not ended.is_alive()


@needs_proc
def test_memory_is_that_of_some_chunks(tmp_path: Path) -> None:
    """Of a sequence ten times as long no more is taken: its frames alone would be 180 MB."""
    imports = (
        "from citris_cli.worlds.ball_in_boxes import BallInBoxes\nfrom citris_cli.worlds.dataset import write_dataset"
    )
    code = "write_dataset(BallInBoxes(), Path(sys.argv[1]), int(sys.argv[2]), 0, splits=['train'])"
    taken = [grown_by(imports, code, tmp_path / str(frames), frames) for frames in (6_000, 60_000)]
    assert taken[1] - taken[0] < 60e6  # bytes: the draws of 65,536 steps, and what is cached of the states


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
    assert len(left) == 11  # six files with their names, and five without
    assert "train.npz" not in left
    with pytest.raises(InputError, match=r"has no train\.npz"):
        load_sequences([tmp_path / "d"])
    write_dataset(BallInBoxes(), tmp_path / "d", 20, 1, overwrite=True)
    write_dataset(BallInBoxes(), tmp_path / "other", 20, 1)
    assert contents(tmp_path / "d") == contents(tmp_path / "other")


@pytest.mark.parametrize(
    ("frames", "says"), [(1, "1 frame has no step"), (10**12, "the dataset takes about .* and .* are free there")]
)
def test_sequences_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path, frames: int, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        write_dataset(BallInBoxes(), tmp_path / "new", frames, 0)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"splits": ["train", "vla"]}, "there is no split 'vla'; the splits are train, val, test"),
        ({"splits": []}, "there is nothing to write"),
    ],
)
def test_splits_that_cannot_be_are_refused(tmp_path: Path, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        write_dataset(BallInBoxes(), tmp_path / "new", 20, 0, **asked)
    assert not (tmp_path / "new").exists()
