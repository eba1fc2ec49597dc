from pathlib import Path

import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.recordings.tables import of_array, read_table


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "frame,x\n0,1\n1,0\n",
        "frame;x\r\n0;1\r\n1;0\r\n",
        "frame\tx\n0\t1\n\n1\t0\n",
        "\ufeffframe,x\n0,1\n1,0",
        '"frame","x"\n"0","1"\n1,0\n',
        "frame,x,\n0,1,\n1,0,\n",
        " frame , x \n0, 1\n1 ,false\n",
        "frame,x\n0,1\n1,0\n".encode("utf-16"),
    ],
)
def test_tables_as_programs_write_them(tmp_path: Path, content: bytes | str) -> None:
    table = read_table(written(tmp_path / "t.csv", content))
    assert list(table.columns) == ["frame", "x"]
    assert table.whole("frame").tolist() == [0, 1]
    assert table.binary("x").tolist() == [True, False]


@pytest.mark.parametrize(
    "content", ["x\n1.000000e+00\n0.0\n", "x;n\n1,0;0,5\n0,0;1,5\n", "x\nTRUE\nFalse\n", "x\n01\n 0 \n"]
)
def test_ones_and_zeros_as_programs_write_them(tmp_path: Path, content: str) -> None:
    table = read_table(written(tmp_path / "t.csv", content))
    assert table.is_binary("x")
    assert not table.is_nearly_binary("x")
    assert table.binary("x").tolist() == [True, False]


def test_a_message_tells_the_line_of_the_file(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", "x,y\n1,1\n\n\n0,1\nno,1\n1,1\n")).taken(np.array([2, 3]))
    with pytest.raises(InputError, match="row 6: the column 'x' holds 'no'"):
        table.binary("x")


def test_other_encodings_are_said(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", "frame,höhe\n0,1\n".encode("cp1252")))
    assert list(table.columns) == ["frame", "höhe"]
    assert "not in UTF-8" in table.notes[0]


def test_decimal_commas_follow_semicolons(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", "t;x\n0,5;1\n1,25;0\n"))
    assert table.numbers("t").tolist() == [0.5, 1.25]


def test_times(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", "t,u\n0:01.5,1\n1:00:00,2\n"))
    assert table.seconds("t").tolist() == [1.5, 3600.0]
    assert table.seconds("u").tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "empty"),
        ("frame,x\n", "a header and no rows"),
        ("0,1\n1,0\n", "where the names of the columns are needed"),
        ("x,x\n0,1\n", "'x' twice"),
        ("x,,y\n0,1,1\n", "no name for column 2"),
        ("x,y\n0,1\n0\n", "row 3: 1 cell under a header of 2"),
        ("x,y\n0,1\n0,1,1\n", "row 3: 3 cells under a header of 2"),
        ('x,y\n0,"1\n', "correct its quotation marks"),
        ("x y\n0 1\n", "separated by commas"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture where a table was expected"),
        (b"x,y\n\0\0\xff\xfe\0", "not text, and a table was expected"),
    ],
)
def test_what_is_no_table_is_refused_with_its_row(tmp_path: Path, content: bytes | str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_table(written(tmp_path / "t.csv", content))


@pytest.mark.parametrize(
    ("cells", "method", "sentence"),
    [
        (["0", "yes"], "binary", "row 3: the column 'x' holds 'yes' where a target needs 0 or 1"),
        (["0", ""], "binary", "row 3: the column 'x' holds nothing"),
        (["0", "nan"], "numbers", "row 3: the column 'x' holds 'nan' where a number"),
        (["0", "1.5"], "whole", "row 3: the column 'x' holds '1.5' where a whole number"),
        (["0", "1:xx"], "seconds", "row 3: the column 'x' holds '1:xx' where a time"),
    ],
)
def test_cells_that_do_not_fit_are_named(tmp_path: Path, cells: list[str], method: str, sentence: str) -> None:
    table = read_table(written(tmp_path / "t.csv", "x,y\n" + "".join(f"{cell},1\n" for cell in cells)))
    with pytest.raises(InputError, match=sentence):
        getattr(table, method)("x")


def test_columns_are_found_however_they_are_written(tmp_path: Path) -> None:
    table = read_table(written(tmp_path / "t.csv", "Ball Y,lamp\n0,1\n"))
    assert table.find("ball_y", "--columns") == "Ball Y"
    with pytest.raises(InputError, match="did you mean 'lamp'"):
        table.find("lam", "--columns")


def test_arrays_are_tables() -> None:
    table = of_array("d.npz: 'acts'", np.array([[True, False], [False, True]]), ("a", "b"), "acts")
    assert table.binary("a").tolist() == [True, False]
    assert list(of_array("x", np.array([1.0, 0.0]), (), "group/acts").columns) == ["acts"]
    assert of_array("x", np.array(["box", ""]), (), "what").columns["what"] == ["box", ""]
    with pytest.raises(InputError, match="needs"):
        of_array("x", np.zeros((2, 2, 2, 2)), (), "acts")


def test_an_empty_line_in_one_column_may_be_a_row(tmp_path: Path) -> None:
    """Without it a table of frames would have a row fewer, as one of steps has."""
    with pytest.raises(InputError, match="row 3: an empty line in a table of one column may be a row or none"):
        read_table(written(tmp_path / "t.csv", "flag\nx\n\nlamp\nx\n"))
    quoted = read_table(written(tmp_path / "t.csv", 'flag\n\nx\n"a\nb"\nlamp\n\n'))
    assert quoted.columns["flag"] == ["x", "a\nb", "lamp"]


def test_utf_16_without_its_mark_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is not text"):
        read_table(written(tmp_path / "t.csv", "frame,x\n0,1\n".encode("utf-16-le")))
