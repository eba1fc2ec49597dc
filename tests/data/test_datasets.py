import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from citris_cli.data.datasets import (
    load_independent,
    load_labelled,
    load_sequences,
    load_triplets,
    read_frames,
)
from citris_cli.data.layout import dataset_name, find_split, safe_name, split_label
from citris_cli.data.variables import parse_vars
from citris_cli.errors import InputError
from tests.data.conftest import save, sequence, triplets
from tests.data.memory import grown_by, needs_proc


def refused(paths: list[Path], given: Any = None) -> str:
    with pytest.raises(InputError) as caught:
        load_sequences(paths, given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4, 8])
def test_a_sequence(tmp_path: Path, compressed: bool, channels: int) -> None:
    arrays = sequence(channels=channels)
    arrays["kinds"] = np.array(["continuous", "continuous"])
    data = load_sequences([save(tmp_path / "pong.npz", compressed, **arrays)])
    assert data.name == "pong"
    assert data.starts.tolist() == [0, 1, 2, 3, 4]
    assert data.starts.dtype == torch.int64
    assert data.targets.dtype == torch.uint8
    np.testing.assert_array_equal(data.targets[:-1], arrays["interventions"])
    assert data.targets[-1].tolist() == [0, 0]
    assert data.variables.names == ("var_0", "var_1")
    assert data.truth is not None
    assert data.factors == data.variables
    np.testing.assert_array_equal(data.truth, arrays["latents"])
    np.testing.assert_array_equal(data.frames.gather(torch.tensor([3])), arrays["images"][3:4])
    assert data.frames.channels == channels
    assert data.notes == ()
    assert data.sha256 == hashlib.sha256((tmp_path / "pong.npz").read_bytes()).hexdigest()


def test_aliases_of_keys_and_names_from_the_file(tmp_path: Path) -> None:
    arrays = sequence(columns=3)
    arrays["interventions"][0, 2] = 1
    for keys in (np.array(["ball_x", "ball_y", "ball_b"]), np.array([b"ball_x", b"ball_y", b"ball_b"])):
        path = save(
            tmp_path / "b.npz",
            imgs=arrays["images"],
            targets=arrays["interventions"].astype(bool),
            latents=arrays["latents"] * 0,
            raw_latents=arrays["latents"],
            keys=keys,
        )
        data = load_sequences([path])
        assert data.variables.names == ("ball_x", "ball_y", "box")
        np.testing.assert_array_equal(data.truth, arrays["latents"])
        assert load_sequences([path], parse_vars("a,b,c")).variables.names == ("a", "b", "c")


def test_a_last_row_for_the_last_frame_is_no_step(tmp_path: Path) -> None:
    arrays = sequence()
    arrays["interventions"] = np.vstack([arrays["interventions"], [[1, 1]]]).astype(np.float64)
    data = load_sequences([save(tmp_path / "a.npz", **arrays)])
    assert data.targets[-1].tolist() == [0, 0]
    arrays["interventions"][:-1] = 0
    assert "no variable is ever intervened on" in refused([save(tmp_path / "b.npz", **arrays)])


def test_columns_never_intervened_on_are_dropped(tmp_path: Path) -> None:
    arrays = sequence(columns=12, size=64)
    arrays["raw_latents"], arrays["shape_latents"] = arrays["latents"][:, :10], np.full((6, 2), 3, np.uint8)
    data = load_sequences([save(tmp_path / "a.npz", **arrays)])
    assert data.variables.names == ("pos_x", "pos_y")
    assert len(data.dropped) == 10
    assert data.dropped.names[-3:] == ("hue_b", "obj_s", "obj_m")
    assert data.targets.shape == (6, 2)
    assert data.factors is not None
    assert data.factors.names[10:] == ("obj_s", "obj_m")
    assert data.truth is not None
    assert data.truth[0, 10:].tolist() == [3, 3]
    del arrays["shape_latents"]
    data = load_sequences([save(tmp_path / "b.npz", **arrays)])
    assert data.factors is not None
    assert data.factors.names[-1] == "hue_b"


