"""What is in a dataset that was packed: which frames, which targets belong to which step, what is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citris_cli.data.datasets import load_sequences
from citris_cli.errors import InputError
from citris_cli.recordings.targets import Reading
from tests.recordings.conftest import Maker, numbered, pictures, table


def values(images: np.ndarray) -> list[int]:
    """The number that each frame shows."""
    return images[:, 0, 0, 0].tolist()


def array(path: Path, count: int, **others: np.ndarray) -> Path:
    np.savez(path, obs=numbered(count), **others)
    return path


def rows(path: Path, cells: list[int], name: str = "x") -> Path:
    return table(path, name + ",other", [f"{cell},7" for cell in cells])


def test_rows_of_steps_and_of_frames(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 5)
    of_steps = Reading((str(rows(tmp_path / "s.csv", [1, 0, 0, 1])),))
    assert make(source, reading=of_steps)["train"]["interventions"].ravel().tolist() == [1, 0, 0, 1]
    of_frames = str(rows(tmp_path / "f.csv", [0, 1, 0, 0, 1]))
    made = make(source, reading=Reading((of_frames,), lead="in"))["train"]
    assert made["interventions"].ravel().tolist() == [1, 0, 0, 1]
    assert values(made["images"]) == [0, 1, 2, 3, 4]
    made = make(source, reading=Reading((of_frames,)))["train"]
    assert made["interventions"].ravel().tolist() == [0, 1, 0, 0]
    assert make.said("--lead in reads them so")
    with pytest.raises(InputError, match="leaves nothing to choose"):
        make(source, reading=Reading(of_steps.targets, lead="in"))


def test_what_is_made_is_read_as_it_was_meant(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 5)
    path = table(tmp_path / "t.csv", "x,theta,angle", ["0,1,0.5", "1,0,1.5", "0,0,2.5", "0,1,3.5", "1,1,4.5"])
    make(
        source,
        reading=Reading((str(path),), ("x", "theta"), lead="out", truth=("angle",)),
        kinds="angle:angle,theta:angle",
        output=tmp_path / "one.npz",
    )
    data = load_sequences([tmp_path / "one.npz"])
    assert data.variables.names == ("x", "theta")
    assert data.targets[data.starts].tolist() == [[0, 1], [1, 0], [0, 0], [0, 1]]
    assert data.factors is not None
    assert [(one.name, one.kind) for one in data.factors] == [("angle", "angle")]
    assert data.truth is not None
    assert data.truth.ravel().tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert data.unused == ()


def test_true_values_of_another_unit_are_refused_before_an_hour_is_spent(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 3)
    path = str(table(tmp_path / "t.csv", "x,angle,door", ["0,0,0", "1,90,1", "0,270,0.5"]))
    reading = Reading((path,), ("x",), lead="in", truth=("angle", "door"))
    with pytest.raises(InputError, match="angle is an angle and holds 270; save radians, or leave its kind out"):
        make(source, reading=reading, kinds="angle:angle")
    with pytest.raises(InputError, match="door is categorical and holds 0 … 1"):
        make(source, reading=reading, kinds="door:categorical")
    make(source, reading=reading, kinds="x:categorical")
    assert make.said("the kind of x is not kept")


def test_every_joins_the_targets_of_steps_between(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 8)
    reading = Reading((str(rows(tmp_path / "t.csv", [1, 0, 0, 0, 1, 1, 1])),))
    made = make(source, reading=reading, every=3)["train"]
    assert values(made["images"]) == [0, 3, 6]
    assert made["interventions"].ravel().tolist() == [1, 1]
    assert make.said("1 step with several interventions on one variable")
    made = make(source, reading=reading, start="1", stop="6")["train"]
    assert values(made["images"]) == [1, 2, 3, 4, 5]
    assert made["interventions"].ravel().tolist() == [0, 0, 0, 1]
    made = make(source, reading=reading, start="1", stop="6", every=2)["train"]
    assert made["interventions"].ravel().tolist() == [0, 1]


def test_rows_by_number_in_any_order(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 4)
    shuffled = ["2,1", "0,0", "3,0", "1,1"]
    reading = Reading((str(table(tmp_path / "t.csv", "frame,x", shuffled)),), lead="in")
    assert make(source, reading=reading)["train"]["interventions"].ravel().tolist() == [1, 1, 0]
    assert make.said("matched with frames by 'frame'")
    from_one = [f"{int(row[0]) + 1},{row[2]}" for row in shuffled]
    reading = Reading((str(table(tmp_path / "t.csv", "no,x", from_one)),), row_of="frame=no", lead="in")
    assert make(source, reading=reading)["train"]["interventions"].ravel().tolist() == [1, 1, 0]
    assert make.said("counts frames from 1")


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["0,1", "1,0", "3,0"], "1 frame of .* has no row, the first of them frame 2"),
        (["0,1", "1,0", "1,0", "3,0"], "row 4: 'frame' is 1, as in row 3"),
        (["0,1", "1,0", "2,0", "4,0"], "row 5: 'frame' is 4, and .* has 4 frames, 0 to 3"),
        (["0,1", "1,0", "2,no", "3,0"], "row 4: the column 'x' holds 'no'"),
    ],
)
def test_rows_that_belong_to_no_frame_are_refused(tmp_path: Path, make: Maker, lines: list[str], sentence: str) -> None:
    source = array(tmp_path / "d.npz", 4)
    reading = Reading((str(table(tmp_path / "t.csv", "frame,x", lines)),), lead="in")
    with pytest.raises(InputError, match=sentence):
        make(source, reading=reading)
    assert not (tmp_path / "made").exists()


def test_too_few_rows_in_order_are_refused(tmp_path: Path, make: Maker) -> None:
    reading = Reading((str(rows(tmp_path / "t.csv", [1, 0])),))
    with pytest.raises(InputError, match=r"2 rows, and .* has 5 frames, which need 4 \(one for each step\) .*; add"):
        make(array(tmp_path / "d.npz", 5), reading=reading)


def test_too_many_rows_in_order_are_refused(tmp_path: Path, make: Maker) -> None:
    reading = Reading((str(rows(tmp_path / "t.csv", [1, 0, 0, 1, 1])),))
    with pytest.raises(InputError, match=r"5 rows, and .* has 3 frames, .*; remove the rows that belong to no frame"):
        make(array(tmp_path / "d.npz", 3), reading=reading)


def test_events(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 5)
    path = str(table(tmp_path / "t.csv", "frame,what", ["3,lamp", "1,x", "3,x", "1,x"]))
    made = make(source, reading=Reading((path,), one_of="what", lead="out", events=True))["train"]
    assert made["keys"].tolist() == ["lamp", "x"]
    assert made["interventions"].tolist() == [[0, 0], [0, 1], [0, 0], [1, 1]]
    assert make.said("1 step with several interventions on one variable")
    with pytest.raises(InputError, match="say with --events"):
        make(source, reading=Reading((path,), one_of="what", lead="out"))


def test_episodes_without_events_and_of_one_frame(tmp_path: Path, make: Maker) -> None:
    sources = [array(tmp_path / f"{name}.npz", count) for name, count in (("a", 4), ("b", 3), ("c", 1))]
    path = str(table(tmp_path / "t.csv", "take,frame,x", ["a,1,1", "a,0,0"]))
    reading = Reading((path,), ("x",), row_of="frame", episode="take", lead="in", events=True)
    assert make(*sources, reading=reading)["train"]["interventions"].ravel().tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert make.packed is not None
    assert make.packed.interventions == (1,)
    rows = [f"{take},{number},1" for take, count in (("a", 4), ("b", 3)) for number in range(count)]
    path = str(table(tmp_path / "t.csv", "take,frame,x", rows))
    reading = Reading((path,), ("x",), episode="take", lead="out")
    assert make(*sources, reading=reading)["train"]["lengths"].tolist() == [4, 3, 1]
    path = str(table(tmp_path / "t.csv", "take,frame,x", rows[:4]))
    with pytest.raises(InputError, match=r"no row belongs to .*b\.npz"):
        make(*sources, reading=Reading((path,), ("x",), episode="take", lead="out"))


def test_interventions_that_no_step_shows_are_counted(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 5)
    path = str(table(tmp_path / "t.csv", "frame,what", ["4,lamp", "0,x", "4,x", "2,lamp"]))
    shown = {"out": [[0, 1], [0, 0], [1, 0], [0, 0]], "in": [[0, 0], [1, 0], [0, 0], [1, 1]]}
    for lead, expected in shown.items():
        made = make(source, reading=Reading((path,), one_of="what", lead=lead, events=True))["train"]
        assert made["interventions"].tolist() == expected
        lost = f"1 row of {source} at the first" if lead == "in" else f"2 rows of {source} at the last"
        assert make.said(f"{lost} frame of an episode, which no step leads")
    inside = str(table(tmp_path / "t.csv", "frame,what", ["1,lamp", "2,x"]))
    make(source, reading=Reading((inside,), one_of="what", lead="out", events=True))
    assert not make.said("left out")


def test_rows_of_steps_are_no_events(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 2, acts=np.ones((1, 2, 1), np.uint8))
    with pytest.raises(InputError, match=r"--events: .*'acts' has a row for each frame; leave it out"):
        make(source, reading=Reading(("acts",), lead="in", events=True))


def test_numbers_of_episodes_that_may_begin_at_0_or_at_1_are_refused(tmp_path: Path, make: Maker) -> None:
    sources = [array(tmp_path / f"{name}.npz", 4) for name in ("a", "b", "c")]

    def packed(*lines: str) -> list[int]:
        path = str(table(tmp_path / "t.csv", "take,frame,x", list(lines)))
        reading = Reading((path,), ("x",), row_of="frame", episode="take", lead="out", events=True, first_frame=0)
        found: list[int] = np.flatnonzero(make(*sources, reading=reading)["train"]["interventions"]).tolist()
        return found

    assert packed("0,1,1", "1,2,1") == [1, 6]
    assert packed("3,1,1", "1,2,1") == [2, 9]
    with pytest.raises(InputError, match=r"from 0 or from 1, as it has no row of 0 and none of 3; .*: .*a\.npz"):
        packed("1,1,1", "2,2,1")  # nothing was done in the first, or in the last
    with pytest.raises(InputError, match="the column 'take' holds '4'"):
        packed("0,1,1", "4,2,1")


def test_a_name_of_several_recordings_is_refused(tmp_path: Path, make: Maker) -> None:
    sources = [pictures(tmp_path / folder / "take", 3) for folder in ("one", "two")]
    lines = [f"{{}},{number},1" for number in range(3)]
    named = [line.format(name) for name in ("take", "take") for line in lines]
    reading = {"row_of": "frame", "episode": "where", "lead": "out"}
    path = str(table(tmp_path / "t.csv", "where,frame,x", named))
    with pytest.raises(InputError, match="several recordings are called 'take'; write in the column 'where' which"):
        make(*sources, reading=Reading((path,), ("x",), **reading))  # type: ignore[arg-type]
    whole = [line.format(source) for source in sources for line in lines]
    path = str(table(tmp_path / "t.csv", "where,frame,x", whole))
    made = make(*sources, reading=Reading((path,), ("x",), **reading))["train"]  # type: ignore[arg-type]
    assert made["lengths"].tolist() == [3, 3]


def test_true_values_of_a_recording_without_rows_are_said_to_be_missing(tmp_path: Path, make: Maker) -> None:
    path = str(table(tmp_path / "t.csv", "take,frame,x,v", [f"a,{number},{number % 2},5" for number in range(3)]))
    reading = Reading((path,), ("x",), row_of="frame", episode="take", lead="out", events=True, truth=("v",))
    with pytest.raises(InputError, match="have no row"):
        make(array(tmp_path / "a.npz", 3), array(tmp_path / "b.npz", 3), reading=reading)


def test_a_column_of_frames_is_one_in_short_recordings_too(tmp_path: Path, make: Maker) -> None:
    """Of two frames it holds only 0 and 1; read as a target, or left out, rows would be taken in order."""
    sources = [array(tmp_path / f"{name}.npz", count) for name, count in (("a", 2), ("b", 4))]
    one = str(table(tmp_path / "a.csv", "frame,x", ["0,1", "1,0"]))
    two = str(table(tmp_path / "b.csv", "frame,x", ["3,0", "2,1", "1,0", "0,1"]))
    made = make(*sources, reading=Reading((one, two), lead="out"))["train"]
    assert made["keys"].tolist() == ["x"]
    assert made["interventions"].ravel().tolist() == [1, 0, 1, 0, 1]


def test_where_numbers_of_frames_begin(tmp_path: Path, make: Maker) -> None:
    sources = [array(tmp_path / f"{name}.npz", 4) for name in ("a", "b")]
    # Only the last frame of b tells that both count from 1.
    path = str(table(tmp_path / "t.csv", "take,frame,x", ["a,1,1", "a,3,1", "b,4,1"]))
    reading = Reading((path,), ("x",), row_of="frame", episode="take", lead="in", events=True)
    assert make(*sources, reading=reading)["train"]["interventions"].ravel().tolist() == [0, 1, 0, 0, 0, 0, 1]
    assert make.said("counts frames from 1")
    events = str(table(tmp_path / "t.csv", "frame,x", ["1,1", "3,1"]))
    made = make(sources[0], reading=Reading((events,), ("x",), lead="out", events=True))["train"]
    assert made["interventions"].ravel().tolist() == [0, 1, 0]
    assert make.said("is taken to count frames from 0, of which it has no row; if its first frame is 1")
    reading = Reading((events,), ("x",), lead="out", events=True, first_frame=1)
    assert make(sources[0], reading=reading)["train"]["interventions"].ravel().tolist() == [1, 0, 1]
    later = str(table(tmp_path / "t.csv", "frame,x", [f"{number},1" for number in range(100, 104)]))
    made = make(sources[0], reading=Reading((later,), ("x",), lead="out", first_frame=100))["train"]
    assert made["interventions"].ravel().tolist() == [1, 1, 1]
    with pytest.raises(InputError, match=r"row 5: 'frame' is 103, and .* has 4 frames, 99 to 102"):
        make(sources[0], reading=Reading((later,), ("x",), lead="out", first_frame=99))
    with pytest.raises(InputError, match="--first-frame 1: no column has the numbers of frames"):
        make(sources[0], reading=Reading((str(rows(tmp_path / "n.csv", [1, 0, 1])),), first_frame=1))


def test_interventions_after_the_last_frame_that_is_kept_are_no_step(tmp_path: Path, make: Maker) -> None:
    reading = Reading((str(rows(tmp_path / "t.csv", [0, 0, 0, 0, 1, 1])),))
    made = make(array(tmp_path / "d.npz", 7), reading=reading, every=4)["train"]
    assert made["interventions"].ravel().tolist() == [0]
    assert not make.said("several interventions on one variable")


def test_recordings_in_grey_and_in_colour(tmp_path: Path, make: Maker) -> None:
    one = array(tmp_path / "a.npz", 3)
    np.save(tmp_path / "b.npy", numbered(3, channels=1))
    tables = tuple(str(rows(tmp_path / f"{name}.csv", [1, 0])) for name in ("a", "b"))
    with pytest.raises(InputError, match="make them grey with --grey"):
        make(one, tmp_path / "b.npy", reading=Reading(tables))
    made = make(one, tmp_path / "b.npy", reading=Reading(tables), grey=True)["train"]
    assert values(made["images"]) == [0, 1, 2, 0, 1, 2]


def test_a_target_that_another_table_lacks_is_refused(tmp_path: Path, make: Maker) -> None:
    one, two = (array(tmp_path / f"{name}.npz", 3) for name in ("a", "b"))
    tables = (str(table(tmp_path / "a.csv", "x,y", ["1,0", "0,1"])), str(table(tmp_path / "b.csv", "x", ["1", "0"])))
    with pytest.raises(InputError, match=r"b\.csv has no column 'y', as .*a\.csv has"):
        make(one, two, reading=Reading(tables))


@pytest.mark.parametrize(
    ("cells", "columns", "keys"),
    [
        (["2.0", "0.0", "1.0", "nan"], None, ["what_1", "what_2"]),
        (["lamp", "", "x", "0"], None, ["lamp", "x"]),
        (["2", "0", "1", "none"], None, ["what_1", "what_2"]),
        (["2", "0", "1", ""], ("x", "lamp"), ["x", "lamp"]),
        (["lamp", "", "x", "0"], ("x", "lamp", "door"), ["x", "lamp", "door"]),
    ],
)
def test_one_column_that_names_the_variable(
    tmp_path: Path, make: Maker, cells: list[str], columns: tuple[str, ...] | None, keys: list[str]
) -> None:
    path = str(table(tmp_path / "t.csv", "what,n", [f"{cell},5" for cell in cells]))
    made = make(array(tmp_path / "d.npz", 5), reading=Reading((path,), columns, one_of="what"))["train"]
    assert made["keys"].tolist() == keys
    of = dict(zip(keys, made["interventions"].T.tolist(), strict=True))
    assert of["lamp" if "lamp" in keys else "what_2"] == [1, 0, 0, 0]
    assert of["x" if "x" in keys else "what_1"] == [0, 0, 1, 0]


def test_a_name_that_is_no_variable_is_refused(tmp_path: Path, make: Maker) -> None:
    path = str(table(tmp_path / "t.csv", "what,n", ["lamp,1", "lmap,1", ",1", ",1"]))
    with pytest.raises(InputError, match=r"row 3: the column 'what' holds 'lmap', which --columns \(lamp\)"):
        make(array(tmp_path / "d.npz", 5), reading=Reading((path,), ("lamp",), one_of="what"))


def test_minus_one_is_no_variable(tmp_path: Path, make: Maker) -> None:
    path = str(table(tmp_path / "t.csv", "what,n", ["0,1", "-1,1", "1,1", "-1,1"]))
    with pytest.raises(InputError, match=r"row 3: the column 'what' holds -1 .*; count variables from 1"):
        make(array(tmp_path / "d.npz", 5), reading=Reading((path,), one_of="what"))


def test_text_in_a_target_is_refused_and_not_left_out(tmp_path: Path, make: Maker) -> None:
    path = str(table(tmp_path / "t.csv", "x,lamp,speed", ["1,0,0", "0,on,0", "0,0,0", "1,0,3"]))
    with pytest.raises(InputError, match="row 3: the column 'lamp' holds 'on'"):
        make(array(tmp_path / "d.npz", 5), reading=Reading((path,)))
    assert make(array(tmp_path / "d.npz", 5), reading=Reading((path,), ("x",)))["train"]["keys"].tolist() == ["x"]


def test_pictures_are_in_natural_order_and_rows_found_by_file(tmp_path: Path, make: Maker) -> None:
    folder = pictures(tmp_path / "shots", 12)
    lines = [f"shot_{number + 1}.png,{int(number % 3 == 0)}" for number in reversed(range(12))]
    made = make(folder, reading=Reading((str(table(tmp_path / "t.tsv", "picture_of,x", lines)),), lead="in"))["train"]
    assert make.said("matched with frames by 'picture_of' (--row-of file)")
    assert values(made["images"]) == list(range(12))
    assert made["interventions"].ravel().tolist() == [int(number % 3 == 0) for number in range(1, 12)]
    one_by_one = make(*sorted(folder.iterdir()), reading=Reading((str(tmp_path / "t.tsv"),), lead="in"))["train"]
    assert values(one_by_one["images"]) == list(range(12))
    assert make.said("natural order")


def test_a_file_that_is_not_there_is_said_and_rows_are_not_taken_in_order(tmp_path: Path, make: Maker) -> None:
    folder = pictures(tmp_path / "shots", 4)
    lines = [f"C:\\takes\\shot_{number}.png,{int(number == 1)}" for number in (4, 3, 2, 1)]
    made = make(folder, reading=Reading((str(table(tmp_path / "t.csv", "file,x", lines)),), lead="out"))["train"]
    assert made["interventions"].ravel().tolist() == [1, 0, 0]
    lines[1] = lines[1].replace("shot", "shoot")
    with pytest.raises(InputError, match=r"row 3: there is no picture .*shoot_3\.png"):
        make(folder, reading=Reading((str(table(tmp_path / "t.csv", "file,x", lines)),), lead="out"))


def test_folders_in_a_folder_are_episodes(tmp_path: Path, make: Maker) -> None:
    pictures(tmp_path / "all/take_2", 3)
    pictures(tmp_path / "all/take_10", 2)
    lines = [f"take_{take}/shot_{number}.png,1" for take, count in ((10, 2), (2, 3)) for number in range(1, count + 1)]
    reading = Reading((str(table(tmp_path / "t.csv", "file,x", lines)),), lead="out")
    made = make(tmp_path / "all", reading=reading)["train"]
    assert values(made["images"]) == [0, 1, 2, 0, 1]
    assert made["lengths"].tolist() == [3, 2]
    assert made["interventions"].ravel().tolist() == [1, 1, 0, 1]
    by_episode = [f"take_{take},{number},0" for take, count in ((10, 2), (2, 3)) for number in range(count)]
    path = str(table(tmp_path / "e.csv", "take,frame,x", by_episode))
    made = make(tmp_path / "all", reading=Reading((path,), ("x",), episode="take", lead="out"))["train"]
    assert made["lengths"].tolist() == [3, 2]
    with pytest.raises(InputError, match="does not say which row"):
        make(tmp_path / "all", reading=Reading((path,), ("x",), lead="out"))


def test_pictures_of_several_sizes_are_said(tmp_path: Path, make: Maker) -> None:
    folder = pictures(tmp_path / "shots", 5)
    Image.new("RGB", (40, 60)).save(folder / "shot_3.png")
    make(folder, reading=Reading((str(rows(tmp_path / "t.csv", [1, 0, 1, 0])),)))
    assert make.said("1 picture of 5 of another size than the first (32×32), such as")


def test_one_recording_in_episodes(tmp_path: Path, make: Maker) -> None:
    path = str(table(tmp_path / "t.csv", "x,take", ["1,a", "1,a", "1,a", "1,b", "1,b"]))
    made = make(array(tmp_path / "d.npz", 5), reading=Reading((path,), ("x",), episode="take", lead="out"))["train"]
    assert made["lengths"].tolist() == [3, 2]
    assert made["interventions"].ravel().tolist() == [1, 1, 0, 1]
    table(tmp_path / "s.csv", "x,take", ["1,a", "1,a", "1,a", "1,b", "1,b"])
    back = str(table(tmp_path / "t.csv", "x,take", ["1,a", "1,b", "1,a", "1,b", "1,b"]))
    with pytest.raises(InputError, match="go back to an episode"):
        make(array(tmp_path / "d.npz", 5), reading=Reading((back,), ("x",), episode="take", lead="out"))
    one = str(table(tmp_path / "o.csv", "x,take", ["1,c", "1,c", "1,c"]))
    sources = array(tmp_path / "d.npz", 5), array(tmp_path / "e.npz", 3)
    made = make(*sources, reading=Reading((path.replace("t.csv", "s.csv"), one), ("x",), episode="take", lead="out"))
    assert made["train"]["lengths"].tolist() == [3, 2, 3]


def test_several_sources_and_tables(tmp_path: Path, make: Maker) -> None:
    one, two = array(tmp_path / "a.npz", 3), array(tmp_path / "b.npz", 4)
    tables = tuple(str(rows(tmp_path / f"{name}.csv", cells)) for name, cells in (("a", [1, 0]), ("b", [0, 0, 1])))
    made = make(one, two, reading=Reading(tables))["train"]
    assert made["interventions"].ravel().tolist() == [1, 0, 0, 0, 0, 1]
    together = Reading((str(rows(tmp_path / "c.csv", [1, 0, 0, 0, 1])),))
    assert make(one, two, reading=together)["train"]["interventions"].ravel().tolist() == [1, 0, 0, 0, 0, 1]
    with pytest.raises(InputError, match="give one row for each of either"):
        make(one, two, reading=Reading((str(rows(tmp_path / "c.csv", [1, 0, 0, 0])),)))
    with pytest.raises(InputError, match="2 tables for 1 recording"):
        make(one, reading=Reading(tables))


def test_episodes_and_padding_in_arrays(tmp_path: Path, make: Maker) -> None:
    frames = numbered(8).reshape(2, 4, 32, 32, 3)
    acts = np.array([[1, 0, 1, 1], [0, 1, 1, 1]])[..., None]
    np.savez(tmp_path / "d.npz", obs=frames, acts=acts, lengths=[4, 2], level=np.arange(8.0).reshape(2, 4, 1))
    made = make(tmp_path / "d.npz", reading=Reading(("acts",), truth=("level",), lead="out"))["train"]
    assert values(made["images"]) == [0, 1, 2, 3, 4, 5]
    assert made["lengths"].tolist() == [4, 2]
    assert made["interventions"].ravel().tolist() == [1, 0, 1, 0, 0]
    assert made["latents"].ravel().tolist() == [0, 1, 2, 3, 4, 5]
    np.savez(tmp_path / "d.npz", obs=frames, acts=acts[:, :-1])
    made = make(tmp_path / "d.npz", reading=Reading(("acts",)))["train"]
    assert made["interventions"].ravel().tolist() == [1, 0, 1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (numbered(4, channels=1)[..., 0], (4, 32, 32, 1)),
        (np.moveaxis(numbered(4), -1, 1), (4, 32, 32, 3)),
        (numbered(4, channels=5), (4, 32, 32, 5)),
        (numbered(4).astype(np.float32) / 255, (4, 32, 32, 3)),
        (numbered(4).astype(np.uint16) * 257, (4, 32, 32, 3)),
        (numbered(4).astype(np.float32) / 255 * 2 - 1, (4, 32, 32, 3)),
        (numbered(4)[:, :24], (4, 64, 64, 3)),
    ],
)
def test_arrays_of_frames(tmp_path: Path, make: Maker, frames: np.ndarray, expected: tuple[int, ...]) -> None:
    np.save(tmp_path / "frames.npy", frames)
    reading = Reading((str(rows(tmp_path / "t.csv", [1, 0, 1])),))
    made = make(tmp_path / "frames.npy", reading=reading)["train"]
    assert made["images"].shape == expected
    assert values(made["images"]) == [0, 1, 2, 3]


def test_frames_are_found_or_named(tmp_path: Path, make: Maker) -> None:
    np.savez(tmp_path / "d.npz", left=numbered(3), right=numbered(3) + 100, acts=np.array([[1], [0]]))
    with pytest.raises(InputError, match=r"several arrays could be the frames \(left, right\)"):
        make(tmp_path / "d.npz", reading=Reading(("acts",)))
    made = make(tmp_path / "d.npz", reading=Reading(("acts",)), frames_key="right")["train"]
    assert values(made["images"]) == [100, 101, 102]
    with pytest.raises(InputError, match="there is no key 'top'"):
        make(tmp_path / "d.npz", reading=Reading(("acts",)), frames_key="top")
    with pytest.raises(InputError, match="no such file, and no key of that name"):
        make(tmp_path / "d.npz", reading=Reading(("actions",)), frames_key="left")


def test_held_out_ends_and_episodes(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 20)
    reading = Reading((str(rows(tmp_path / "t.csv", [1] * 19)),))
    made = make(source, reading=reading, val=0.1, test=0.2)
    assert {name: values(split["images"]) for name, split in made.items()} == {
        "train": list(range(14)), "val": [14, 15], "test": [16, 17, 18, 19],
    }  # fmt: skip
    assert [split["interventions"].sum() for split in made.values()] == [13, 1, 3]
    sources = [array(tmp_path / f"{number}.npz", 5) for number in range(4)]
    made = make(*sources, reading=Reading((str(rows(tmp_path / "t.csv", [1] * 16)),)), test=0.2)
    assert made["train"]["lengths"].tolist() == [5, 5, 5]
    assert len(made["test"]["images"]) == 5
    assert make.said("test: 5 frames of 20 (25%), 1 whole episode")
    reading = Reading((str(rows(tmp_path / "t.csv", [1] * 19)),))
    with pytest.raises(InputError, match="too few for --val"):
        make(source, reading=reading, val=0.05)


def test_what_is_there_is_not_replaced(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 5)
    reading = Reading((str(rows(tmp_path / "t.csv", [1, 0, 0, 1])),))
    make(source, reading=reading, val=0.4)
    before = (tmp_path / "made/train.npz").read_bytes()
    with pytest.raises(InputError, match="is there already"):
        make(source, reading=reading, overwrite=False)
    make(source, reading=reading)
    assert make.said("val of an earlier dataset")
    assert (tmp_path / "made/train.npz").read_bytes() != before


def test_the_same_recording_gives_the_same_bytes_and_says_where_it_comes_from(tmp_path: Path, make: Maker) -> None:
    source = array(tmp_path / "d.npz", 5)
    reading = Reading((str(rows(tmp_path / "t.csv", [1, 0, 0, 1])),))
    told = json.loads(str(make(source, reading=reading)["train"]["provenance"]))
    first = (tmp_path / "made/train.npz").read_bytes()
    make(source, reading=reading)
    assert (tmp_path / "made/train.npz").read_bytes() == first
    import hashlib

    assert told["recordings"][0]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert told["tables"][0]["sha256"] == hashlib.sha256((tmp_path / "t.csv").read_bytes()).hexdigest()
    assert told["command"] == ["citris"]


@pytest.mark.parametrize("names", [["a,b", "c"], ["a:b", "c"], ["psi(0)", "c"]])
def test_names_that_no_variable_can_have(tmp_path: Path, make: Maker, names: list[str]) -> None:
    header = ",".join(f'"{name}"' for name in names)
    path = str(table(tmp_path / "t.csv", header, ["0,1", "1,0", "0,0", "1,1"]))
    with pytest.raises(InputError, match="column"):
        make(array(tmp_path / "d.npz", 5), reading=Reading((path,)))


@pytest.mark.parametrize(
    "header", ["{'shape': (-5, 64, 64, 3), ", "{'shape': (1000000000, 64, 64, 3), ", "{'sha\0pe: (("]
)
def test_a_damaged_npy_is_refused(tmp_path: Path, make: Maker, header: str) -> None:
    told = (header + "'descr': '|u1', 'fortran_order': False}").encode().ljust(117) + b"\n"
    (tmp_path / "d.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + told + bytes(100))
    with pytest.raises(InputError, match=r"d\.npy: this \.npy cannot be read"):
        make(tmp_path / "d.npy")


def test_a_recording_that_is_named_twice_is_refused(tmp_path: Path, make: Maker) -> None:
    one = array(tmp_path / "a.npz", 3)
    with pytest.raises(InputError, match="named twice"):
        make(one, one, reading=Reading((str(rows(tmp_path / "t.csv", [1, 0, 1, 0])),)))


def test_a_name_that_no_disk_takes_is_refused(tmp_path: Path, make: Maker) -> None:
    reading = Reading((str(rows(tmp_path / "t.csv", [1, 0])),))
    with pytest.raises(InputError, match="cannot be written"):
        make(array(tmp_path / "a.npz", 3), reading=reading, output=tmp_path / ("a" * 300))


def test_a_link_to_nothing_among_pictures_is_said(tmp_path: Path, make: Maker) -> None:
    folder = pictures(tmp_path / "shots", 3)
    (folder / "shot_4.png").symlink_to(tmp_path / "gone.png")
    make(folder, reading=Reading((str(rows(tmp_path / "t.csv", [1, 0])),)))
    assert make.said("left out, as these are not pictures that citris can read: shot_4.png")


def test_a_column_of_episodes_is_no_target(tmp_path: Path, make: Maker) -> None:
    path = str(table(tmp_path / "t.csv", "episode,x", ["0,1", "0,0", "1,1", "1,0"]))
    made = make(array(tmp_path / "a.npz", 4), reading=Reading((path,), lead="out"))["train"]
    assert made["keys"].tolist() == ["x"]
    assert make.said("give --episode episode")
    made = make(tmp_path / "a.npz", reading=Reading((path,), lead="out", episode="episode"))["train"]
    assert made["lengths"].tolist() == [2, 2]


def test_true_values_that_do_not_fit_are_refused(tmp_path: Path, make: Maker) -> None:
    path = str(table(tmp_path / "t.csv", "x,v", ["0,1", "1,1e300", "0,2"]))
    with pytest.raises(InputError, match="larger than float32 takes"):
        make(array(tmp_path / "a.npz", 3), reading=Reading((path,), ("x",), lead="in", truth=("v",)))


def test_what_is_nothing_that_is_known_is_said(tmp_path: Path, make: Maker) -> None:
    (tmp_path / "d.mp4").write_bytes(bytes(range(7, 200)) * 50)
    with pytest.raises(InputError, match=r"d\.mp4: this is not a film, picture or array that citris can read"):
        make(tmp_path / "d.mp4")
