"""What a teacher's lesson is, and that it teaches what a frame shows of the causes of the next one."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig
from citris_cli.core.initialisation import initialise
from citris_cli.core.teacher import Lesson, NextValues, PreviousColours, TaughtAutoencoder


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lesson(batch: int, latents: int, variables: int) -> Lesson:
    draw = seeded(1)
    now, after, before = torch.randn(3, batch, latents, generator=draw)
    targets, targets_before = (torch.rand(2, batch, variables, generator=draw) < 0.4).float()
    return Lesson(now, after, targets, before, targets_before, (torch.arange(batch) % 3 > 0).float())


def test_the_lesson_is_the_likelihood_of_the_next_values_variable_by_variable() -> None:
    given = lesson(6, 3, 3)
    model = NextValues(2, (2, 0, 1), seeded())
    code = torch.randn(6, 2, generator=seeded(2))
    total = torch.zeros(())
    for network, columns, variable in ((model.networks[0], [0, 1], 0), (model.networks[1], [2], 2)):
        seen = torch.cat([code, given.now[:, columns], given.targets[:, [variable]]], dim=1)
        mean, log_std = network(seen).chunk(2, dim=1)
        normal = Normal(mean, log_std.exp())
        total = total - normal.log_prob(given.after[:, columns]).mean() - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(model.nll(code, given), total / 2)


def test_a_variable_sees_no_other_variables_latents() -> None:
    given = lesson(4, 3, 2)
    model, code = NextValues(2, (1, 2), seeded()), torch.zeros(4, 2)
    now = given.now.clone().requires_grad_()
    changed = given.after.clone()
    changed[:, 0] += 1  # the first variable's next value: its error depends on that variable's own latent alone
    given = given._replace(now=now)
    difference = model.nll(code, given._replace(after=changed)) - model.nll(code, given)
    (gradient,) = torch.autograd.grad(difference, now)
    assert gradient[:, 0].abs().min() > 0
    assert gradient[:, 1:].abs().max() == 0


def test_the_past_is_the_likelihood_of_earlier_colours_where_there_is_a_frame_before() -> None:
    given = lesson(6, 4, 4)
    model = PreviousColours(2, (1, 2, 0, 1), (False, True, True, True), seeded())
    code = torch.randn(6, 2, generator=seeded(2))
    seen = torch.cat([code, given.now[:, :1], given.targets_before], dim=1)
    total = torch.zeros(())
    for network, columns in ((model.networks[0], [1, 2]), (model.networks[1], [3])):
        mean, log_std = network(seen).chunk(2, dim=1)
        score = Normal(mean, log_std.exp()).log_prob(given.before[:, columns]).mean(1)
        total = total - (score + 0.5 * torch.log(torch.tensor(2 * torch.pi)))[given.has_before == 1].sum() / 6
    torch.testing.assert_close(model.nll(code, given), total / 2)
    # What stands where there is no frame before counts for nothing, and without any there is nothing to learn.
    nonsense = torch.where(given.has_before[:, None] == 1, given.before, torch.tensor(1e6))
    torch.testing.assert_close(model.nll(code, given._replace(before=nonsense)), total / 2)
    assert model.nll(code, given._replace(has_before=torch.zeros(6))) == 0


def test_earlier_colours_see_shapes_and_targets_but_no_colours() -> None:
    given = lesson(6, 3, 2)
    model = PreviousColours(2, (2, 1), (False, True), seeded())
    now = given.now.clone().requires_grad_()
    targets = given.targets_before.clone().requires_grad_()
    score = model.nll(torch.zeros(6, 2), given._replace(now=now, targets_before=targets))
    of_now, of_targets = torch.autograd.grad(score, (now, targets))
    known = given.has_before == 1
    assert of_now[known, :2].abs().min() > 0
    assert of_now[:, 2].abs().max() == 0
    assert of_targets[known].abs().min() > 0


def learned_code(seen: torch.Tensor, model: NextValues | PreviousColours, given: Lesson) -> torch.Tensor:
    """A linear function of what is seen [B, 8] that a lesson has taught, [B]."""
    reader = torch.nn.Linear(8, 1)
    initialise(reader, seeded(4))
    optimizer = torch.optim.Adam([*reader.parameters(), *model.parameters()], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        model.nll(reader(seen), given).backward()
        optimizer.step()
    return reader(seen)[:, 0].detach()


def test_a_code_learns_the_cause_that_no_latent_holds() -> None:
    draw = seeded(3)
    cause = 2 * torch.pi * torch.rand(2000, generator=draw)
    before = torch.randn(2000, 1, generator=draw)
    after = 0.5 * before + cause.sin()[:, None] + 0.05 * torch.randn(2000, 1, generator=draw)
    seen = torch.stack([cause.cos(), cause.sin()], dim=1) @ torch.randn(2, 8, generator=draw)
    none = torch.zeros(2000, 1)
    given = Lesson(before, after, none, before, none, none[:, 0])
    code = learned_code(seen, NextValues(1, (1,), seeded()), given)
    assert torch.corrcoef(torch.stack([code, cause.sin()]))[0, 1].abs() > 0.98


def test_a_code_learns_what_an_earlier_colour_did() -> None:
    """An angle follows a hue whose cosine is a latent: the code learns the angle's cosine from it a step later."""
    draw = seeded(3)
    hue = 2 * torch.pi * torch.rand(2000, generator=draw)
    angle = hue + 0.1 * torch.randn(2000, generator=draw)
    seen = torch.stack([angle.cos(), angle.sin()], dim=1) @ torch.randn(2, 8, generator=draw)
    now, none = torch.randn(2000, 2, generator=draw), torch.zeros(2000, 2)
    before = torch.cat([now[:, :1], hue.cos()[:, None]], dim=1)
    given = Lesson(now, now, none, before, none, torch.ones(2000))
    code = learned_code(seen, PreviousColours(1, (1, 1), (False, True), seeded()), given)
    assert torch.corrcoef(torch.stack([code, angle.cos()]))[0, 1].abs() > 0.95


