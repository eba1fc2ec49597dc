"""Windows that CITRIS-VAE is trained on, the weight of its divergence, and what its validation measures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import WIDTHS, CitrisVAEConfig
from citris_cli.data.batches import window_starts
from citris_cli.data.frames import Frames, as_model_input
from citris_cli.training.citris_vae import CitrisVAETask
from citris_cli.training.config import VAETrainingConfig
from citris_cli.training.presets import CITRIS_VAE, vae_preset
from tests.training.tasks import loss_at

FRAMES, LENGTH = 20, 3


def make(evaluate: Callable[[], dict[str, float]] | None = None, held_out: bool = False, **options: Any):
    """A task on frames that each show their number in every pixel, with targets that count too."""
    pixels = np.broadcast_to(np.arange(FRAMES, dtype=np.uint8)[:, None, None, None], (FRAMES, 32, 32, 3)).copy()
    targets = torch.arange(FRAMES).unsqueeze(1) // torch.tensor([1, 2]) % 2
    sizes = CitrisVAEConfig(
        latents=3, variables=2, flow_layers=1, flow_hidden=2, hidden=3, width=32, channels=4, networks="small"
    )
    config = VAETrainingConfig(steps=10, batch_size=6, lr=1e-3, clip=1.0, seq_len=LENGTH, **options)
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    task = CitrisVAETask(
        CitrisVAE(sizes, torch.Generator().manual_seed(0)),
        Frames([pixels]),
        window_starts(torch.arange(FRAMES - 1), LENGTH),
        targets.to(torch.uint8),
        Frames([pixels[::-1].copy()[:7]]) if held_out else None,
        config,
        evaluate,
        lambda *pictures: shown.append(pictures),
    )
    return task, targets, shown


def test_windows_do_not_cross_shards() -> None:
    # Shards of 5, 2, 1 and 4 frames.
    starts = torch.tensor([0, 1, 2, 3, 5, 8, 9, 10])
    expected = {2: starts.tolist(), 3: [0, 1, 2, 8, 9], 4: [0, 1, 8], 5: [0], 6: [], 50: []}
    assert {length: window_starts(starts, length).tolist() for length in expected} == expected


def test_a_batch_is_windows_with_the_targets_of_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    task, targets, _ = make()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = task.model.loss

    def loss(frames: torch.Tensor, given: torch.Tensor, *rest: Any):
        seen.append((frames, given))
        return original(frames, given, *rest)

    monkeypatch.setattr(task.model, "loss", loss)
    for step in range(3):  # 18 windows, in batches of 6
        loss_at(task, step)
    firsts = []
    for frames, given in seen:
        assert frames.shape == (6, LENGTH, 3, 32, 32)
        numbers = ((frames + 1) * 127.5).round().long()
        assert (numbers == numbers[..., :1, :1, :1]).all()
        places = numbers[:, :, 0, 0, 0]
        assert (places.diff(dim=1) == 1).all()
        assert torch.equal(given.long(), targets[places[:, :-1]])
        firsts += places[:, 0].tolist()
    assert sorted(firsts) == list(range(FRAMES - LENGTH + 1))


def betas(**options: Any) -> list[float]:
    config = VAETrainingConfig(steps=100, batch_size=1, lr=1e-3, clip=1.0, **options)
    return [config.schedule(step / 100)["beta"] for step in range(100)]


def test_the_divergences_weight_rises_to_its_own_and_stays_there() -> None:
    factors = betas(kl_warmup=40, kl_start=0.01)
    assert factors[0] == pytest.approx(0.01)
    assert factors[20] == pytest.approx(0.1)
    assert all(earlier < later for earlier, later in pairwise(factors[:41]))
    assert set(factors[40:]) == {1.0}
    assert set(betas()) == {1.0}


def test_it_may_rise_above_its_own_for_a_while() -> None:
    factors = betas(kl_warmup=40, kl_start=0.04, kl_peak=4.0, kl_hold=0.6)
    assert factors[20] == pytest.approx(0.4)
    assert factors[40:60] == [4.0] * 20
    assert factors[60:] == [1.0] * 40
    # A warm-up that takes longer ends at 1.
    factors = betas(kl_warmup=80, kl_start=0.01, kl_peak=4.0, kl_hold=0.5)
    assert factors[50] == pytest.approx(0.01 * 400 ** (50 / 80))
    assert all(earlier <= later for earlier, later in pairwise(factors))
    assert factors[-1] == 1.0


def test_the_loss_has_the_steps_weight() -> None:
    task, *_ = make(kl_warmup=4, kl_start=0.25)
    for step, beta in ((0, 0.25), (2, 0.5), (4, 1.0)):
        loss, parts = loss_at(task, step)
        expected = beta * parts["kl"] + parts["reconstruction"] + 2 * (parts["classifier"] + parts["latents"])
        torch.testing.assert_close(loss.detach(), expected)


def test_the_first_batch_sets_the_flow() -> None:
    task, *_ = make()
    task.begin(torch.Generator().manual_seed(0))
    assert bool(task.model.flow.transforms[0].initialised)


@pytest.mark.parametrize("held_out", [True, False])
def test_what_a_validation_measures_and_shows(held_out: bool) -> None:
    asked: list[bool] = []

    def evaluate() -> dict[str, float]:
        asked.append(task.model.training)
        return {"val_score": 0.5}

    task, targets, shown = make(evaluate, held_out)
    assert task.criterion == "val_score"
    task.model.train()
    measures = task.validate()
    assert asked == [False]  # in evaluation mode
    assert set(measures) == {
        "train_kl", "train_reconstruction", "val_mse" if held_out else "train_mse", "val_score"
    }  # fmt: skip

    model, numbers = task.model.eval(), torch.arange(FRAMES, dtype=torch.uint8)
    images = as_model_input(numbers.view(-1, 1, 1, 1).expand(-1, 32, 32, 3))
    places = torch.arange(FRAMES - LENGTH + 1)[:, None] + torch.arange(LENGTH)
    with torch.no_grad():
        _, parts = model.loss(images[places], targets[places[:, :-1]], torch.Generator().manual_seed(0))
        measured = images.flip(0)[:7] if held_out else images
        mse = (model.decode(model.encode(measured)) - measured).square().mean()
    assert measures["train_kl"] == pytest.approx(float(parts["kl"]), rel=1e-4)
    assert measures["train_reconstruction"] == pytest.approx(float(parts["reconstruction"]), rel=1e-4)
    assert measures["val_mse" if held_out else "train_mse"] == pytest.approx(float(mse), rel=1e-4)
    ((originals, reconstructions),) = shown
    assert originals.shape == reconstructions.shape == ((7 if held_out else 8), 32, 32, 3)
    assert originals[0, 0, 0, 0] == (FRAMES - 1 if held_out else 0)
    assert make()[0].criterion is None


@pytest.mark.parametrize("preset", CITRIS_VAE)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_preset_makes_a_model_of_every_width(preset: str, width: int) -> None:
    config, _ = vae_preset(preset, width)
    assert config.width == width
    assert config.networks == ("small" if (preset, width) == ("paper", 32) else "pyramid")
    assert (config.latents < CITRIS_VAE[preset][0].latents) == ((preset, width) == ("small", 32))
    with torch.device("meta"):
        model = CitrisVAE(config)
        frames = torch.empty(2, 2, 3, width, width)
        assert model.encode(frames[:, 0]).shape == (2, config.latents)
