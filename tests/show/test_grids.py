"""Pictures in rows and columns: every pixel where it belongs."""

import io

import numpy as np
import pytest
from PIL import Image

from citris_cli.show.grids import DIFFERENCE_GAIN, PADDING, image_grid, png_bytes, reconstruction_grid, triplet_grid


def frames(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def cell(picture: Image.Image, row: int, column: int, side: int, left: int = PADDING, top: int = PADDING) -> np.ndarray:
    """The pixels of one enlarged image."""
    x, y = left + column * (side + PADDING), top + row * (side + PADDING)
    return np.asarray(picture)[y : y + side, x : x + side]


@pytest.mark.parametrize(("size", "least", "scale"), [(32, 96, 3), (64, 96, 2), (128, 96, 1), (32, 32, 1), (32, 33, 2)])
def test_images_are_enlarged_by_a_whole_factor_without_smoothing(size: int, least: int, scale: int) -> None:
    first, second = frames(2, size), frames(1, size, seed=1)
    picture = image_grid([list(first), list(second)], cell=least)
    side = size * scale
    assert picture.mode == "RGB"
    assert picture.size == (2 * (side + PADDING) + PADDING, 2 * (side + PADDING) + PADDING)
    for row, column, image in ((0, 0, first[0]), (0, 1, first[1]), (1, 0, second[0])):
        np.testing.assert_array_equal(cell(picture, row, column, side), image.repeat(scale, 0).repeat(scale, 1))
    assert (cell(picture, 1, 1, side) == 255).all()  # a shorter row leaves its end empty
    assert (np.asarray(picture)[:PADDING] == 255).all()


def test_labels_stand_beside_and_above_the_images_and_not_on_them() -> None:
    rows = [list(frames(2)), list(frames(2, seed=1))]
    bare = image_grid(rows)
    labelled = image_grid(rows, ["original", "a much longer label"], ["one", "two"])
    left, top = labelled.width - bare.width + PADDING, labelled.height - bare.height + PADDING
    assert left > 100
    assert top > 10
    np.testing.assert_array_equal(np.asarray(labelled)[top:, left:], np.asarray(bare)[PADDING:, PADDING:])
    pixels = np.asarray(labelled)
    assert (pixels[top:, :left] < 128).any()
    assert (pixels[:top, left:] < 128).any()
    assert (pixels[:, left - 1] == 255).all()  # the longest label ends before the images


def test_long_labels_run_into_nothing() -> None:
    images = list(np.zeros((2, 32, 32, 3), np.uint8))
    names = [f"a_name_of_many_letters_{i}" for i in range(12)]
    wide = np.asarray(image_grid([images], column_labels=[names[0], names[1]]))
    apart = np.flatnonzero((wide < 255).any(axis=(0, 2)))
    assert (np.diff(apart) > 2 * PADDING).any()  # between the two labels
    assert (wide[:, -1] == 255).all()  # the last ends within the picture
    high = np.asarray(image_grid([images[:1], images[:1]], ["\n".join(names)] * 2))
    text = (high[:, : high.shape[1] - 96 - PADDING] < 128).any(axis=(1, 2))
    runs = np.flatnonzero(np.diff(np.concatenate([[0], text.astype(int), [0]])) == 1)
    assert len(runs) >= 2 * len(names)  # every line by itself


def test_reconstructions_lie_below_their_originals_above_the_difference() -> None:
    originals, reconstructions = frames(3), frames(3, seed=1)
    picture = reconstruction_grid(originals, reconstructions)
    left = picture.width - 3 * (96 + PADDING)
    difference = np.abs(originals.astype(int) - reconstructions.astype(int)) * DIFFERENCE_GAIN
    for row, images in enumerate((originals, reconstructions, difference.clip(0, 255))):
        for column, image in enumerate(images):
            found = cell(picture, row, column, 96, left)
            np.testing.assert_array_equal(found, image.repeat(3, 0).repeat(3, 1))


def test_triplets_lie_beside_their_predictions_with_the_names_of_what_comes_from_image_2() -> None:
    triplets, predictions = frames(6).reshape(2, 3, 32, 32, 3), frames(2, seed=1)
    picture = triplet_grid(triplets, predictions, np.array([[1, 1], [0, 0]]), ["x", "a long name"])
    rows = [[*triplet, prediction] for triplet, prediction in zip(triplets, predictions, strict=True)]
    labelled = image_grid(rows, ["x\na long name", "nothing"], ["image 1", "image 2", "truth", "prediction"])
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(labelled))


def test_png_round_trip() -> None:
    picture = image_grid([list(frames(2))])
    content = png_bytes(picture)
    assert content == png_bytes(picture)
    read = Image.open(io.BytesIO(content))
    assert read.format == "PNG"
    np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))
