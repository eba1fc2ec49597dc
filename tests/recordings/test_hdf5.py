from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.recordings.opening import open_recordings
from citris_cli.recordings.targets import Reading
from tests.recordings.conftest import Maker, numbered

h5py = pytest.importorskip("h5py")


def episodes(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for name, count in (("take_2", 4), ("take_10", 3), ("take_1", 1)):
            group = file.create_group(f"data/{name}")
            group.create_dataset("obs/rgb", data=numbered(count), chunks=(1, 32, 32, 3), compression="gzip")
            group["acts"] = np.arange(2 * (count - 1)).reshape(count - 1, 2) % 3 == 0
            group["level"] = np.arange(count, dtype=">f4")
        file["about/text"] = "made for a test"
        file.attrs["variables"] = "lamp,door"
    return path


def test_groups_are_episodes_in_natural_order(tmp_path: Path, make: Maker) -> None:
    path = episodes(tmp_path / "e.h5")
    made = make(path, reading=Reading(("acts",), truth=("level",)), frames_key="obs/rgb")["train"]
    assert made["images"][:, 0, 0, 0].tolist() == [0, 0, 1, 2, 3, 0, 1, 2]
    assert made["lengths"].tolist() == [1, 4, 3]
    assert made["interventions"].tolist() == [[0, 0], [1, 0], [0, 1], [0, 0], [0, 0], [1, 0], [0, 1]]
    assert made["keys_targets"].tolist() == ["lamp", "door"]
    assert made["latents"].ravel().tolist() == [0, 0, 1, 2, 3, 0, 1, 2]
    assert make.said("1 episode of a single frame")


def test_a_group_or_a_dataset_alone(tmp_path: Path, make: Maker) -> None:
    path = episodes(tmp_path / "e.h5")
    for inner, key in (("/data/take_2", "obs/rgb"), ("/data/take_2", "rgb"), ("/data/take_2/obs", None)):
        if inner.endswith("obs"):
            assert open_recordings([Path(f"{path}:{inner}")], key)[0].frames == 4
            continue
        recordings = open_recordings([Path(f"{path}:{inner}")], key)
        assert [one.frames for one in recordings] == [4]


@pytest.mark.parametrize(
    ("inner", "key", "sentence"),
    [
        ("/nothing", None, "no such group or dataset; the file has /about, /data"),
        ("", "depth", "no group has a dataset 'depth'"),
        ("/data/take_2/obs/rgb", "rgb", "this is a dataset already"),
        ("/about", None, "none of its arrays holds frames"),
    ],
)
def test_what_is_not_there(tmp_path: Path, inner: str, key: str | None, sentence: str) -> None:
    path = episodes(tmp_path / "e.h5")
    with pytest.raises(InputError, match=sentence):
        open_recordings([Path(f"{path}:{inner}" if inner else path)], key)


def test_other_files_are_not_read_through_links(tmp_path: Path) -> None:
    secret, path = episodes(tmp_path / "other.h5"), tmp_path / "e.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = h5py.ExternalLink(str(secret), "/data/take_2/obs/rgb")
        layout = h5py.VirtualLayout((4, 32, 32, 3), "u1")
        layout[:] = h5py.VirtualSource(str(secret), "/data/take_2/obs/rgb", (4, 32, 32, 3))
        file.create_virtual_dataset("virtual", layout)
    with pytest.raises(InputError, match="lies in other files"):
        open_recordings([path], "virtual")
    with pytest.raises(InputError, match="no group has a dataset 'frames'") as caught:
        open_recordings([path], "frames")
    h5py.File(path, "r+").close()  # refused while the file is open elsewhere in this process
    assert caught.traceback  # which would hold it


def test_chunks_that_would_take_all_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_dataset("obs", (4096, 640, 640, 3), "u1", chunks=(4096, 640, 640, 1), compression="gzip")
    with pytest.raises(InputError, match="chunks of"):
        open_recordings([tmp_path / "e.h5"], "obs")


def test_damage_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = episodes(tmp_path / "e.h5")
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="this HDF5 file cannot be read"):
        open_recordings([tmp_path / "cut.h5"])
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(InputError, match=r"pip install 'citris-cli\[hdf5\]'"):
        open_recordings([path])


def test_the_root_and_what_lies_in_other_files(tmp_path: Path) -> None:
    path = tmp_path / "e.h5"
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["obs"] = numbered(3)
    with h5py.File(path, "w") as file:
        file["run/obs"] = numbered(4)
        file["obs"] = h5py.ExternalLink("other.h5", "/obs")
    assert open_recordings([Path(f"{path}:/")])[0].frames == 4
    with pytest.raises(InputError, match=r"lies in another file, .*other\.h5, which is not read"):
        open_recordings([Path(f"{path}:/obs")])
    with pytest.raises(InputError, match=r"gone\.h5:/obs: there is no such file"):
        open_recordings([tmp_path / "gone.h5:/obs"])