SIZES = AutoencoderConfig(width=32, latents=3, channels=4, decoder_blocks=1, patch=2)


def test_an_autoencoder_with_new_grey_latents_draws_what_it_drew_without() -> None:
    before = Autoencoder(SIZES, seeded()).eval()
    after = Autoencoder(
        AutoencoderConfig(**{**vars(SIZES), "latents": 5, "grey_latents": 2}), seeded(1)
    ).take_over(before).eval()  # fmt: skip
    images = torch.rand(2, 3, 32, 32, generator=seeded(2)) * 2 - 1
    with torch.no_grad():
        codes = after.encode(images)
        assert codes.shape == (2, 5)
        torch.testing.assert_close(codes[:, :3], before.encode(images))
        torch.testing.assert_close(after.decode(codes), before.decode(codes[:, :3]))
        again = Autoencoder(after.config, seeded(4)).take_over(after).eval()
        torch.testing.assert_close(again.encode(images), codes)


@pytest.mark.parametrize("coloured", [(False, False), (False, True)])
def test_the_lesson_reaches_the_grey_latents_alone(coloured: tuple[bool, bool]) -> None:
    autoencoder = Autoencoder(AutoencoderConfig(**{**vars(SIZES), "grey_latents": 2}), seeded())
    model = TaughtAutoencoder(autoencoder, (1, 1), coloured, seeded(1))
    images = torch.rand(4, 3, 32, 32, generator=seeded(2)) * 2 - 1
    others = torch.rand(3, 3, 32, 32, generator=seeded(4)) * 2 - 1
    loss, parts = model.loss(images, lesson(4, 2, 2), others, lesson(3, 2, 2), seeded(3))
    alone, _ = autoencoder.loss(images, seeded(3))
    assert set(parts) == {"mse", "lesson"} | ({"past"} if any(coloured) else set())
    (loss - alone).backward()
    of_grey = {id(parameter) for parameter in autoencoder.grey_parameters()}
    for parameter in autoencoder.parameters():
        taught = parameter.grad is not None and parameter.grad.abs().max() > 1e-7
        assert not taught or id(parameter) in of_grey
    assert any(p.grad is not None and p.grad.abs().max() > 1e-6 for p in autoencoder.grey_parameters())
    new = {id(parameter) for parameter in model.new_parameters()}
    assert {id(parameter) for parameter in model.parameters()} - new == {
        id(parameter) for parameter in autoencoder.parameters()
    } - of_grey


def test_grey_latents_alone_see_augmented_frames() -> None:
    autoencoder = Autoencoder(AutoencoderConfig(**{**vars(SIZES), "grey_latents": 2}), seeded())
    images = torch.rand(4, 3, 32, 32, generator=seeded(2)) * 2 - 1
    plain, changed = (autoencoder.loss_and_codes(images, seeded(3), None, one)[2] for one in (False, True))
    own = autoencoder.config.latents - 2
    noise = autoencoder.config.noise
    torch.testing.assert_close(plain[:, :own], changed[:, :own], atol=10 * noise, rtol=0)
    assert (plain[:, own:] - changed[:, own:]).abs().max() > 1e-3
    model = TaughtAutoencoder(autoencoder, (1, 1), (False, False), seeded(1), augments=True)
    alike = TaughtAutoencoder(autoencoder, (1, 1), (False, False), seeded(1))
    told = [
        one.loss(images, lesson(4, 2, 2), images, lesson(4, 2, 2), seeded(3))[1]["lesson"] for one in (model, alike)
    ]
    assert told[0] != told[1]


def test_a_coloured_variable_without_latents_teaches_nothing() -> None:
    autoencoder = Autoencoder(AutoencoderConfig(**{**vars(SIZES), "grey_latents": 2}), seeded())
    assert TaughtAutoencoder(autoencoder, (2, 0), (False, True), seeded(1)).previous_colours is None
