"""What the user's paths mean: hidden files, patterns, and frames chosen with #."""

from __future__ import annotations

from pathlib import Path

import pytest

from citris_cli.data.datasets import read_frames
from citris_cli.data.layout import array_files, dataset_name, find_files
from citris_cli.data.paths import is_pattern, matches, parse_choice, require_choice
from citris_cli.errors import InputError


@pytest.mark.parametrize(
    "text", ["0", "11", "-1", "-12", "1:5", ":", "::2", "::-1", "-3:", ":-3", "10:2:-3", "2:3", "-5:-1"]
)
def test_frames_are_chosen_as_python_does(text: str) -> None:
    choice = parse_choice(Path(f"a#b/film.gif#{text}"))
    assert choice.path == Path("a#b/film.gif")
    everything = list(range(12))
    expected = (
        everything[slice(*[int(n) if n else None for n in text.split(":")])] if ":" in text else [everything[int(text)]]
    )
    numbers, note = choice.numbers(12, "file")
    assert list(numbers) == expected
    assert note is None


@pytest.mark.parametrize("text", ["12", "-13", "5:5", "12:", "99999999999999999:", "3:1"])
def test_frames_that_are_not_there_are_refused_with_their_number(text: str) -> None:
    with pytest.raises(InputError, match=rf"^film.gif#{text}: the file has 12 frames, counted from 0; choose"):
        parse_choice(Path(f"film.gif#{text}")).numbers(12, "file")


def test_a_slice_with_fewer_frames_than_asked_says_so() -> None:
    numbers, note = parse_choice(Path("d.npz#10:50")).numbers(12, "dataset")
    assert list(numbers) == [10, 11]
    assert note == "d.npz#10:50: the dataset has 12 frames, counted from 0; 2 frames chosen"
    with pytest.raises(InputError, match="the step cannot be 0"):
        parse_choice(Path("d.npz#::0")).numbers(12, "dataset")


def test_a_file_of_that_very_name_is_itself(tmp_path: Path) -> None:
    (tmp_path / "shot#3").touch()
    assert parse_choice(tmp_path / "shot#3").text is None
    assert parse_choice(tmp_path / "shot#3#1").path == tmp_path / "shot#3"
    assert parse_choice(tmp_path / "shot#4").text == "4"
    for wrong in ("x", "", "1:2:3:4", "1.5", "9" * 5000):
        given = tmp_path / f"shot#3#{wrong}"
        assert parse_choice(given).text is None
        with pytest.raises(InputError, match="chooses no frames; write a number or a slice, such as #3"):
            require_choice(given)
    require_choice(tmp_path / "other#x")  # nothing there in any case


def test_patterns_match_in_natural_order_and_nothing_hidden(tmp_path: Path) -> None:
    for name in ("b/f1.png", "b/f10.png", "b/f2.png", "a/f3.png", "b/._f1.png", ".c/f1.png", "[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(pattern: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in matches(tmp_path / pattern)]

    assert found("b/*.png") == ["b/f1.png", "b/f2.png", "b/f10.png"]
    assert found("*/f?.png") == ["a/f3.png", "b/f1.png", "b/f2.png"]
    assert found("**") == ["[1].png", "a/f3.png", "b/f1.png", "b/f2.png", "b/f10.png"]
    assert found("b/.*") == ["b/._f1.png"]
    assert is_pattern(tmp_path / "*.png")
    assert not is_pattern(tmp_path / "[1].png")
    with pytest.raises(InputError, match="no file matches this pattern"):
        matches(tmp_path / "*.gif")


def test_hidden_files_are_no_data(tmp_path: Path) -> None:
    for name in ("._train.npz", ".train.npz", "data.npz"):
        (tmp_path / name).touch()
    assert array_files(tmp_path) == [tmp_path / "data.npz"]
    # The only file that there is, and not one of three.
    assert find_files(tmp_path, ("train",)) == (tmp_path / "data.npz",)
    assert find_files(tmp_path / "*.npz", ("train",)) == (tmp_path / "data.npz",)
    (tmp_path / "data.npz").unlink()
    with pytest.raises(InputError, match=r"the directory has no train\.npz, it has no \.npz file"):
        find_files(tmp_path, ("train",))


def test_a_pattern_of_everything_is_called_after_its_folder() -> None:
    assert dataset_name([Path("x/shots/*.npz")]) == "shots"
    assert dataset_name([Path("x/shots/**/*.npz")]) == "shots"
    assert dataset_name([Path("x/shots/run*.npz")]) == "run"


def test_whole_files_are_asked_for_where_frames_cannot_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"d\.npz#1:5: this command takes whole files; leave out the #"):
        read_frames(tmp_path / "d.npz#1:5")