def test_no_pair_crosses_shards(tmp_path: Path) -> None:
    for number, frames in ((10, 4), (2, 3), (1, 5)):
        save(tmp_path / "world" / f"train-{number}.npz", **sequence(frames, seed=number))
    save(tmp_path / "world" / "train_triplets.npz", **triplets())
    folder = tmp_path / "world"
    shards = [folder / f"train-{n}.npz" for n in (1, 2, 10)]
    for paths in ([folder], shards, [folder / "train-*.npz"]):
        data = load_sequences(paths)
        assert data.paths == tuple(shards)
        assert data.name == "world"
        assert data.starts.tolist() == [0, 1, 2, 3, 5, 6, 8, 9, 10]
        assert data.targets[[4, 7, 11]].sum() == 0
        assert len(data.frames) == 12
        expected = np.concatenate([np.load(p)["images"] for p in shards])
        np.testing.assert_array_equal(data.frames.slice(0, 12), expected)
        assert data.truth is not None
        assert data.truth.shape == (12, 2)
    assert data.sha256 == hashlib.sha256(b"".join(p.read_bytes() for p in shards)).hexdigest()


def test_kinds_of_a_file_are_those_of_its_columns(tmp_path: Path) -> None:
    arrays = sequence(columns=3) | {"keys": np.array(["x", "ball_b", "rot_s"])}
    arrays["interventions"][0, 2] = 1
    for kinds in (
        np.array(["angle", "categorical", "continuous"]),
        np.array([b"angle", b"categorical", b"continuous"]),
    ):
        path = save(tmp_path / "a.npz", **arrays, kinds=kinds)
        found = [load_sequences([path]).variables, load_independent(path).factors, load_labelled([path]).factors]
        # What is known of the training data counts for less, what the user says for more.
        found.append(load_independent(path, known=parse_vars("x:categorical,box,rot_s:angle")).factors)
        for variables in found:
            assert variables is not None
            assert variables.names == ("x", "box", "rot_s")
            assert [variable.kind for variable in variables] == ["angle", "categorical", "continuous"]
            assert variables[1].categories == 2
        given = parse_vars("x,box:angle,rot_s")
        assert load_sequences([path], given).variables == given
    path = save(tmp_path / "t.npz", **triplets(), kinds=np.array(["angle", "categorical"]))
    assert [variable.kind for variable in load_triplets(path).variables] == ["angle", "categorical"]
    assert load_triplets(path).variables.names == ("var_0", "var_1")


def test_shards_that_differ_in_kinds_alone_say_so(tmp_path: Path) -> None:
    a = save(tmp_path / "a.npz", **sequence(), kinds=np.array(["angle", "continuous"]))
    b = save(tmp_path / "b.npz", **sequence())
    message = refused([a, b])
    assert "has the columns var_0:angle, var_1:continuous and" in message
    assert "has var_0:continuous, var_1:continuous; shards need the same columns" in message


