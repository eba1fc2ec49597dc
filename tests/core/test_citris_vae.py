"""CITRIS-VAE as a whole: its loss from its definition, gradients to every part, encoding and decoding."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import AutoregressivePriorConfig, CitrisVAEConfig, MLPPriorConfig, PriorConfig
from citris_cli.core.priors import Given

LATENTS, VARIABLES, WIDTH = 4, 2, 32
FORMS = [
    pytest.param(prior, id=f"{prior.name}{', imperfect' if prior.imperfect_interventions else ''}")
    for imperfect in (False, True)
    for prior in (MLPPriorConfig(imperfect), AutoregressivePriorConfig(imperfect, autoregressive_hidden=3))
]
#: A prior that has no favourites.
NO_PULL = MLPPriorConfig(regulariser=0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(seed: int = 0, **options) -> CitrisVAE:
    sizes = {"flow_layers": 2, "flow_hidden": 3, "hidden": 5, "networks": "small", "channels": 4} | options
    return CitrisVAE(CitrisVAEConfig(latents=LATENTS, variables=VARIABLES, width=WIDTH, **sizes), seeded(seed))


def windows(batch: int = 5, length: int = 3) -> tuple[Tensor, Tensor]:
    """Frames [B, T, 3, W, W] and targets [B, T-1, K]."""
    frames = torch.rand(batch, length, 3, WIDTH, WIDTH, generator=seeded(1)) * 2 - 1
    return frames, (torch.rand(batch, length - 1, VARIABLES, generator=seeded(2)) < 0.4).int()


@pytest.mark.parametrize(("length", "noise_scale"), [(2, 1.0), (3, 1.0), (3, 4.0)])
@pytest.mark.parametrize("flow_layers", [0, 2])
@pytest.mark.parametrize("prior", FORMS)
def test_the_loss_is_that_of_its_definition(
    prior: PriorConfig, flow_layers: int, length: int, noise_scale: float
) -> None:
    model = make(prior=prior, flow_layers=flow_layers, kl_weight=3.0, classifier_weight=1.5).train()
    frames, targets = windows(length=length)
    model.initialise_flow(frames.flatten(0, 1), seeded(9))
    loss, parts = model.loss(frames, targets, seeded(3), schedule={"beta": 0.5, "noise_scale": noise_scale})

    # The same noise and assignment, window by window and step by step.
    generator = seeded(3)
    noise = torch.randn(5 * length, LATENTS, generator=generator).unflatten(0, (5, length))
    psi = model.assignment.sample(5, generator)
    p = model.assignment.probabilities()
    divergences, errors = [], []
    for b in range(5):
        mean, log_std = model.encoder(frames[b])
        shown = mean + log_std.exp() * noise[b]
        # What the prior and the classifier see is noisier than what the decoder does.
        x = mean + noise_scale * log_std.exp() * noise[b]
        log_std = log_std + math.log(noise_scale)
        z, ldj = model.flow(x)
        for t in range(1, length):
            given = Given(targets[b, t - 1, None], p, psi[b, None])
            earlier, later = z[t - 1, None], z[t, None]
            if flow_layers == 0:
                kl = model.prior.kl(mean[t, None], log_std[t, None], earlier, later, given).value[0]
            else:
                log_q = Normal(mean[t], log_std[t].exp()).log_prob(x[t]).sum()
                kl = log_q + ldj[t] + model.prior.nll(earlier[None], later[None], given).value[0]
            divergences.append(kl)
            errors.append((model.decoder(shown[t, None])[0] - frames[b, t]).square().sum())
    kl = torch.stack(divergences).sum() / 5 / (length - 1)
    error = torch.stack(errors).sum() / 5 / (length - 1)
    torch.testing.assert_close(parts["kl"], kl.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts["reconstruction"], error.detach(), rtol=1e-4, atol=1e-4)
    whole = 0.5 * 3.0 * parts["kl"] + parts["reconstruction"] + 1.5 * (parts["classifier"] + parts["latents"])
    torch.testing.assert_close(loss.detach(), whole)
    assert not any(part.requires_grad for part in parts.values())


def test_with_a_flow_that_does_nothing_the_estimate_is_the_divergence_on_average() -> None:
    # Both estimate KL(q || p) marginalised over the assignment; one in closed form, one from a sample.
    exact, sampled = make(flow_layers=0, prior=NO_PULL), make(flow_layers=1, prior=NO_PULL)
    with torch.no_grad():
        for parameter in sampled.flow.parameters():
            parameter.zero_()
    for name, value in exact.state_dict().items():
        sampled.state_dict()[name].copy_(value)
    frames, targets = windows(batch=2, length=2)
    frames, targets = frames.repeat(2000, 1, 1, 1, 1), targets.repeat(2000, 1, 1)
    with torch.no_grad():
        # The same z^t: what is left is the noise of z^{t+1} in one of them.
        ours, theirs = (float(model.loss(frames, targets, seeded(4))[1]["kl"]) for model in (exact, sampled))
    assert theirs == pytest.approx(ours, rel=0.05)


@pytest.mark.parametrize("flow_layers", [0, 2])
@pytest.mark.parametrize("prior", FORMS)
@pytest.mark.parametrize("networks", ["small", "pyramid"])
def test_the_loss_teaches_every_part(networks: str, prior: PriorConfig, flow_layers: int) -> None:
    model = make(networks=networks, prior=prior, flow_layers=flow_layers, decoder_blocks=1).train()
    frames, targets = windows()
    with torch.no_grad():  # at its start the classifier knows nothing and teaches no latents
        model.classifier.network[-1].weight.normal_(generator=seeded(5))
    loss, _ = model.loss(frames, targets, seeded(3))
    loss.backward()
    untaught = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not (parameter.grad != 0).any())
    ]
    assert not untaught
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_the_first_frame_is_neither_rendered_nor_scored() -> None:
    # With the standard prior it enters as z^t alone, which a perfect intervention on every variable cuts off.
    model = make(flow_layers=0, prior=NO_PULL, classifier_weight=0.0).eval()
    with torch.no_grad():
        model.assignment.logits[:, 0] = 100.0
        model.encoder.network[-1].weight.mul_(100)  # so that frames differ in their latents
    frames, targets = windows(length=2)
    changed = torch.cat([-frames[:, :1], frames[:, 1:]], dim=1)
    cut_off, open_to_past = torch.ones_like(targets), torch.zeros_like(targets)
    ours, other = (model.loss(images, cut_off, seeded(3))[0] for images in (frames, changed))
    torch.testing.assert_close(ours, other)
    ours, other = (model.loss(images, open_to_past, seeded(3))[0] for images in (frames, changed))
    assert (ours - other).abs() > 1e-3


def test_the_weight_of_the_divergence_grows_with_beta() -> None:
    model = make(classifier_weight=0.0)
    frames, targets = windows()
    losses = [model.loss(frames, targets, seeded(3), {"beta": beta})[0] for beta in (0.0, 0.5, 1.0)]
    _, parts = model.loss(frames, targets, seeded(3))
    torch.testing.assert_close(losses[0].detach(), parts["reconstruction"])
    torch.testing.assert_close(losses[2] - losses[1], losses[1] - losses[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close((losses[2] - losses[0]).detach(), parts["kl"], rtol=1e-3, atol=1e-3)


def test_the_loss_depends_on_the_generator_alone() -> None:
    model = make()
    frames, targets = windows()
    before = torch.get_rng_state()
    loss = model.loss(frames, targets, seeded(3))[0]
    assert torch.equal(model.loss(frames, targets, seeded(3))[0], loss)
    assert not torch.equal(model.loss(frames, targets, seeded(4))[0], loss)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_window_of_one_frame_is_refused() -> None:
    frames, targets = windows(length=1)
    with pytest.raises(ValueError, match="windows of 1 frame; they need at least 2"):
        make().loss(frames, targets)


@pytest.mark.parametrize("flow_layers", [0, 2])
def test_decoding_an_encoding_renders_the_posteriors_mean(flow_layers: int) -> None:
    model = make(flow_layers=flow_layers).eval()
    images = windows()[0][:, 0]
    model.initialise_flow(images, seeded(2))
    with torch.no_grad():
        mean, _ = model.encoder(images)
        z = model.encode(images)
        assert torch.equal(z, mean) == (flow_layers == 0)
        torch.testing.assert_close(model.decode(z), model.decoder(mean), rtol=1e-4, atol=1e-4)


def test_noisy_latents_are_samples_of_the_posterior() -> None:
    model = make(flow_layers=2)
    frame = windows()[0][:1, 0].expand(800, -1, -1, -1)
    with torch.no_grad():
        mean, log_std = (values[0] for values in model.encoder(frame[:1]))
        drawn = (model.flow.inverse(model.encode_noisy(frame, seeded(3))) - mean) / log_std.exp()
    torch.testing.assert_close(drawn.mean(0), torch.zeros_like(mean), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.std(0), torch.ones_like(mean), atol=0.1, rtol=0)


def test_the_first_batch_sets_the_flow() -> None:
    model = make()
    images = windows(batch=60)[0].flatten(0, 1)
    model.initialise_flow(images, seeded(2))
    assert all(bool(value) for name, value in model.flow.state_dict().items() if name.endswith("initialised"))
    with torch.no_grad():
        mean, log_std = model.encoder(images)
        x = mean + log_std.exp() * torch.randn(mean.shape, generator=seeded(2))
        z = model.flow.transforms[0](x)[0]
    torch.testing.assert_close(z.mean(0), torch.zeros(LATENTS), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std(0, unbiased=False), torch.ones(LATENTS), rtol=1e-4, atol=1e-4)
    make(flow_layers=0).initialise_flow(images, seeded(2))  # nothing to set


@pytest.mark.parametrize("prior", FORMS)
def test_the_loss_falls(prior: PriorConfig) -> None:
    model = make(prior=prior).train()
    frames, targets = windows(batch=16, length=2)
    generator = seeded(7)
    model.initialise_flow(frames.flatten(0, 1), generator)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(30):
        loss, _ = model.loss(frames, targets, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < sum(losses[:5]) - 5


def test_same_seed_same_model() -> None:
    first, second, other = make(0).state_dict(), make(0).state_dict(), make(1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["prior.intervened"], other["prior.intervened"])
    assert not torch.equal(first["decoder.0.weight"], other["decoder.0.weight"])


@pytest.mark.parametrize("flow_layers", [0, 1])
@pytest.mark.parametrize("prior", FORMS)
def test_a_step_reads_no_value_from_the_device(prior: PriorConfig, flow_layers: int) -> None:
    """Meta tensors have no values: whatever waits for one of a GPU's fails here."""
    model = make(prior=prior, flow_layers=flow_layers).to("meta").train()
    frames, targets = (value.to("meta") for value in windows())
    loss, parts = model.loss(frames, targets)
    loss.backward()
    assert all(value.device.type == "meta" for value in (loss, *parts.values()))
