from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from citris_cli.core.config import MOST_CHANNELS, WIDTHS
from citris_cli.data.frames import (
    Frames,
    as_model_input,
    check_frames_shape,
    encode_frames,
    frames_at_once,
    is_grey,
    joined,
    load_frames,
    nearest_widths,
)
from citris_cli.data.intensities import to_uint8_frames
from citris_cli.data.npz import open_npz
from citris_cli.errors import ChangedDataError, InputError
from tests.data.memory import grown_by, most_resident, needs_proc


def pixels(n: int, channels: int = 3, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, channels), dtype=np.uint8)


def test_gather_from_one_and_from_several_parts() -> None:
    whole = pixels(20)
    index = torch.tensor([19, 0, 7, 7, 8, 3])
    expected = torch.from_numpy(whole)[index]
    for cuts in ([], [7], [1, 8, 19]):
        frames = Frames(np.split(whole, cuts))
        assert len(frames) == 20
        assert (frames.height, frames.width) == (32, 32)
        assert torch.equal(frames.gather(index), expected)
        assert torch.equal(torch.cat(list(frames.chunks(6))), torch.from_numpy(whole))
        assert len(frames.slice(18, 25)) == 2
        with pytest.raises(IndexError):
            frames.gather(torch.tensor([20]))
        with pytest.raises(IndexError):
            frames.gather(torch.tensor([-1]))


def test_alpha_is_cut_off_after_the_gather() -> None:
    rgba, rgb = pixels(5, 4), pixels(5, 3, seed=1)
    index = torch.tensor([4, 9, 0])
    alone = Frames([rgba], 3).gather(torch.tensor([4, 0]))
    assert torch.equal(alone, torch.from_numpy(rgba[[4, 0], ..., :3]))
    assert torch.equal(Frames([rgba]).gather(torch.tensor([4, 0])), torch.from_numpy(rgba[[4, 0]]))
    mixed = Frames([rgba, rgb]).gather(index)
    assert torch.equal(mixed, torch.from_numpy(np.stack([rgba[4, ..., :3], rgb[4], rgba[0, ..., :3]])))


def test_frames_of_different_sizes_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="agree"):
        Frames([pixels(2), np.zeros((2, 64, 64, 3), np.uint8)])
    with pytest.raises(ValueError, match="parts"):
        Frames([])
    with pytest.raises(ValueError, match="4 channels"):
        Frames([pixels(2)], 4)


