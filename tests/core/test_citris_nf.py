"""CITRIS-NF as a whole: encoding and decoding, the frozen autoencoder, a loss that falls."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import (
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CitrisNFConfig,
    MLPPriorConfig,
    PriorConfig,
)
from tests.core.priors.steps import given

LATENTS, VARIABLES = 6, 2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(seed: int = 0, **options) -> CitrisNF:
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=LATENTS, channels=4, patch=2), seeded(seed))
    sizes = {"flow_layers": 2, "flow_hidden": 4, "samples": 3, "hidden": 8} | options
    return CitrisNF(CitrisNFConfig(latents=LATENTS, variables=VARIABLES, **sizes), autoencoder, seeded(seed))


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=seeded(1)) * 2 - 1


def world(pairs: int = 256) -> tuple[Tensor, Tensor]:
    """Encodings [B, 2, M] of two variables that are mixed, each redrawn where it is intervened on; targets [B, K]."""
    mixing = torch.randn(LATENTS, LATENTS, generator=seeded(2))
    before = torch.randn(pairs, LATENTS, generator=seeded(3))
    targets = (torch.rand(pairs, VARIABLES, generator=seeded(4)) < 0.3).int()
    after = 0.9 * before + 0.1 * torch.randn(pairs, LATENTS, generator=seeded(5))
    redrawn = torch.randn(pairs, VARIABLES, generator=seeded(6))
    after[:, :VARIABLES] = torch.where(targets.bool(), redrawn, after[:, :VARIABLES])
    return torch.stack([before, after], dim=1) @ mixing, targets


def test_decoding_an_encoding_is_the_autoencoders_reconstruction() -> None:
    model = make().eval()
    model.initialise_flow(model.autoencoder.encode(images(64)), seeded(2))
    with torch.no_grad():
        encodings = model.autoencoder.encode(images())
        z = model.encode(images())
        assert not torch.allclose(z, encodings, atol=0.1)  # the flow does something
        torch.testing.assert_close(model.flow.inverse(z), encodings, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model.decode(z), model.autoencoder.decode(encodings), rtol=1e-3, atol=1e-3)
        same = model.combine(z, z, torch.ones(4, VARIABLES))
        assert torch.equal(same, z)


def test_noisy_latents_are_those_of_encodings_with_the_noise_of_training() -> None:
    model, frames = make(), images(500)
    with torch.no_grad():
        z = model.encode_noisy(frames, seeded(3))
        added = (model.flow.inverse(z) - model.autoencoder.encode(frames)) / model.config.noise
        assert torch.equal(z, model.encode_noisy(frames, seeded(3)))
    torch.testing.assert_close(added.mean(0), torch.zeros(added.shape[1]), atol=0.2, rtol=0)
    torch.testing.assert_close(added.std(0), torch.ones(added.shape[1]), atol=0.15, rtol=0)


def test_the_autoencoder_stays_frozen_and_in_evaluation_mode() -> None:
    model = make()
    before = copy.deepcopy(model.autoencoder.state_dict())
    assert not any(parameter.requires_grad for parameter in model.autoencoder.parameters())
    for training in (True, False):
        assert model.train(training) is model
        assert model.flow.training == model.prior.training == model.classifier.training == training
        assert not any(module.training for module in model.autoencoder.modules())
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    loss, _ = model.loss(*world(16), seeded())
    loss.backward()
    optimizer.step()
    model.encode(images())  # batch statistics would move in training mode
    after = model.autoencoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_first_batch_sets_the_flow() -> None:
    model = make(noise=0.1)
    encodings = 7 * torch.randn(500, LATENTS, generator=seeded(1)) + 3
    model.initialise_flow(encodings, seeded(2))
    assert all(bool(value) for name, value in model.flow.state_dict().items() if name.endswith("initialised"))
    z = model.flow.transforms[0](encodings)[0]
    assert z.mean(0).abs().max() < 0.02
    torch.testing.assert_close(z.std(0), torch.ones(LATENTS), rtol=0, atol=0.02)


def test_the_loss_is_the_sum_of_its_parts_and_depends_on_the_generator_alone() -> None:
    model = make(classifier_weight=3.0).train()
    encodings, targets = world(32)
    model.initialise_flow(encodings.flatten(0, 1), seeded(1))
    before = torch.get_rng_state()
    loss, parts = model.loss(encodings, targets, seeded(2))
    assert set(parts) == {"nll", "classifier", "latents"}
    assert not any(part.requires_grad for part in parts.values())
    torch.testing.assert_close(loss.detach(), parts["nll"] + parts["classifier"] + 3 * parts["latents"])
    assert torch.equal(model.loss(encodings, targets, seeded(2))[0], loss)
    assert not torch.equal(model.loss(encodings, targets, seeded(3))[0], loss)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_nll_is_that_of_the_encodings() -> None:
    # Against the change of variables with one sample and no noise: p(x^{t+1}) = p(z^{t+1} | z^t) |det dz/dx|.
    model = make(samples=1, noise=0.0, prior=MLPPriorConfig(regulariser=0.0)).eval()
    encodings, targets = world(32)
    model.initialise_flow(encodings.flatten(0, 1), seeded(1))
    _, parts = model.loss(encodings, targets, seeded())
    z_t, _ = model.flow(encodings[:, 0])
    z_t1, ldj = model.flow(encodings[:, 1])
    step = given(targets, model.assignment.probabilities())
    nll = model.prior.nll(z_t[:, None], z_t1[:, None], step).value + ldj
    torch.testing.assert_close(parts["nll"], nll.mean().detach())


OPTIONS = [
    {},
    {"conditional_targets": False},
    {"prior": MLPPriorConfig(imperfect_interventions=True)},
    {"prior": MLPPriorConfig(imperfect_variables=(1,))},
    {"prior": AutoregressivePriorConfig(autoregressive_hidden=4)},
    {"prior": AutoregressivePriorConfig(imperfect_interventions=True, autoregressive_hidden=4)},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_loss_falls(options: dict) -> None:
    model = make(**options).train()
    encodings, targets = world()
    generator = seeded(7)
    model.initialise_flow(encodings.flatten(0, 1), generator)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses, nlls = [], []
    for _ in range(40):
        loss, parts = model.loss(encodings, targets, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        nlls.append(float(parts["nll"]))
    assert sum(losses[-5:]) < sum(losses[:5]) - 5
    assert sum(nlls[-5:]) < sum(nlls[:5]) - 5


def test_same_seed_same_model() -> None:
    first, second, other = make(0).state_dict(), make(0).state_dict(), make(1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["prior.intervened"], other["prior.intervened"])


@pytest.mark.parametrize(
    "imperfect", [{}, {"imperfect_interventions": True}, {"imperfect_variables": (1,)}], ids=["none", "all", "some"]
)
@pytest.mark.parametrize("prior", [MLPPriorConfig, AutoregressivePriorConfig])
def test_a_step_reads_no_value_from_the_device(prior: type[PriorConfig], imperfect: dict[str, Any]) -> None:
    """Meta tensors have no values: whatever waits for one of a GPU's fails here."""
    model = make(prior=prior(**imperfect)).to("meta").train()
    loss, parts = model.loss(torch.empty(5, 2, LATENTS, device="meta"), torch.empty(5, VARIABLES, device="meta"))
    loss.backward()
    assert all(value.device.type == "meta" for value in (loss, *parts.values()))
