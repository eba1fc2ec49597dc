"""What augmented frames keep and what they lose, and that the generator decides it."""

from __future__ import annotations

import pytest
import torch

from citris_cli.core import augmentation
from citris_cli.core.augmentation import BRIGHTNESS, CONTRAST, SHIFT, SIDE, SQUARES, augmented


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_squares_are_hidden_and_all_else_is_lit_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "SHIFT", 0)
    images = torch.rand(500, 3, 64, 64, generator=seeded()) + 0.5  # nowhere 0
    seen = augmented(images, seeded(1))
    hidden = (seen == 0).all(1)
    side = round(SIDE * 64)
    counts = hidden.flatten(1).sum(1)
    assert (counts >= side**2).all()  # one square over another
    assert (counts <= SQUARES * side**2).all()
    assert hidden.float().mean((0, 1)).max() < 1  # not always in the same place
    rows = hidden.any(2)
    assert (rows.sum(1) >= side).all()
    assert (rows.sum(1) <= SQUARES * side).all()
    shown = ~hidden.unsqueeze(1).expand_as(images)
    differences = torch.stack([(a - b)[c].mean() for a, b, c in zip(seen, images, shown, strict=True)])
    assert abs(differences.mean()) < 0.04
    # Of images around 1: contrast and brightness together.
    assert abs(differences.std() - (CONTRAST**2 + BRIGHTNESS**2) ** 0.5) < 0.03


def test_frames_are_shifted_both_ways_and_repeat_their_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONTRAST", "BRIGHTNESS", "NOISE", "SQUARES"):
        monkeypatch.setattr(augmentation, name, 0)
    width, reach = 32, round(SHIFT * 32)
    rows, columns = torch.meshgrid(torch.arange(float(width)), torch.arange(float(width)), indexing="ij")
    image = torch.stack([rows, columns])
    seen = augmented(image.expand(400, -1, -1, -1), seeded(1))
    # In the middle, no edge is seen.
    by = (seen - image)[:, :, width // 2, width // 2].long()
    assert set(map(tuple, by.tolist())) >= {(-reach, reach), (reach, -reach), (0, 0)}
    assert by.abs().max() == reach
    for one, (down, right) in zip(seen, by.tolist(), strict=True):
        assert torch.equal(one[0], (rows + down).clamp(0, width - 1))
        assert torch.equal(one[1], (columns + right).clamp(0, width - 1))


def test_the_generator_decides_and_images_stay() -> None:
    images = torch.rand(3, 4, 32, 32, generator=seeded()) * 2 - 1
    before = images.clone()
    one, two, other = augmented(images, seeded(1)), augmented(images, seeded(1)), augmented(images, seeded(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(images, before)
    assert one.shape == images.shape