@pytest.mark.parametrize(("stored", "channels"), [(3, 3), (4, 3), (4, 4), (1, 1), (8, 8)])
def test_model_input_range_and_memory_format(stored: int, channels: int) -> None:
    frames = pixels(4, stored)
    frames[0, 0, 0, :channels], frames[0, 0, 1, :channels] = 0, 255
    x = as_model_input(Frames([frames], channels).gather(torch.arange(4)))
    assert x.shape == (4, channels, 32, 32)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x[0, :, 0, 0].tolist() == [-1] * channels
    assert x[0, :, 0, 1].tolist() == [1] * channels
    expected = frames[..., :channels].transpose(0, 3, 1, 2).astype(np.float64) / 255 * 2 - 1
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.int64, np.uint16, np.int8, bool])
def test_conversion_of_number_types(dtype: Any) -> None:
    source = np.array([0, 0.2, 0.5, 1]) if np.dtype(dtype).kind == "f" else np.array([0, 1, 100, 127])
    array = np.resize(source, (3, 32, 32, 3)).astype(dtype)
    frames, notes = to_uint8_frames(array, "x")
    assert not notes
    assert frames.dtype == np.uint8
    expected = {"f": [0, 51, 128, 255], "b": [0, 255, 255, 255]}.get(np.dtype(dtype).kind, [0, 1, 100, 127])
    np.testing.assert_array_equal(frames.flat[:4], expected)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (np.float32, 200.0, "frame 5 holds the value 200; floats need 0…1, so divide by 255"),
        (np.float32, -0.1, "frame 5 holds the value -0.1; floats need 0…1 or −1…1, and must be finite"),
        (np.float64, np.nan, "frame 5 holds the value nan"),
        (np.float32, -1.5, "frame 5 holds the value -1.5; floats need"),
        (np.float16, np.inf, "frame 5 holds the value inf"),
        (np.int64, 256, "frame 5 holds the value 256; integers need 0…255"),
        (np.int8, -1, "frame 5 holds the value -1"),
    ],
)
def test_values_out_of_range_name_the_first_bad_frame(
    dtype: Any, value: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small pieces, so that the bad frame is not in the first of them.
    monkeypatch.setattr("citris_cli.data.intensities.PIECE", 40_000)
    array = np.zeros((9, 32, 32, 3), dtype=dtype)
    array[5, 3, 3, 1] = array[7, 0, 0, 0] = value
    with pytest.raises(InputError) as caught:
        to_uint8_frames(array, "d.npz: key 'imgs'")
    assert f"d.npz: key 'imgs', {message}" in str(caught.value)


def test_values_that_are_no_numbers() -> None:
    with pytest.raises(InputError, match="which cannot be pixels"):
        to_uint8_frames(np.full((2, 32, 32, 3), "a"), "x")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (5, 48, 40, 3),
            "40×48; citris needs square frames, a multiple of 16 from 32 to 256 pixels wide, such as 32 or 48: "
            "'citris pack SOURCE -o DATA --size 32' makes them",
        ),
        ((5, 72, 72, 3), "72×72; citris needs square frames, a multiple of 16 from 32 to 256 pixels wide, such as 64"),
        ((5, 16, 16, 3), "16×16; citris needs square frames, a multiple of 16 from 32 to 256 pixels wide, such as 32:"),
        ((5, 480, 640, 3), "640×480; citris needs square frames, a multiple of 16 from 32 to 256 pixels wide, such as"),
        ((5, 80, 64, 3), "'citris pack SOURCE -o DATA --size 64' makes them"),
        ((20, 12, 300, 300), "300×300"),
        ((5, 72, 72), "72×72"),
        ((5, 3, 64, 64), "channels first; put them last with np.moveaxis(frames, -3, -1)"),
        ((5, 3, 3, 64, 64), "channels first"),
        ((5, 4, 48, 40), "channels first"),
        ((5, 64, 64, 9), "9 channels a frame; citris takes 1 to 8"),
        ((5, 64, 64, 0), "no frames"),
        ((5, 48, 40), "40×48"),
        ((64, 64), "a single frame as frame[None]"),
        ((64, 64, 3), "a single frame as frame[None]"),
        ((64,), "shape [64]"),
        ((5, 2, 2, 64, 64, 3), "frames need [frames, height, width, channels]"),
        ((0, 64, 64, 3), "no frames"),
    ],
)
def test_shapes_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_frames_shape(shape, "d.npz: key 'imgs'")
    assert message in str(caught.value)
    assert str(caught.value).startswith("d.npz: key 'imgs'")


@pytest.mark.parametrize(
    ("side", "near"),
    [(1, (32,)), (32, (32,)), (33, (32, 48)), (47, (32, 48)), (48, (48,)), (250, (240, 256)), (999, (256,))],
)
def test_the_nearest_widths(side: int, near: tuple[int, ...]) -> None:
    assert nearest_widths(side) == near


@pytest.mark.parametrize("size", WIDTHS)
def test_frames_are_grey_where_they_end_in_height_and_width(size: int) -> None:
    assert is_grey((5, size, size))
    assert is_grey((5, 3, size, size))
    assert is_grey((size, size, size))
    for channels in range(1, MOST_CHANNELS + 1):
        assert not is_grey((5, size, size, channels))
        assert not is_grey((5, channels, size, size, channels))


def test_wide_frames_go_through_a_network_fewer_at_a_time() -> None:
    assert {frames_at_once(width) for width in (32, 48, 64, 128)} == {256}
    assert frames_at_once(256) == 64
    assert all(frames_at_once(width) * width**2 <= 256 * 128**2 for width in WIDTHS)


@pytest.mark.parametrize("size", WIDTHS)
def test_shapes_accepted(size: int) -> None:
    for channels in range(1, 9):
        check_frames_shape((1, size, size, channels), "x")
    check_frames_shape((5, size, size), "x")
    check_frames_shape((1, 3, size, size, 4), "x")
    check_frames_shape((2, 20, size, size), "x")


def test_mapped_frames_equal_compressed_ones(tmp_path: Path) -> None:
    frames = pixels(30, 4)
    np.savez(tmp_path / "a.npz", imgs=frames)
    np.savez_compressed(tmp_path / "b.npz", imgs=frames)
    index = torch.randperm(30)
    with open_npz(tmp_path / "a.npz") as a, open_npz(tmp_path / "b.npz") as b:
        mapped, packed = Frames([load_frames(a, "imgs")[0]]), Frames([load_frames(b, "imgs")[0]])
    assert torch.equal(mapped.gather(index), packed.gather(index))
    assert torch.equal(mapped.gather(index), torch.from_numpy(frames)[index])