def test_shards_that_disagree_name_both(tmp_path: Path) -> None:
    a = save(tmp_path / "a.npz", **sequence())
    b = save(tmp_path / "b.npz", **sequence(columns=3))
    c = save(tmp_path / "c.npz", **sequence(size=64))
    for other, what in ((b, "same columns"), (c, "one size")):
        message = refused([a, other])
        assert str(a) in message
        assert str(other) in message
        assert what in message
    assert "named twice" in refused([a, a])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"interventions": np.ones((3, 2))},
            "key 'interventions' has 3 rows for 6 frames; it needs 5 (one for each step) or 6",
        ),
        ({"interventions": np.ones((1, 1, 5, 2))}, "has shape [1, 1, 5, 2]; it needs [steps, variables]"),
        ({"interventions": np.ones((2, 5, 2))}, "has shape [2, 5, 2]; it needs [5 or 6, variables]"),
        ({"interventions": np.ones((5, 0))}, "at least one variable"),
        ({"interventions": np.full((5, 2), 2)}, "holds 2 in row 0, column 0; targets are 0 or 1"),
        ({"interventions": np.full((5, 2), 0.5)}, "holds 0.5"),
        ({"interventions": np.full((5, 2), np.nan)}, "holds nan"),
        ({"interventions": np.full((5, 2), -1)}, "holds -1"),
        ({"interventions": np.full((5, 2), "1")}, "0 or 1"),
        ({"interventions": np.zeros((5, 2))}, "no variable is ever intervened on; training needs"),
        ({"interventions": None}, "looked for the keys interventions or targets and found images, latents"),
        ({"images": None}, "looked for the keys images or imgs and found interventions, latents"),
        ({"images": np.zeros((6, 48, 40, 3), np.uint8)}, "40×48"),
        (
            {"images": np.zeros((6, 3, 32, 32, 3), np.uint8)},
            "these are triplets, not a sequence; 'citris eval-triplets'",
        ),
        (
            {
                "images": np.zeros((1, 32, 32, 3), np.uint8),
                "interventions": np.ones((1, 2)),
                "latents": np.zeros((1, 2)),
            },
            "1 frame and no step between two; a sequence needs at least 2",
        ),
        ({"images": np.zeros((0, 32, 32, 3), np.uint8)}, "key 'i"),
        ({"images": np.array(3)}, "key 'images'"),
        ({"images": np.full((6, 32, 32, 3), np.nan)}, "frame 0 holds the value nan"),
        ({"latents": np.zeros((4, 2))}, "key 'latents' has shape [4, 2]; it needs [6] rows"),
        ({"latents": np.full((6, 2), np.inf)}, "NaN or infinite"),
        ({"keys": np.array(["x"])}, "'keys' names 1 variable for 2 columns"),
        ({"keys": np.array(["x", "a,b"])}, "in 'keys' the variable name 'a,b'"),
        ({"keys": np.array(["x", "y"], dtype=object)}, "pickled Python objects"),
        ({"keys": np.array([1, 2])}, "needs a list of names"),
        ({"keys": np.array([b"x", b"\xff"])}, "not text"),
        ({"kinds": np.array(["angle"])}, "'kinds' has 1 kind for 2 columns"),
        (
            {"kinds": np.array(["angle", "round"])},
            "'kinds' gives 'var_1' the kind 'round'; a kind is continuous, angle",
        ),
        ({"kinds": np.array([1, 2])}, "key 'kinds' holds int64 of shape [2]; it needs a list of kinds"),
        ({"kinds": np.array([b"angle", b"\xff"])}, "key 'kinds' holds bytes that are not text"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {key: value for key, value in (sequence() | change).items() if value is not None}
    path = save(tmp_path / "x.npz", **arrays)
    found = refused([path])
    assert message in found
    assert str(path) in found
    # Arrays that never were in a file are judged alike.
    given = refused([arrays])
    assert message in given
    assert given == found.replace(str(path), "the given arrays")


#: Small files of which something claims 32 MB that no dataset of six frames needs; and what is said.
BOMBS: dict[str, tuple[dict[str, Any], str]] = {
    "rows": (
        {"interventions": np.zeros((1 << 21, 2))},
        "has 2,097,152 rows for 6 frames; it needs 5 (one for each step) or 6",
    ),
    "columns": ({"interventions": np.zeros((5, 800_000))}, "has 800,000 columns, and citris takes at most 1,000; save"),
    "long names": (
        {"keys": np.zeros(2, "U4000000")},
        "'keys' has room for 2 names of 4,000,000 characters; save at most",
    ),
    "many names": (
        {"keys": np.zeros(1 << 19, "S64")},
        "'keys' has room for 524,288 names of 64 characters; save at most",
    ),
    "kinds": (
        {"kinds": np.zeros(2, "S16000000")},
        "'kinds' has room for 2 kinds of 16,000,000 characters; save at most",
    ),
    "true values": (
        {"latents": np.zeros((6, 700_000))},
        "'latents' has 700,000 columns, and citris takes at most 1,000",
    ),
    "dones": (
        {"dones": np.zeros(1 << 25, bool)},
        "'dones' has 33,554,432 values instead of at most 6; it needs a list",
    ),
    "lengths": (
        {"lengths": np.ones((1 << 22, 1), int)},
        "'lengths' has 4,194,304 values instead of at most 6; it needs",
    ),
    "episodes": ({"episode_ids": np.zeros(6, "U1300000")}, "the name of an episode has at most 64 characters"),
    "frames": (
        {"images": np.zeros((10_000, 32, 32, 3), np.uint8), "interventions": np.zeros((9_999, 2)), "latents": None},
        " kB that would take 30.7 MB of memory, more than 200 times as much; save it uncompressed with np.savez",
    ),
}


@needs_proc
def test_what_no_dataset_needs_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    for name, (change, message) in BOMBS.items():
        arrays = {key: value for key, value in (sequence() | change).items() if value is not None}
        path = save(tmp_path / f"{name}.npz", True, **arrays)
        assert path.stat().st_size < 250_000
        assert message in refused([path])
    imports = (
        "from citris_cli.data.datasets import load_sequences\nfrom citris_cli.errors import InputError\n"
        "from citris_cli.show.datasets import describe_arrays"
    )
    code = (
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n    for read in (load_sequences, lambda paths: "
        "describe_arrays(*paths).use(paths)):\n        try:\n            read([path])\n        except InputError:\n"
        "            pass"
    )
    assert grown_by(imports, code, tmp_path) < 12 << 20


@needs_proc
def test_of_targets_and_true_values_only_their_bytes_are_kept(tmp_path: Path) -> None:
    rows = 1 << 20
    targets = np.random.default_rng(0).integers(0, 2, (rows, 8)).astype(np.float64)
    save(tmp_path / "x.npz", True, targets=targets, latents=targets)
    imports = "from citris_cli.data.npz import open_npz\nfrom citris_cli.data.shards import _read_binary, _read_finite"
    code = (
        "with open_npz(Path(sys.argv[1])) as source:\n    kept = _read_binary(source, 'targets', ''), "
        "_read_finite(source, 'latents', '')"
    )
    needed = targets.size * (1 + 4)
    assert needed < grown_by(imports, code, tmp_path / "x.npz") < needed + (12 << 20) < targets.nbytes


def test_unmatched_truth_is_left_out_with_a_note(tmp_path: Path) -> None:
    arrays = sequence() | {"latents": np.zeros((6, 5))}
    data = load_sequences([save(tmp_path / "x.npz", **arrays)])
    assert data.truth is None
    assert data.factors is None
    assert "5 columns of true values for 2 variables" in data.notes[0]


def test_vars_of_the_wrong_count(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", **sequence())
    assert "--vars names 3 variables for 2 columns" in refused([path], parse_vars("a,b,c"))


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert "no such file" in refused([tmp_path / "none.npz"])
    assert "matches this pattern" in refused([tmp_path / "train-*.npz"])
    assert "no data was named" in refused([])
    assert "it has no .npz file" in refused([tmp_path])
    save(tmp_path / "a.npz", **sequence())
    assert load_sequences([tmp_path]).paths == (tmp_path / "a.npz",)
    save(tmp_path / "b.npz", **sequence())
    assert "has no train.npz, it has a.npz, b.npz" in refused([tmp_path])


def test_find_split(tmp_path: Path) -> None:
    for stem in ("train_1", "train_0", "val", "val_indep", "val_triplets", "test_indep"):
        save(tmp_path / f"{stem}.npz", **sequence())

    def names(split: str) -> list[str]:
        return [p.stem for p in find_split(tmp_path, split)]

    assert names("train") == ["train_0", "train_1"]
    assert names("val") == ["val"]
    assert names("val_indep") == ["val_indep"]
    assert names("test") == []
    assert names("test_triplets") == []
    assert find_split(tmp_path / "val.npz", "train") == (tmp_path / "val.npz",)
    with pytest.raises(ValueError, match="no such split"):
        find_split(tmp_path, "dev")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("causal3d", "causal3d"), ("my world.v2", "my_world.v2"), ("..", "data"), (".", "data"), ("", "data"),
        (".hidden", "hidden"), ("a/../b", "a_.._b"), ("a\x1b[31m\nb", "a_31m_b"), ("\ud800", "data"), ("名前", "名前"),
        ("nul", "nul_"), ("CON.x", "CON_.x"), ("com1", "com1_"), ("console", "console"), ("a.", "a"), ("a+b", "a_b"),
    ],
)  # fmt: skip
def test_a_safe_name_is_one_that_every_system_takes(text: str, name: str) -> None:
    assert safe_name(text) == name
    assert safe_name(name) == name


def test_safe_names_of_long_texts_differ() -> None:
    for letter in ("x", "é", "名", "𝔸"):
        one, other = safe_name(letter * 300), safe_name(letter * 299 + "y")
        assert one != other
        assert max(len(one), len(other)) <= 64
        assert len(one.encode()) <= 200
        assert one.startswith(letter * 40)
        assert safe_name(letter * 64) == letter * 64 or len(letter.encode()) > 3
    assert safe_name("a b+c", keep="+") == "a_b+c"


def test_dataset_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = tmp_path / "my world"
    world.mkdir()
    for stem, name in [
        ("causal3d", "causal3d"),
        ("train", "my_world"),
        ("train-0003", "my_world"),
        ("val_triplets", "my_world"),
        ("training", "training"),
        ("a b:c", "a_b_c"),
        ("...", "data"),
    ]:
        assert dataset_name([world / f"{stem}.npz"]) == name
    assert dataset_name([world / "s-01.npz", world / "s-02.npz"]) == "s"
    assert dataset_name([world / "s-*.npz"]) == "s"
    assert dataset_name([world]) == "my_world"
    monkeypatch.chdir(world)
    assert dataset_name([Path(".")]) == "my_world"
    assert dataset_name([Path("..")]) == dataset_name([tmp_path])
    assert dataset_name([Path("train.npz")]) == "my_world"
    assert dataset_name([Path(os.sep)]) == "data"
    assert len(dataset_name([Path("x" * 200 + ".npz")])) == 64


def test_the_files_of_a_dataset_are_told_apart_by_their_split(tmp_path: Path) -> None:
    for stem, label in [
        ("test_indep", "test_indep"),
        ("train-0003", "train-0003"),
        ("train-*", "train"),
        ("val a", ""),
        ("causal3d", ""),
    ]:
        assert split_label(tmp_path / f"{stem}.npz") == label
    folder = tmp_path / "train"
    folder.mkdir()
    assert split_label(folder) == ""
    (tmp_path / "test.npz").touch()
    (tmp_path / "link.npz").symlink_to(tmp_path / "test.npz")
    assert split_label(tmp_path / "link.npz") == "test"  # as its dataset's name is that of the file linked to


def test_every_column_is_kept_with_its_name(tmp_path: Path) -> None:
    arrays = sequence(columns=3)
    data = load_sequences([save(tmp_path / "a.npz", **arrays, keys=np.array(["x", "y", "z"]))])
    assert data.variables.names == ("x", "y")
    assert data.columns.names == ("x", "y", "z")
    assert load_independent(tmp_path / "a.npz").columns == data.columns
    assert load_triplets(save(tmp_path / "b.npz", **triplets())).columns.names == ("var_0", "var_1")


def test_independent_frames_are_named_as_the_training_data(tmp_path: Path) -> None:
    arrays = sequence(columns=3)
    path = save(tmp_path / "a.npz", **arrays)
    known = parse_vars("x,theta:angle,lamp:categorical")
    factors = load_independent(path, known=known).factors
    assert factors == known
    assert load_independent(path, given=parse_vars("a,b,c"), known=known).factors == parse_vars("a,b,c")
    save(path, **arrays, keys=np.array(["theta", "x", "other"]))
    factors = load_independent(path, known=known).factors
    assert factors is not None
    assert [(factor.name, factor.kind) for factor in factors] == [
        ("theta", "angle"), ("x", "continuous"), ("other", "continuous"),
    ]  # fmt: skip


def test_independent_frames(tmp_path: Path) -> None:
    arrays = sequence()
    save(tmp_path / "test_indep.npz", **arrays)
    data = load_independent(tmp_path)
    assert data.factors is not None
    assert data.factors.names == ("var_0", "var_1")
    np.testing.assert_array_equal(data.truth, arrays["latents"])
    save(tmp_path / "val_indep.npz", images=arrays["images"][:3])
    data = load_independent(tmp_path)
    assert len(data.frames) == 3
    assert data.truth is None
    assert len(load_independent(tmp_path, "test_indep").frames) == 6
    # Targets are ignored, whatever they hold.
    arrays["interventions"] = np.full((2, 2), 7)
    assert len(load_independent(save(tmp_path / "x.npz", **arrays)).frames) == 6
    del arrays["interventions"]
    assert load_independent(save(tmp_path / "y.npz", **arrays)).truth is not None
    save(tmp_path / "t.npz", **triplets())
    with pytest.raises(InputError, match="these are triplets"):
        load_independent(tmp_path / "t.npz")


def test_triplets(tmp_path: Path) -> None:
    arrays = triplets()
    data = load_triplets(save(tmp_path / "val_triplets.npz", **arrays))
    assert len(data.frames) == 12
    np.testing.assert_array_equal(data.frames.gather(torch.tensor([3 * 2 + 1]))[0], arrays["images"][2, 1])
    np.testing.assert_array_equal(data.mask, arrays["mask"])
    assert data.mask.dtype == torch.int8
    assert data.variables.names == ("var_0", "var_1")
    np.testing.assert_array_equal(data.truth, arrays["latents"])
    assert load_triplets(tmp_path).paths == data.paths
    published = {"imgs": arrays["images"], "interventions": arrays["mask"]}
    assert torch.equal(load_triplets(save(tmp_path / "p.npz", **published)).mask, data.mask)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": None}, "no mask of the triplets, looked for the keys mask or interventions or targets"),
        ({"mask": np.zeros((3, 2))}, "key 'mask' has 3 rows for 4 triplets; it needs 4"),
        ({"mask": np.zeros((1, 2))}, "key 'mask' has 1 row for 4 triplets; it needs 4"),
        ({"mask": np.full((4, 2), 2)}, "0 or 1"),
        ({"images": np.zeros((4, 32, 32, 3), np.uint8)}, "frames, not triplets"),
        ({"images": np.zeros((4, 2, 32, 32, 3), np.uint8), "latents": None}, "pairs, not triplets"),
        ({"latents": np.zeros((4, 2))}, "needs [4, 3] rows"),
    ],
)
def test_bad_triplets(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    arrays = {key: value for key, value in (triplets() | change).items() if value is not None}
    with pytest.raises(InputError) as caught:
        load_triplets(save(tmp_path / "x.npz", **arrays))
    assert message in str(caught.value)


def test_the_tutorials_files(shared: Path) -> None:
    data = load_sequences([shared / "tutorial" / "causal3d.npz"])
    assert (data.name, len(data.frames), len(data.starts), len(data.variables)) == ("causal3d", 100, 99, 9)
    assert data.dropped.names == ("rot_gamma", "obj_s", "obj_m")
    assert data.notes == ("the fourth channel is 255 in every frame: taken for alpha and dropped",)
    assert data.truth is None
    slider = load_sequences([shared / "tutorial" / "data_slider.npz"])
    assert slider.variables.names == ("pos_x", "pos_y", "pos_z", "rot_s", "hue_b")
    assert len(slider.starts) == 29
    assert slider.truth is not None
    assert slider.truth.shape == (30, 12)
    three = load_triplets(shared / "tutorial" / "causal3d_triplets.npz")
    assert (len(three.frames), three.mask.shape) == (300, (100, 12))


def test_the_project_dataset(shared: Path) -> None:
    frames = load_independent(shared / "causal3d", "test_indep")
    assert frames.truth is not None
    assert frames.truth.shape == (500, 12)
    three = load_triplets(shared / "causal3d")
    assert three.truth is not None
    assert three.truth.shape == (250, 3, 12)
    # The third image has what the mask says, column by column, for everything that varies.
    third = torch.where(three.mask.bool(), three.truth[:, 1], three.truth[:, 0])
    torch.testing.assert_close(three.truth[:, 2, :10], third[:, :10])


def test_labelled_frames_need_no_interventions(tmp_path: Path) -> None:
    arrays = sequence(columns=3)
    del arrays["interventions"]
    data = load_labelled([save(tmp_path / "a.npz", **arrays)], parse_vars("x,y:angle,z"))
    assert data.factors is not None
    assert [(factor.name, factor.kind) for factor in data.factors][:2] == [("x", "continuous"), ("y", "angle")]
    assert data.truth is not None
    np.testing.assert_array_equal(data.truth, arrays["latents"])


def test_labelled_shards_are_one(tmp_path: Path) -> None:
    arrays = [sequence(frames, seed=frames) for frames in (4, 3)]
    folder = tmp_path / "world"
    for number, content in enumerate(arrays):
        save(folder / f"train-{number}.npz", **content)
    data = load_labelled([folder])
    assert data.name == "world"
    assert data.sha256 == load_sequences([folder]).sha256
    assert data.truth is not None
    np.testing.assert_array_equal(data.truth, np.concatenate([content["latents"] for content in arrays]))
    np.testing.assert_array_equal(data.frames.slice(4, 7), arrays[1]["images"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"latents": None},
            "b.npz: has no true values to learn from; save one column for each variable as raw_latents",
        ),
        ({"latents": np.zeros((6, 5), np.float32)}, "b.npz: 5 columns of true values for 2 variables"),
        ({"images": triplets()["images"]}, "these are triplets"),
    ],
)
def test_frames_without_labels_are_refused_by_the_name_of_the_file(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    whole = save(tmp_path / "a.npz", **sequence())
    arrays = {key: value for key, value in {**sequence(), **change}.items() if value is not None}
    with pytest.raises(InputError) as caught:
        load_labelled([whole, save(tmp_path / "b.npz", **arrays)])
    assert says in str(caught.value)


def test_labelled_shards_with_other_columns_of_labels_are_refused(tmp_path: Path) -> None:
    arrays = sequence(columns=12, size=64)
    short = {**arrays, "raw_latents": arrays["latents"][:, :10]}
    del short["latents"]
    paths = [save(tmp_path / "a.npz", **arrays), save(tmp_path / "b.npz", **short)]
    with pytest.raises(InputError, match="different numbers of columns of true values"):
        load_labelled(paths)


def test_arrays_that_never_were_in_a_file_give_the_same_data(tmp_path: Path) -> None:
    arrays = sequence() | {"keys": ["x", "lamp"], "kinds": ["angle", "categorical"]}
    path = save(tmp_path / "d.npz", **arrays)
    data, saved = load_sequences([arrays]), load_sequences([path])
    assert (data.name, data.paths, data.label) == ("arrays", (), "the given arrays")
    assert (saved.name, saved.paths, saved.label) == ("d", (path,), str(path))
    assert data.variables == saved.variables == parse_vars("x:angle,lamp:categorical")
    assert torch.equal(data.targets, saved.targets)
    assert torch.equal(data.frames.slice(0, 6), saved.frames.slice(0, 6))
    for one in (load_independent(arrays), load_labelled([arrays])):
        assert (one.name, one.paths, one.label) == ("arrays", (), "the given arrays")
        np.testing.assert_array_equal(one.truth, arrays["latents"])
    assert torch.equal(read_frames(arrays)[0].slice(0, 6), data.frames.slice(0, 6))
    three = triplets()
    assert (load_triplets(three).name, load_triplets(three).paths) == ("arrays", ())
    np.testing.assert_array_equal(load_triplets(three).mask, three["mask"])
    assert len(read_frames(three)[0]) == 12


def test_the_hash_of_given_arrays_follows_their_contents() -> None:
    arrays = sequence()
    first = load_sequences([arrays]).sha256
    assert len(first) == 64
    assert load_independent(dict(reversed(arrays.items()))).sha256 == first
    other = arrays | {"images": arrays["images"].copy()}
    assert load_sequences([other]).sha256 == first
    other["images"][5, 31, 31, 2] ^= 1
    assert load_sequences([other]).sha256 != first


def test_files_and_arrays_are_sequences_of_one_dataset(tmp_path: Path) -> None:
    arrays = [sequence(frames, seed=frames) for frames in (4, 3, 5)]
    path = save(tmp_path / "a.npz", **arrays[1])
    data = load_sequences([arrays[0], path, arrays[2]])
    assert data.starts.tolist() == [0, 1, 2, 4, 5, 7, 8, 9, 10]
    assert (data.paths, data.label) == ((path,), str(path))
    expected = np.concatenate([each["images"] for each in arrays])
    np.testing.assert_array_equal(data.frames.slice(0, 12), expected)
    assert len({data.sha256, load_sequences([path]).sha256, load_sequences([arrays[0], path]).sha256}) == 3
    bad = arrays[2] | {"interventions": np.ones((2, 2))}
    assert refused([arrays[0], bad]).startswith("the given arrays (number 2): key 'interventions' has 2 rows")


def test_shards_on_different_scales_are_refused(tmp_path: Path) -> None:
    arrays = sequence()
    unit, signed = arrays["images"] / np.float32(255), arrays["images"] / np.float32(127.5) - 1
    shards = [save(tmp_path / f"{name}.npz", **arrays | {"images": images}) for name, images in
              (("a", unit), ("b", signed), ("c", arrays["images"]))]  # fmt: skip
    found = refused(shards[:2])
    assert f"{shards[0]} is read as 0…1 and {shards[1]} as −1…1, by the values in each" in found
    # Bytes stand for themselves.
    assert len(load_sequences([shards[0], shards[2]]).frames) == 12
    with pytest.raises(InputError, match="one scale"):
        read_frames(tmp_path / "[ab].npz")


def test_shards_of_different_channels_are_named(tmp_path: Path) -> None:
    a = save(tmp_path / "a.npz", **sequence())
    b = save(tmp_path / "b.npz", **sequence(channels=1))
    assert refused([a, b]) == f"{b}: frames have 1 channel and those of {a} 3 channels; make them the same"
