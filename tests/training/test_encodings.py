"""Encodings of a dataset: in order, computed once, never taken for those of other data or other weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig
from citris_cli.data.frames import Frames, as_model_input, encode_frames
from citris_cli.errors import InputError
from citris_cli.training.encodings import cached_encodings, weights_sha256

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)


def make(seed: int = 0) -> Autoencoder:
    config = AutoencoderConfig(width=32, latents=3, channels=4, patch=2)
    return Autoencoder(config, torch.Generator().manual_seed(seed)).eval()


def encode(autoencoder: Autoencoder, pixels: np.ndarray = PIXELS) -> Tensor:
    with torch.no_grad():
        return autoencoder.encode(as_model_input(torch.from_numpy(pixels)))


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100])
def test_all_frames_in_order(batch_size: int) -> None:
    frames = Frames([PIXELS[:5], PIXELS[5:]])
    seen: list[int] = []

    def encoder(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images.mean((1, 2, 3)).unsqueeze(1).bfloat16()

    encodings = encode_frames(encoder, frames, CPU, batch_size)
    assert encodings.dtype == torch.float32
    expected = as_model_input(torch.from_numpy(PIXELS)).mean((1, 2, 3)).unsqueeze(1)
    torch.testing.assert_close(encodings, expected, rtol=0, atol=1e-3)
    assert max(seen) <= batch_size
    assert sum(seen) == 11


def test_no_gradient_is_kept() -> None:
    assert not encode_frames(make().encode, Frames([PIXELS]), CPU).requires_grad


def cached(autoencoder: Autoencoder, folder: Path, data: str = "a", frames: np.ndarray = PIXELS):
    return cached_encodings(autoencoder, Path("ae.safetensors"), Frames([frames]), data, folder, CPU)


def test_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    autoencoder = make()
    first, path, read = cached(autoencoder, tmp_path)
    assert path is not None
    assert path.parent == tmp_path
    assert not read
    torch.testing.assert_close(first, encode(autoencoder))
    monkeypatch.setattr(autoencoder, "encode", None)  # not called again
    second, again, read = cached(autoencoder, tmp_path)
    assert read
    assert again == path
    assert torch.equal(first, second)


def test_other_data_and_other_weights_have_encodings_of_their_own(tmp_path: Path) -> None:
    autoencoder = make()
    _, path, _ = cached(autoencoder, tmp_path)
    _, other_data, read = cached(autoencoder, tmp_path, data="b")
    assert not read
    with torch.no_grad():
        next(autoencoder.parameters()).view(-1)[0].add_(1e-6)
    changed, other_weights, read = cached(autoencoder, tmp_path)
    assert not read
    assert len({path, other_data, other_weights}) == 3
    torch.testing.assert_close(changed, encode(autoencoder))


def test_a_cache_that_cannot_be_right_is_computed_again(tmp_path: Path) -> None:
    autoencoder = make()
    right, path, _ = cached(autoencoder, tmp_path)
    assert path is not None
    whole = path.read_bytes()
    contents = read_model(path)
    key = contents.config["key"]
    wrong = [
        whole[:-5],
        b"",
        ModelFile("encodings", {"key": "another"}, None, {}, {"encodings": right + 1}),
        ModelFile("encodings", {"key": key}, None, {}, {"encodings": right[:4]}),
        ModelFile("encodings", {"key": key}, None, {}, {"other": right}),
        ModelFile("encodings", {}, None, {}, {"encodings": right + 1}),
        ModelFile("encodings", {"key": key}, None, {}, {"encodings": right.log()}),
    ]
    for content in wrong:
        path.write_bytes(content) if isinstance(content, bytes) else write_model(path, content)
        encodings, _, read = cached(autoencoder, tmp_path)
        assert not read
        assert torch.equal(encodings, right)
        assert path.read_bytes() == whole  # and the file is whole again


@pytest.mark.parametrize("keeps", [True, False])
def test_encodings_that_are_not_finite_are_refused_and_not_kept(tmp_path: Path, keeps: bool) -> None:
    autoencoder = make()
    with torch.no_grad():
        for weight in autoencoder.parameters():
            weight.mul_(1e30)
    assert all(bool(weight.isfinite().all()) for weight in autoencoder.parameters())
    says = r"^ae.safetensors: this autoencoder gives \d+ of 11 frames encodings that are not finite; train another one$"
    with pytest.raises(InputError, match=says):
        cached_encodings(autoencoder, Path("ae.safetensors"), Frames([PIXELS]), "a", tmp_path if keeps else None, CPU)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_changes_under_a_training_changes_nothing_of_it(tmp_path: Path) -> None:
    autoencoder = make()
    right, path, _ = cached(autoencoder, tmp_path)
    assert path is not None
    encodings, _, read = cached(autoencoder, tmp_path)
    assert read
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert torch.equal(encodings, right)


def test_a_folder_that_takes_no_file_costs_only_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    autoencoder = make()
    encodings, path, read = cached(autoencoder, tmp_path / "file")
    assert (path, read) == (None, False)
    torch.testing.assert_close(encodings, encode(autoencoder))
    assert os.listdir(tmp_path) == ["file"]


def test_the_hash_of_weights_knows_names_shapes_types_and_values_and_not_their_order() -> None:
    weights = {"a": torch.arange(6.0), "b": torch.tensor(True), "c": torch.empty(0)}
    whole = weights_sha256(weights)
    assert weights_sha256(dict(reversed(weights.items()))) == whole
    changed = [
        {**weights, "a": torch.arange(6.0).view(2, 3)},
        {**weights, "a": torch.arange(6.0).int()},
        {**weights, "a": torch.arange(6.0) + torch.tensor([0, 0, 0, 0, 0, 1e-6])},
        {**weights, "b": torch.tensor(False)},
        {"a2": weights["a"], "b": weights["b"], "c": weights["c"]},
        {"a": weights["a"], "b": weights["b"]},
    ]
    assert len({whole, *map(weights_sha256, changed)}) == 7
    assert weights_sha256({"a": torch.arange(12.0)[::2]}) == weights_sha256({"a": torch.arange(12.0)[::2].contiguous()})
