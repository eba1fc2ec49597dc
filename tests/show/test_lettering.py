"""Names in pictures: in a font that has their letters, or spelled out with a note; never boxes in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from citris_cli.show import lettering
from citris_cli.show.grids import triplet_grid
from citris_cli.show.lettering import lettered, spelling_note

CACHES = (lettering.lettered, lettering._best, lettering._installed)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine with no font but what is put into this folder."""
    monkeypatch.setattr(lettering, "font_folders", lambda: [tmp_path, tmp_path / "none"])
    for one in CACHES:
        one.cache_clear()
    yield tmp_path
    for one in CACHES:
        one.cache_clear()


def test_without_a_font_names_are_spelled_out_and_said_to_be(bare: Path) -> None:
    (bare / "damaged.ttf").write_bytes(b"no font")
    assert lettered("ball_x", 13)[0] == "ball_x"
    assert lettered("é_größe_灯_😀", 13)[0] == "e_gro\\u00dfe_\\u706f_\\U0001f600"
    assert lettered("e\u0301", 13)[0] == "e"
    assert spelling_note(["ball_x", "psi(0)"], 13) is None
    assert spelling_note(["灯", "x", "é", "ψ", "θ"], 13) == (
        "no installed font has all letters of the names, so 灯 is drawn as \\u706f, é is drawn as e, ψ is drawn as "
        "\\u03c8 and 1 more; install one that has them, such as Noto"
    )


@pytest.mark.parametrize("name", ["größe_é", "θ_ж", "灯の色", "العربية"])
def test_letters_are_drawn_where_an_installed_font_has_them(name: str) -> None:
    text, font = lettered(name, 13)
    if text != name:
        pytest.skip("needs an installed font with these letters")
    assert spelling_note([name], 13) is None
    box = bytes(font.getmask("\uffff"))
    for letter in set(name) - {"_"}:
        assert bytes(font.getmask(letter)) != box
    images = np.zeros((1, 3, 32, 32, 3), np.uint8)
    # Two names of equally many letters look different, as boxes would not.
    one, other = (triplet_grid(images, images[:, 0], np.ones((1, 1)), [text]) for text in (name, name[::-1]))
    assert one.tobytes() != other.tobytes()


def test_the_folders_of_the_user_are_looked_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert next(iter(lettering.font_folders())) == tmp_path / "fonts"