def test_frames_that_change_under_a_reader_are_refused(tmp_path: Path) -> None:
    path, others = tmp_path / "a.npz", pixels(30, 3, seed=1)
    np.savez(path, imgs=pixels(30, 3))
    np.savez_compressed(tmp_path / "b.npz", imgs=pixels(30, 3))
    with open_npz(path) as a, open_npz(tmp_path / "b.npz") as b:
        mapped, packed = Frames([load_frames(a, "imgs")[0]]), Frames([load_frames(b, "imgs")[0]])

    def changing(images: torch.Tensor) -> torch.Tensor:
        np.savez(path, imgs=others)
        np.savez_compressed(tmp_path / "b.npz", imgs=others)
        return images.flatten(1)

    cpu = torch.device("cpu")
    with pytest.raises(ChangedDataError, match=r"a.npz: was overwritten while it was read; restore it and run"):
        encode_frames(changing, mapped, cpu)
    encode_frames(changing, packed, cpu)  # it holds what it read
    assert torch.equal(packed.slice(0, 30), torch.from_numpy(pixels(30, 3)))
    mapped._look_at = 0.0
    with pytest.raises(ChangedDataError):
        mapped.gather(torch.tensor([3]))


@needs_proc
def test_compressed_floats_leave_only_their_bytes_in_memory(tmp_path: Path) -> None:
    frames = np.zeros((2500, 64, 64, 3), np.float32)
    frames[:, 7] = 0.5
    frames[:, 8:16] = np.random.default_rng(0).random((2500, 8, 8, 1), np.float32).repeat(8, 2)
    np.savez_compressed(tmp_path / "a.npz", imgs=frames)
    imports = "from citris_cli.data.frames import load_frames\nfrom citris_cli.data.npz import open_npz"
    code = "frames = load_frames(open_npz(Path(sys.argv[1])), 'imgs').frames\nassert (frames[:, 7] == 128).all()"
    assert frames.nbytes / 5 < grown_by(imports, code, tmp_path / "a.npz") < frames.nbytes / 2


def test_floats_that_would_not_fit_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", imgs=np.zeros((4, 32, 32, 3), np.float64))
    monkeypatch.setattr("citris_cli.data.npz.available_memory", lambda: 4 * 32 * 32 * 3)
    with open_npz(tmp_path / "a.npz") as file:
        assert load_frames(file, "imgs")[0].shape == (4, 32, 32, 3)
        monkeypatch.setattr("citris_cli.data.npz.available_memory", lambda: 4 * 32 * 32 * 3 - 1)
        with pytest.raises(InputError, match="memory"):
            load_frames(file, "imgs")


