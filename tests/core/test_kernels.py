"""The compiled networks: values and gradients of what PyTorch computes in float64, on every kind of processor."""

import copy
import gc
import math
import weakref

import pytest
import torch
from citris_cli.core.autoregressive_prior import AutoregressiveTransitionPrior
from citris_cli.core.kernels import Structure, library
from citris_cli.core.structured import SeparateNetworks, StructuredNetwork
from citris_cli.core.transition_prior import MLPTransitionPrior
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core import kernels, structured
from citris_cli.core.flow import NormalizingFlow
from citris_cli.core.masked import MaskedLinear


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed)) / math.sqrt(shape[-1])


def seen(structure: Structure) -> Tensor:
    """Mask [outputs, inputs] of a structure."""
    columns = torch.arange(structure.inputs)
    return ((columns >= structure.low[:, None]) & (columns < structure.high[:, None])).double()


@pytest.mark.compiled
@pytest.mark.parametrize("strict", [True, False])
def test_a_masked_map_and_its_structure_say_the_same(strict: bool) -> None:
    layer = MaskedLinear(2, 3, 5, strict, seeded())
    assert torch.equal(seen(layer.structure()).float(), layer.mask)


def dense(structure: Structure, weight: Tensor) -> Tensor:
    """A weight as a matrix with its zeros."""
    if not structure.own:
        return weight.flatten(0, -2) * seen(structure)
    return torch.block_diag(*weight)


def plain(x: Tensor, structures: list[Structure], parameters: list[Tensor]) -> Tensor:
    for number, structure in enumerate(structures):
        x = functional.silu(x) if number else x
        x = functional.linear(x, dense(structure, parameters[2 * number]), parameters[2 * number + 1].flatten())
    return x


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """As near as sums in float32 come: 1e-5 of the largest."""
    for mine, expected in zip(ours, theirs, strict=True):
        assert mine.shape == expected.shape
        assert (mine - expected).abs().max() <= 1e-5 * expected.abs().max().clamp_min(1e-3)


def compare(
    function: type[torch.autograd.Function], x: Tensor, structures: list[Structure], *parameters: Tensor
) -> None:
    """Value and gradients of a function against the plain form."""
    learned = [x.requires_grad_(), *(parameter.requires_grad_() for parameter in parameters)]
    out = function.apply(x, *([structures] if function is StructuredNetwork else []), *parameters)
    exact = [one.detach().double().requires_grad_() for one in learned]
    expected = plain(exact[0], structures, exact[1:])
    assert_close([out], [expected])
    pull = random(*out.shape, seed=9)
    assert_close(
        list(torch.autograd.grad(out, learned, pull)), list(torch.autograd.grad(expected, exact, pull.double()))
    )


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("variables", "hidden", "rows"), [(1, 1, 1), (2, 3, 5), (5, 3, 200), (32, 16, 131), (9, 17, 64)]
)
def test_masked_networks(variables: int, hidden: int, rows: int, threads: int) -> None:
    structures = [
        kernels.autoregressive(hidden, 1, variables, True),
        kernels.autoregressive(hidden, hidden, variables, False),
        kernels.autoregressive(2, hidden, variables, False),
    ]
    shapes = [(structure.outputs, structure.inputs) for structure in structures]
    parameters = [
        part for seed, shape in enumerate(shapes) for part in (3 * random(*shape, seed=seed), random(shape[0]))
    ]
    compare(StructuredNetwork, 3 * random(rows, variables, seed=7), structures, *parameters)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("number", "hidden", "inputs", "rows"), [(1, 1, 1, 1), (2, 2, 3, 5), (3, 5, 4, 7), (6, 64, 32, 100), (9, 20, 9, 50)]
)
def test_separate_networks(number: int, hidden: int, inputs: int, rows: int, threads: int) -> None:
    structures = [
        kernels.full(number * hidden, inputs),
        kernels.separate(hidden, hidden, number),
        kernels.separate(2, hidden, number),
    ]
    shapes = (number, hidden, inputs), (number, hidden, hidden), (number, 2, hidden)
    parameters = [
        part for seed, shape in enumerate(shapes) for part in (2 * random(*shape, seed=seed), random(*shape[:2]))
    ]
    compare(SeparateNetworks, 3 * random(rows, inputs, seed=7), structures, *parameters)


def trained(model: nn.Module) -> nn.Module:
    """With weights as far from their start as a training takes them."""
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=seeded(100 + seed))
    return model


