"""A sequence beside its latents as a file: each kind is what its ending says, and holds as many frames as fit."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from citris_cli.show import latent_animation
from citris_cli.show.latent_animation import KINDS, animation_bytes, frames_on_a_page, frames_that_fit
from citris_cli.show.latent_bars import SIDE, picture_height, widest
from tests.show.sequences import sequence


def test_each_kind_is_what_it_says() -> None:
    shown = sequence(3)
    with Image.open(io.BytesIO(animation_bytes(".gif", shown, 4, ["a", "b"]))) as gif:
        assert (gif.format, gif.n_frames, gif.info["duration"]) == ("GIF", 3, 250)
        assert gif.info["comment"] == b"a\nb"
    assert animation_bytes(".html", shown, 4).startswith(b"<!doctype html>")


def test_an_mp4_is_one() -> None:
    pytest.importorskip("imageio_ffmpeg", reason="needs imageio's ffmpeg plugin: pip install 'imageio[ffmpeg]'")
    assert animation_bytes(".mp4", sequence(3), 4)[4:8] == b"ftyp"


def test_as_many_frames_as_the_file_and_the_memory_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = sequence().groups
    monkeypatch.setattr(latent_animation, "available_memory", lambda: 1 << 40)
    picture = widest(SIDE) * picture_height(groups, SIDE)
    monkeypatch.setattr(latent_animation, "GIF_BYTES", 10 * picture)
    monkeypatch.setattr(latent_animation, "MP4_BYTES", 20 * 32 * 32 * 3)
    fit = {kind: frames_that_fit(kind, 32, groups) for kind in KINDS}
    assert fit == {".gif": 10, ".mp4": 20, ".html": frames_on_a_page(32, groups)}
    monkeypatch.setattr(latent_animation, "available_memory", lambda: 12 * 32 * 32 * 3)
    assert frames_that_fit(".mp4", 32, groups) == 6
    monkeypatch.setattr(latent_animation, "available_memory", lambda: 0)
    assert frames_that_fit(".gif", 32, groups) == 1
