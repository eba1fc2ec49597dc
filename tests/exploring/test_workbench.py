"""What the page does with a model: one variable changes, and every other latent stays as it was."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from citris_cli.errors import InputError
from citris_cli.exploring.workbench import LARGEST_LATENT, PLACES, Workbench, category_places
from tests.exploring.models import HOSTILE, VARIABLES, small_model

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return Workbench(small_model())


def png(*size: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size or (32, 32), 120).save(file, "PNG")
    return file.getvalue()


def test_every_kind_of_variable_has_its_control(bench: Workbench) -> None:
    kinds = {control.name: (control.kind, len(control.values)) for control in bench.controls}
    assert kinds == {
        "x": ("slider", PLACES),
        "y": ("slider", PLACES),
        "turn": ("dial", PLACES),
        "lamp": ("buttons", 3),
        HOSTILE: ("dial", PLACES),
        "lost": ("none", 0),
    }
    # The values of a slider are those of a sweep.
    np.testing.assert_array_equal(bench.controls[2].values, bench.model.sweep("turn", PLACES))


@pytest.mark.parametrize("name", [name for name in VARIABLES.names if name != "lost"])
def test_a_change_leaves_every_other_latent_as_it_was(bench: Workbench, name: str) -> None:
    start, other = bench.from_frame(FRAMES[0]).view, bench.from_frame(FRAMES[1]).view
    block = bench.model.block(name)
    index = VARIABLES.names.index(name)
    for place in range(len(bench.controls[index].values)):
        view = bench.at_place(start.z, start.z, name, place)
        np.testing.assert_array_equal(view.z[:, ~block], start.z[:, ~block])
        np.testing.assert_array_equal(view.z[0, block], bench.controls[index].values[place, block])
        assert view.places[index] == place
        assert view.places[:index] + view.places[index + 1 :] == start.places[:index] + start.places[index + 1 :]
        np.testing.assert_array_equal(view.picture, bench.model.decode(view.z)[0])
    taken = bench.taken(start.z, start.z, name, other.z)
    np.testing.assert_array_equal(taken.z, np.where(block, other.z, start.z))
    drawn = [bench.drawn(start.z, start.z, name, seed).z for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0][:, ~block], start.z[:, ~block])
    assert (drawn[0][:, block] != drawn[2][:, block]).any()


def test_what_moved_is_measured_against_the_start(bench: Workbench) -> None:
    model = bench.model
    start = bench.from_frame(FRAMES[0])
    assert start.original is not None
    np.testing.assert_array_equal(start.original, FRAMES[0, 0])
    again = model.encode(start.view.picture[None])
    assert start.view.moved == {name: pytest.approx(v[0]) for name, v in model.moved(start.view.z, again).items()}
    view = bench.at_place(start.view.z, start.view.z, "x", 7)
    again = model.encode(view.picture[None])
    assert view.moved == {name: pytest.approx(v[0]) for name, v in model.moved(start.view.z, again).items()}
    assert "lost" not in view.moved


def test_a_start_without_a_picture_is_one_of_the_latents_that_were_seen(bench: Workbench) -> None:
    starts = [bench.from_memory(seed) for seed in (1, 1, 2)]
    assert all(start.original is None for start in starts)
    np.testing.assert_array_equal(starts[0].view.z, starts[1].view.z)
    assert (starts[0].view.z != starts[2].view.z).any()


def test_pictures_are_brought_to_the_models_size_and_it_is_said(bench: Workbench) -> None:
    assert bench.from_picture(png(), "p").notes == ()
    assert bench.from_picture(png(50, 40), "p").notes == (
        "p: cropped from 50×40 to its middle 40×40 and resized to 32×32 pixels",
    )
    film = io.BytesIO()
    Image.new("RGB", (32, 32)).save(film, "GIF", save_all=True, append_images=[Image.new("RGB", (32, 32), "red")])
    assert bench.from_picture(film.getvalue(), "p").notes == ("p#0 taken, the first of 2 pictures",)
    grey = Workbench(small_model(1))
    start = grey.from_picture(png(), "p")
    assert start.notes == ("p: made grey, as the model's frames are",)
    assert start.original is not None
    assert start.original.shape == (32, 32, 1)
    with pytest.raises(InputError, match="p: this is text, not a picture; give a PNG or JPEG file"):
        bench.from_picture(b"no picture at all", "p")


def test_what_cannot_be_asked_is_refused(bench: Workbench) -> None:
    z = bench.from_frame(FRAMES[0]).view.z
    with pytest.raises(InputError, match="x has 48 places, and no place 48; count from 0"):
        bench.at_place(z, z, "x", PLACES)
    with pytest.raises(InputError, match="gave no latents to lost"):
        bench.drawn(z, z, "lost", 0)
    with pytest.raises(InputError, match="there is no variable 'q'"):
        bench.taken(z, z, "q", z)
    arrays = io.BytesIO()
    np.savez(arrays, images=FRAMES)
    with pytest.raises(InputError, match="not a picture; start 'citris explore' with it to choose a frame"):
        bench.from_picture(arrays.getvalue(), "the picture")
    for values in ([0.0] * 6, [], [0.0] * 6 + [2 * LARGEST_LATENT], [0.0] * 6 + [float("nan")], [10**400] * 7):
        with pytest.raises(InputError, match=r"^z has "):
            bench.latents(values, "z")
    assert bench.latents([1] * 7, "z").dtype == np.float32


def test_categories_are_told_apart_where_the_walk_leaps() -> None:
    within = np.full(47, 0.02)
    three = within.copy()
    three[[15, 31]] = 0.8
    assert category_places(three, 3) == category_places(three, None) == [7, 23, 39]
    assert category_places(within, None) == []  # no leap: a slider
    assert category_places(np.ones(47), None) == []
    assert category_places(three, 1) == []
    assert category_places(three, 40) == []  # too many for buttons
    assert len(category_places(np.zeros(47), 12)) == 12