def both_ways(model: nn.Module, x: Tensor) -> None:
    """A flow or a prior in float32 against itself in float64, where PyTorch computes it."""
    results = []
    for form, rows in ((model, x), (copy.deepcopy(model).double(), x.double())):
        rows = rows.clone().requires_grad_()
        if isinstance(form, NormalizingFlow):
            values = form(rows)
        elif isinstance(form, MLPTransitionPrior):
            values = form.observational(rows)
        else:
            psi = functional.one_hot(torch.arange(rows.shape[-1]) % 4, 4).to(rows.dtype).expand(len(rows), -1, -1)
            values = form.gaussians(rows, rows.flip(0), torch.arange(3 * len(rows)).view(-1, 3) % 2, psi)
        learned = [rows, *(parameter for parameter in form.parameters() if parameter.requires_grad)]
        gradients = torch.autograd.grad(sum(value.sin().sum() for value in values), learned, allow_unused=True)
        results.append([*values, *(gradient for gradient in gradients if gradient is not None)])
    assert_close(*results)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("latents", "layers", "hidden", "rows"), [(1, 1, 1, 1), (5, 3, 4, 9), (16, 2, 16, 200), (33, 2, 5, 150)]
)
def test_the_flow_is_that_of_its_transforms(latents: int, layers: int, hidden: int, rows: int, threads: int) -> None:
    flow = trained(NormalizingFlow(latents, layers, hidden, seeded()))
    both_ways(flow, torch.randn(rows, latents, generator=seeded(1)))


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(("latents", "hidden", "rows"), [(1, 1, 1), (5, 4, 1), (16, 16, 200), (33, 5, 3)])
def test_the_inverse_is_the_one_that_pytorch_computes(latents: int, hidden: int, rows: int, threads: int) -> None:
    flow = trained(NormalizingFlow(latents, 2, hidden, seeded()))
    z = torch.randn(rows, latents, generator=seeded(1))
    assert_close([flow.inverse(z)], [copy.deepcopy(flow).double().inverse(z.double())])
    torch.testing.assert_close(flow(flow.inverse(z))[0], z, rtol=1e-4, atol=1e-4)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_the_priors_are_those_that_pytorch_computes(threads: int) -> None:
    x = torch.randn(30, 2, 8, generator=seeded(1))
    both_ways(trained(MLPTransitionPrior(8, 3, 6, generator=seeded())), x)
    both_ways(trained(AutoregressiveTransitionPrior(8, 3, 6, generator=seeded())), x)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("latents", "samples", "variables"), [(1, 1, 1), (5, 3, 2), (16, 8, 4), (33, 2, 7)])
def test_the_score_of_a_prior(latents: int, samples: int, variables: int, training: bool) -> None:
    prior = trained(MLPTransitionPrior(latents, variables, 6, 0.3, seeded())).train(training)
    z_t, z_t1 = torch.randn(2, 20, samples, latents, generator=seeded(1))
    targets = torch.rand(20, variables, generator=seeded(2)) < 0.4
    p = (2 * torch.randn(latents, variables + 1, generator=seeded(3))).softmax(-1)
    pull = torch.randn(20, generator=seeded(4))
    results = []
    for form, dtype in ((prior, torch.float32), (copy.deepcopy(prior).double(), torch.float64)):
        learned = [one.to(dtype, copy=True).requires_grad_() for one in (z_t, z_t1, p)]
        score = form.nll(learned[0], learned[1], targets, learned[2])
        gradients = torch.autograd.grad(score, [*learned, *form.parameters()], pull.to(dtype), allow_unused=True)
        # Outside of training, what is learned of interventions gets no gradient, or zeros.
        results.append([score, *(torch.zeros(()) if one is None or (one == 0).all() else one for one in gradients)])
    assert_close(*results)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_large_values_saturate_and_what_is_not_a_number_stays_none() -> None:
    flow = NormalizingFlow(4, 2, 3, seeded())
    x = torch.tensor([[1e4, -1e4, 1e4, -1e4], [0.0, math.nan, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    z, ldj = flow(x)
    expected, expected_ldj = copy.deepcopy(flow).double()(x.double())
    torch.testing.assert_close(z, expected.float(), equal_nan=True)
    torch.testing.assert_close(ldj, expected_ldj.float(), equal_nan=True)
    assert z[1].isnan().any()
    assert z[[0, 2]].isfinite().all()


@pytest.mark.compiled
def test_the_same_bytes_every_time(threads: int) -> None:
    flow = NormalizingFlow(16, 2, 8, seeded())
    x = torch.randn(500, 16, generator=seeded(1))

    def gradients() -> list[Tensor]:
        z, ldj = flow(x)
        return [z, ldj, *torch.autograd.grad(z.square().sum() + ldj.sum(), list(flow.parameters()))]

    first = gradients()
    for _ in range(5):
        assert all(torch.equal(mine, again) for mine, again in zip(first, gradients(), strict=True))


@pytest.mark.compiled
def test_a_pass_is_freed_with_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[weakref.ref[kernels.Flow]] = []

    class Watched(kernels.Flow):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            kept.append(weakref.ref(self))

    monkeypatch.setattr(structured, "Flow", Watched)
    flow = NormalizingFlow(4, 2, 3, seeded())
    gc.disable()  # nothing may wait for it: activations are large
    try:
        values = flow(torch.randn(10, 4))
        assert [one() is not None for one in kept] == [True]
        del values
        assert [one() for one in kept] == [None]
    finally:
        gc.enable()


def test_other_numbers_and_other_precisions_are_left_to_pytorch() -> None:
    x = torch.randn(3, 2)
    assert not kernels.usable(x.double())
    assert not kernels.usable(x, x.double())
    assert not kernels.usable(x[:0])
    with torch.autocast("cpu", torch.bfloat16):
        assert not kernels.usable(x)


def test_without_compiled_functions_the_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, x = trained(NormalizingFlow(8, 2, 4, seeded())), torch.randn(20, 8, generator=seeded(1))
    z, ldj = flow(x)
    monkeypatch.setattr(library, "level", lambda: 0)
    torch.testing.assert_close(flow(x), (z, ldj), rtol=1e-5, atol=1e-5)
    for some in (z, z[:1]):
        torch.testing.assert_close(flow.inverse(some), x[: len(some)], rtol=1e-4, atol=1e-4)
