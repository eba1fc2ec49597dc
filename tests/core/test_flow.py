"""Every transform of the flow: its inverse, its log-determinant against autograd, its order, its first batch."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.flow import (
    MAX_LOG_SCALE,
    ActNorm,
    AutoregressiveAffine,
    InvertibleLinear,
    NormalizingFlow,
    clamp_straight_through,
)

LATENTS = 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def actnorm() -> ActNorm:
    transform = ActNorm(LATENTS)
    with torch.no_grad():
        transform.bias.copy_(torch.linspace(-2, 2, LATENTS))
        transform.log_scale.copy_(torch.tensor([-5.0, -1.0, 0.5, 1.0, 4.0]))  # two of them beyond the bound
    return transform


def linear() -> InvertibleLinear:
    transform = InvertibleLinear(LATENTS, seeded())
    with torch.no_grad():  # away from its start, where the determinant is 1 and the log-determinant proves nothing
        transform.log_diagonal.add_(torch.linspace(-1, 0.5, LATENTS))
        transform.lower.add_(0.3 * torch.randn(LATENTS, LATENTS, generator=seeded(1)))
        transform.upper.add_(0.3 * torch.randn(LATENTS, LATENTS, generator=seeded(2)))
    return transform


def affine(latents: int = LATENTS) -> AutoregressiveAffine:
    transform = AutoregressiveAffine(latents, hidden=3, generator=seeded())
    with torch.no_grad():  # weights as large as after a training, and bounds on either side of 1
        for layer in (transform.first, transform.middle, transform.last):
            layer.weight.mul_(4)
        transform.scaling.copy_(torch.linspace(-2, 2, latents))
    return transform


def flow() -> NormalizingFlow:
    transform = NormalizingFlow(LATENTS, layers=3, hidden=3, generator=seeded())
    transform.initialise(3 * torch.randn(200, LATENTS, generator=seeded(1)) + 1)
    return transform


TRANSFORMS: dict[str, Callable[[], nn.Module]] = {
    "ActNorm": actnorm,
    "InvertibleLinear": linear,
    "AutoregressiveAffine": affine,
    "NormalizingFlow": flow,
}


def batch(rows: int = 7) -> Tensor:
    return 2 * torch.randn(rows, LATENTS, generator=seeded(3), dtype=torch.float64)


def jacobians(transform: nn.Module, x: Tensor) -> Tensor:
    """dz/dx of every row: [B, M, M]."""
    whole = torch.autograd.functional.jacobian(lambda rows: transform(rows)[0], x)
    assert isinstance(whole, Tensor)
    return torch.stack([whole[row, :, row] for row in range(len(x))])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_inverse_and_log_determinant(name: str) -> None:
    transform = TRANSFORMS[name]().double()
    x = batch()
    z, ldj = transform(x)
    assert z.shape == x.shape
    assert ldj.shape == (len(x),)
    torch.testing.assert_close(transform.inverse(z), x, rtol=1e-9, atol=1e-9)
    expected = -torch.linalg.slogdet(jacobians(transform, x)).logabsdet
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(ldj, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_rows_do_not_see_each_other(name: str) -> None:
    transform = TRANSFORMS[name]().double()
    x = batch()
    z, ldj = transform(x)
    alone_z, alone_ldj = transform(x[2:3])
    torch.testing.assert_close(alone_z, z[2:3])
    torch.testing.assert_close(alone_ldj, ldj[2:3])


def test_linear_starts_orthogonal() -> None:
    weight = InvertibleLinear(LATENTS, seeded()).weight()
    torch.testing.assert_close(weight @ weight.T, torch.eye(LATENTS), rtol=0, atol=1e-5)


def test_the_first_batch_gets_zero_mean_and_unit_variance() -> None:
    transform = ActNorm(LATENTS).double()
    x = batch(500) * torch.linspace(0.1, 4, LATENTS) + torch.linspace(-30, 30, LATENTS)
    assert not transform.initialised
    transform.initialise(x)
    assert transform.initialised
    z, _ = transform(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(LATENTS).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(z.var(0, unbiased=False), torch.ones(LATENTS).double())


def test_every_actnorm_of_a_flow_is_set_from_what_arrives_at_it() -> None:
    transform = NormalizingFlow(LATENTS, layers=3, hidden=3, generator=seeded()).double()
    x = 3 * batch(500) + 10
    transform.initialise(x)
    found = 0
    for part in transform.transforms:
        x, _ = part(x)
        if isinstance(part, ActNorm):
            found += 1
            assert x.mean(0).abs().max() < 1e-9
            torch.testing.assert_close(x.var(0, unbiased=False), torch.ones(LATENTS).double())
    assert found == 3


def test_a_latent_that_does_not_vary_stays_finite() -> None:
    transform = ActNorm(2)
    transform.initialise(torch.tensor([[1.0, 5.0], [2.0, 5.0]]))
    z, ldj = transform(torch.tensor([[1.0, 5.0], [2.0, 6.0]]))
    assert z.isfinite().all()
    assert ldj.isfinite().all()


def test_the_clamp_bounds_the_value_and_passes_the_gradient() -> None:
    x = torch.tensor([-7.0, -3.0, 0.5, 3.0, 9.0], requires_grad=True)
    clamped = clamp_straight_through(x, 3.0)
    assert clamped.tolist() == [-3, -3, 0.5, 3, 3]
    (clamped * torch.arange(5)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 2, 3, 4]


def test_a_log_scale_beyond_the_bound_still_learns() -> None:
    transform = actnorm()
    z, ldj = transform(batch().float())
    (z.square().sum() + ldj.sum()).backward()
    assert transform.log_scale.grad is not None
    assert (transform.log_scale.grad != 0).all()
    low, high = torch.tensor([-MAX_LOG_SCALE, MAX_LOG_SCALE]).exp()
    stretch = transform(torch.ones(1, LATENTS) - transform.bias)[0].squeeze(0)
    torch.testing.assert_close(stretch[0], low)
    torch.testing.assert_close(stretch[-1], high)


def test_every_latent_sees_those_before_it_and_no_other() -> None:
    transform = affine().double()
    jacobian = jacobians(transform, batch())
    assert (jacobian.triu(1) == 0).all()
    assert (jacobian.diagonal(dim1=1, dim2=2) > 0).all()
    rows, columns = torch.tril_indices(LATENTS, LATENTS, -1)
    assert (jacobian[:, rows, columns] != 0).all()
    # The first latent's shift and scale come from its biases: the same for all rows.
    assert jacobian[:, 0, 0].unique().numel() == 1


def shift_and_log_scale(transform: AutoregressiveAffine, x: Tensor) -> tuple[Tensor, Tensor]:
    """The masked network of a whole x, as model and paper write it."""
    hidden = functional.silu(functional.linear(x, transform.first.masked_weight(), transform.first.bias))
    hidden = functional.silu(functional.linear(hidden, transform.middle.masked_weight(), transform.middle.bias))
    out = functional.linear(hidden, transform.last.masked_weight(), transform.last.bias)
    bound = 3 * torch.tanh(transform.scaling.exp() / 3)
    return out[:, 0::2], torch.tanh(out[:, 1::2] / bound.clamp(min=1)) * bound


def test_the_affine_map_is_the_formula() -> None:
    transform = affine().double()
    x = batch()
    shift, log_scale = shift_and_log_scale(transform, x)
    z, ldj = transform(x)
    torch.testing.assert_close(z, (x + shift) * log_scale.exp())
    torch.testing.assert_close(ldj, -log_scale.sum(1))


def learned(transform: nn.Module) -> list[Tensor]:
    return list(transform.parameters())


def test_gradients_are_those_of_finite_differences() -> None:
    transform = affine().double()
    x = batch(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda *_: transform(x), (x, *learned(transform)))


def test_an_affine_map_that_does_not_learn_passes_gradients_on() -> None:
    transform = affine().double()
    x = batch().requires_grad_()
    (expected,) = torch.autograd.grad(transform(x)[0].square().sum(), x)
    transform.requires_grad_(False)
    (found,) = torch.autograd.grad(transform(x)[0].square().sum(), x)
    torch.testing.assert_close(found, expected)


def test_the_incremental_inverse_is_that_of_one_masked_pass_a_latent() -> None:
    transform = affine().double()
    z = batch()
    x = torch.zeros_like(z)
    for i in range(LATENTS):
        shift, log_scale = shift_and_log_scale(transform, x)
        x[:, i] = z[:, i] * (-log_scale[:, i]).exp() - shift[:, i]
    torch.testing.assert_close(transform.inverse(z), x, rtol=1e-10, atol=1e-10)


def test_same_seed_same_weights_and_the_global_generator_is_not_used() -> None:
    before = torch.get_rng_state()
    first, second = (NormalizingFlow(4, 2, 3, seeded(5)).state_dict() for _ in range(2))
    other = NormalizingFlow(4, 2, 3, seeded(6)).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["transforms.1.first.weight"], other["transforms.1.first.weight"])


@torch.no_grad()
def test_the_inverse_of_one_point_is_that_of_the_point_among_others() -> None:
    flow = NormalizingFlow(LATENTS, 3, 5, torch.Generator().manual_seed(0))
    z = torch.randn(4, LATENTS, generator=torch.Generator().manual_seed(1))
    alone = torch.cat([flow.inverse(one[None]) for one in z])
    torch.testing.assert_close(alone, flow.inverse(z), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_inverse_of_one_point_sees_weights_that_changed_or_moved() -> None:
    transform = affine()
    z = batch(3).float()

    def agrees(layer: AutoregressiveAffine, z: Tensor) -> bool:
        return torch.allclose(layer.inverse(z[:1]), layer.inverse(z)[:1], rtol=1e-4, atol=1e-5)

    assert agrees(transform, z)
    for parameter in transform.parameters():  # in place, as an optimiser does
        parameter.mul_(1.5).add_(0.1)
    assert agrees(transform, z)
    other = copy.deepcopy(transform)
    for parameter in other.parameters():
        parameter.mul_(0.5)
    assert agrees(other, z)
    assert agrees(transform, z)
    assert not torch.allclose(other.inverse(z[:1]), transform.inverse(z[:1]), rtol=1e-3)
    assert agrees(transform.double(), z.double())


def test_the_inverse_of_one_point_leaves_nothing_behind_that_a_gradient_trips_over() -> None:
    transform = affine()
    z = batch(1).float()
    transform.inverse(z)
    transform(z)[0].sum().backward()
    torch.testing.assert_close(transform(transform.inverse(z))[0], z)
