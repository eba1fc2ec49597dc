"""What a teacher's lesson is, and that it teaches what a frame shows of the causes of the next one."""

from __future__ import annotations

import torch
from torch.distributions import Normal

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.config import AutoencoderConfig
from citris_cli.core.teacher import Lesson, NextValues, TaughtAutoencoder


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lesson(batch: int, latents: int, variables: int) -> Lesson:
    draw = seeded(1)
    targets = (torch.rand(batch, variables, generator=draw) < 0.4).float()
    return Lesson(torch.randn(batch, latents, generator=draw), torch.randn(batch, latents, generator=draw), targets)


def test_the_lesson_is_the_likelihood_of_the_next_values_variable_by_variable() -> None:
    given = lesson(6, 3, 3)
    model = NextValues(2, (2, 0, 1), seeded())
    code = torch.randn(6, 2, generator=seeded(2))
    total = torch.zeros(())
    for network, columns, variable in ((model.networks[0], [0, 1], 0), (model.networks[1], [2], 2)):
        seen = torch.cat([code, given.before[:, columns], given.targets[:, [variable]]], dim=1)
        mean, log_std = network(seen).chunk(2, dim=1)
        normal = Normal(mean, log_std.exp())
        total = total - normal.log_prob(given.after[:, columns]).mean() - 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(model.nll(code, given), total / 2)


def test_a_variable_sees_no_other_variables_latents() -> None:
    given = lesson(4, 3, 2)
    model, code = NextValues(2, (1, 2), seeded()), torch.zeros(4, 2)
    before = given.before.clone().requires_grad_()
    after = given.after.clone()
    changed = after.clone()
    changed[:, 0] += 1  # the first variable's next value: its error depends on that variable's own latent alone
    difference = model.nll(code, Lesson(before, changed, given.targets)) - model.nll(
        code, Lesson(before, after, given.targets)
    )
    (gradient,) = torch.autograd.grad(difference, before)
    assert gradient[:, 0].abs().min() > 0
    assert gradient[:, 1:].abs().max() == 0


def test_a_code_learns_the_cause_that_no_latent_holds() -> None:
    draw = seeded(3)
    cause = 2 * torch.pi * torch.rand(2000, generator=draw)
    before = torch.randn(2000, 1, generator=draw)
    after = 0.5 * before + cause.sin()[:, None] + 0.05 * torch.randn(2000, 1, generator=draw)
    seen = torch.stack([cause.cos(), cause.sin()], dim=1) @ torch.randn(2, 8, generator=draw)
    given = Lesson(before, after, torch.zeros(2000, 1))
    reader, model = torch.nn.Linear(8, 1), NextValues(1, (1,), seeded())
    optimizer = torch.optim.Adam([*reader.parameters(), *model.parameters()], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        model.nll(reader(seen), given).backward()
        optimizer.step()
    correlation = torch.corrcoef(torch.stack([reader(seen)[:, 0], cause.sin()]))[0, 1]
    assert correlation.abs() > 0.98


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


def test_the_lesson_reaches_the_grey_latents_alone() -> None:
    autoencoder = Autoencoder(AutoencoderConfig(**{**vars(SIZES), "grey_latents": 2}), seeded())
    model = TaughtAutoencoder(autoencoder, (1, 1), seeded(1))
    images = torch.rand(4, 3, 32, 32, generator=seeded(2)) * 2 - 1
    loss, parts = model.loss(images, lesson(4, 2, 2), seeded(3))
    alone, _ = autoencoder.loss(images, seeded(3))
    assert set(parts) == {"mse", "lesson"}
    (loss - alone).backward()
    of_grey = {id(parameter) for parameter in autoencoder.grey_parameters()}
    for parameter in autoencoder.parameters():
        taught = parameter.grad is not None and parameter.grad.abs().max() > 1e-7
        assert not taught or id(parameter) in of_grey
    assert any(p.grad is not None and p.grad.abs().max() > 1e-6 for p in autoencoder.grey_parameters())
