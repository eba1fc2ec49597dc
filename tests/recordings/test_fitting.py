import numpy as np
import pytest

from citris_cli.errors import InputError
from citris_cli.recordings.fitting import Fitting, fitted, parse_crop


def half(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Black on the left, white on the right."""
    frame = np.zeros((height, width, channels), np.uint8)
    frame[:, width // 2 :] = 255
    return frame


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [32, 48, 256])
def test_every_form_becomes_square(channels: int, fit: str, size: int) -> None:
    made = Fitting(size, fit).apply(half(60, 100, channels))
    assert made.shape == (size, size, channels)
    assert made.dtype == np.uint8
    middle = made[size // 2]
    assert (middle[: size // 4] == 0).all()
    assert (middle[-size // 4 :] == 255).all()


def test_what_is_cut_off_and_what_is_added() -> None:
    frame = np.full((60, 100, 3), 200, np.uint8)
    frame[:, :20] = frame[:, 80:] = 7
    assert (Fitting(32, "crop").apply(frame) == 200).all()
    padded = Fitting(100, "pad").apply(frame)
    assert (padded[:20] == 0).all()
    assert (padded[80:] == 0).all()
    np.testing.assert_array_equal(padded[20:80], frame)
    assert (Fitting(32, "stretch").apply(frame)[:, :4] == 7).all()
    assert (Fitting(32, crop=(20, 0, 60, 60)).apply(frame) == 200).all()


def test_frames_of_the_size_stay_as_they_are() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (48, 48, 4), np.uint8)
    np.testing.assert_array_equal(Fitting(48).apply(frame), frame)


def test_the_fourth_channel_is_no_alpha() -> None:
    """Where it is 0, the others keep their values."""
    frame = np.full((64, 64, 4), 90, np.uint8)
    frame[..., 3] = 0
    made = Fitting(32).apply(frame)
    assert (made[..., :3] == 90).all()
    assert (made[..., 3] == 0).all()


def test_grey_keeps_what_is_no_colour() -> None:
    frame = np.zeros((32, 32, 5), np.uint8)
    frame[..., 1], frame[..., 3], frame[..., 4] = 255, 11, 12
    made = Fitting(32, grey=True).apply(frame)
    assert made[0, 0].tolist() == [150, 11, 12]
    assert Fitting(32, grey=True).channels(5) == 3


@pytest.mark.parametrize("text", ["1,2,3", "a,b,c,d", "0,0,0,5", "-1,0,5,5", "0,0,99999999999,1"])
def test_what_is_no_crop(text: str) -> None:
    with pytest.raises(InputError, match="write X,Y,W,H"):
        parse_crop(text)


def test_a_crop_beyond_the_frame_is_refused() -> None:
    with pytest.raises(InputError, match=r"which end before 110×10"):
        Fitting(32, crop=(100, 0, 10, 10)).check((105, 60), "film.mp4")


def test_frames_come_in_order_from_several_cores() -> None:
    frames = (np.full((70, 70, 3), number % 256, np.uint8) for number in range(300))
    assert [int(one[0, 0, 0]) for one in fitted(frames, Fitting(32))] == [number % 256 for number in range(300)]


def test_what_goes_wrong_in_a_frame_is_told() -> None:
    frames = [np.zeros((40, 40, 3), np.uint8), np.zeros((20, 40, 3), np.uint8)]
    with pytest.raises(InputError, match="--crop"):
        list(fitted(frames, Fitting(32, crop=(0, 0, 32, 32))))