def test_moving_to_the_cpu_changes_nothing() -> None:
    frames = Frames([pixels(4)])
    moved = frames.to("cpu")
    assert moved.storage == moved.device == torch.device("cpu")
    assert torch.equal(moved.gather(torch.arange(4)), frames.gather(torch.arange(4)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fits", [True, False])
def test_frames_on_an_accelerator(fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fits:
        monkeypatch.setattr("citris_cli.data.frames._free_memory", lambda device: 1000)
    frames = Frames([pixels(40, 4), pixels(30, 3, seed=1)])
    moved = frames.to("cuda")
    assert (moved.storage == moved.device) == fits
    index = torch.randperm(70)
    for at in (index, index.cuda()):
        batch = moved.gather(at)
        assert batch.device.type == "cuda"
        assert torch.equal(batch.cpu(), frames.gather(index))
    assert torch.equal(torch.cat(list(moved.chunks(9))).cpu(), frames.slice(0, 70))
    assert as_model_input(moved.gather(index)).is_contiguous(memory_format=torch.channels_last)
    assert moved.to("cpu").gather(index).device.type == "cpu"


#: Reads frames at random and then in order, and looks at the memory after each batch.
GATHERING = """
module._RELEASE_EVERY = int(sys.argv[2])
with open_npz(Path(sys.argv[1])) as file:
    frames = module.Frames([module.load_frames(file, "imgs")[0]])
look()
generator = torch.Generator().manual_seed(0)
for _ in range(30):
    frames.gather(torch.randint(len(frames), (256,), generator=generator))
    look()
for batch in frames.chunks(256):
    look()
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "a.npz"
    np.savez(path, imgs=np.ones((8_000, 64, 64, 3), dtype=np.uint8))
    return path


@needs_proc
@pytest.mark.parametrize(("release_every", "bounded"), [(16 << 20, True), (1 << 40, False)])
def test_resident_memory_stays_bounded(large: Path, release_every: int, bounded: bool) -> None:
    imports = "import torch\nfrom citris_cli.data import frames as module\nfrom citris_cli.data.npz import open_npz"
    # Without the releases the same walk holds nearly the whole file: the test can fail.
    assert (most_resident(imports, GATHERING, large, release_every) < 0.6 * large.stat().st_size) == bounded


def test_taking_over_mapped_parts_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What `to` does for an accelerator, on the CPU.
    monkeypatch.setattr("citris_cli.data.frames._CHUNK", 10_000)
    np.savez(tmp_path / "a.npz", imgs=pixels(11, 4))
    with open_npz(tmp_path / "a.npz") as file:
        frames = Frames([load_frames(file, "imgs")[0], pixels(5, 3, seed=1)])
    whole = frames._moved(torch.device("cpu"), 32 * 32 * 3)
    assert whole.is_contiguous()
    assert torch.equal(whole, frames.slice(0, 16))


def test_frames_of_minus_one_to_one_are_scaled_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citris_cli.data.intensities.PIECE", 40_000)
    array = np.full((9, 32, 32, 3), 0.2, np.float32)
    array[2, 0, 0] = -0.2  # read as one that rings, until a later frame shows what black is
    array[7, 0, 0], array[8, 0, 0] = -1, 1
    frames, notes = to_uint8_frames(array, "d.npz: key 'imgs'")
    assert frames[[0, 2, 7, 8], 0, 0, 0].tolist() == [153, 102, 0, 255]
    assert notes == ("d.npz: key 'imgs': values from −1 to 1, read as −1 for black and 1 for white",)
    array[7, 0, 0] = -1.2
    with pytest.raises(InputError, match=r"frame 7 holds the value -1\.2; floats need −1…1"):
        to_uint8_frames(array, "x")


def test_full_range_uint16_is_scaled_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citris_cli.data.intensities.PIECE", 40_000)
    array = np.zeros((9, 32, 32, 3), np.uint16)
    array[0, 0, 0], array[8, 0, 0] = 257, 65535
    frames, notes = to_uint8_frames(array, "x")
    assert frames[[0, 8], 0, 0, 0].tolist() == [1, 255]
    assert notes == ("x: 16 bits a value, read as 0…65535 (the largest is 65,535)",)
    array[8, 0, 0] = 4095
    assert "12 bits each" in to_uint8_frames(array, "x")[1][0]


def test_grey_frames_get_an_axis_of_channels(tmp_path: Path) -> None:
    grey = pixels(6, 1)
    for array in (grey, grey[..., 0], grey[..., 0] / np.float64(255)):
        np.savez(tmp_path / "a.npz", imgs=array)
        with open_npz(tmp_path / "a.npz") as file:
            found, notes, scale = load_frames(file, "imgs")
        assert scale == ("" if array.dtype == np.uint8 else "0…1")
        np.testing.assert_array_equal(found, grey)
        assert not notes


def test_a_fourth_channel_that_never_changes_is_alpha() -> None:
    opaque = pixels(6, 4)
    opaque[..., 3] = 255
    frames, notes = joined([opaque[:2], opaque[2:]], ["a", "b"])
    assert frames.channels == 3
    assert notes == ("the fourth channel is 255 in every frame: taken for alpha and dropped",)
    assert joined([opaque, pixels(2)], ["a", "b"])[0].channels == 3
    # What a model was trained on decides, whatever its fourth channel holds.
    assert joined([opaque], ["a"], channels=4)[0].channels == 4


def test_a_fourth_channel_that_changes_is_data() -> None:
    still, moving = np.zeros((6, 32, 32, 4), np.uint8), np.zeros((6, 32, 32, 4), np.uint8)
    moving[5, 31, 31, 3] = 1
    for parts in ([moving], [still, moving], [still, still + np.uint8(1)]):
        frames, notes = joined(parts, ["a"] * len(parts))
        assert frames.channels == 4
        assert not notes
    frames, notes = joined([moving], ["a"], channels=3)
    assert frames.channels == 3
    assert notes == ("the fourth channel varies, and is dropped: the model was trained on 3",)
    with pytest.raises(InputError, match="b: frames have 4 channels and those of a 3 channels; make them the same"):
        joined([pixels(2), moving], ["a", "b"])
    with pytest.raises(InputError, match="a: frames have 3 channels, and the model was trained on 4 channels"):
        joined([pixels(2)], ["a"], channels=4)
    with pytest.raises(InputError, match="a: frames have 1 channel, and the model was trained on 3 channels"):
        joined([pixels(2, 1)], ["a"], channels=3)
