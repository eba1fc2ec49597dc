"""A flow's layers in one call, and the inverse of an affine map: values and gradients of what PyTorch computes."""

import gc
import math
import weakref

import pytest
import torch
from torch import Tensor

from citris_cli.core.flow import AutoregressiveAffine, NormalizingFlow
from citris_cli.core.ops import flow as operation
from citris_cli.core.ops import library
from citris_cli.core.ops.flow import affine_inverse_reference, composed_reference
from tests.core.ops.exact import in_double, require_close, seeded, trained


def values_and_gradients(flow: NormalizingFlow, x: Tensor, reference: bool) -> list[Tensor]:
    x = x.clone().requires_grad_()
    values = composed_reference(x, list(flow.transforms)) if reference else flow(x)
    pulled = sum(value.sin().sum() for value in values)
    return [*values, *torch.autograd.grad(pulled, [x, *flow.parameters()])]


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
@pytest.mark.parametrize(
    ("latents", "layers", "hidden", "rows"), [(1, 1, 1, 1), (5, 3, 4, 9), (16, 2, 16, 200), (33, 2, 5, 150)]
)
def test_the_flow_is_that_of_its_transforms(latents: int, layers: int, hidden: int, rows: int) -> None:
    flow = trained(NormalizingFlow(latents, layers, hidden, seeded()))
    x = torch.randn(rows, latents, generator=seeded(1))
    ours = values_and_gradients(flow, x, reference=False)
    require_close(ours, values_and_gradients(in_double(flow), x.double(), reference=True))


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
@pytest.mark.parametrize(("latents", "hidden", "rows"), [(1, 1, 1), (5, 4, 1), (16, 16, 200), (33, 5, 3)])
def test_the_inverse_is_the_one_that_pytorch_computes(latents: int, hidden: int, rows: int) -> None:
    flow = trained(NormalizingFlow(latents, 2, hidden, seeded()))
    z = torch.randn(rows, latents, generator=seeded(1))
    require_close([flow.inverse(z)], [in_double(flow).inverse(z.double())])
    torch.testing.assert_close(flow(flow.inverse(z))[0], z, rtol=1e-4, atol=1e-4)
    affine = flow.transforms[1 if latents == 1 else 4]
    assert isinstance(affine, AutoregressiveAffine)
    exact = in_double(affine)
    with torch.no_grad():
        expected = affine_inverse_reference(z.double(), exact.maps(), exact.bound())
    require_close([affine.inverse(z)], [expected])


def test_the_reference_of_the_inverse_leaves_the_weights_alone() -> None:
    affine = AutoregressiveAffine(4, 3, seeded())
    before = {name: value.clone() for name, value in affine.state_dict().items()}
    with torch.no_grad():
        affine_inverse_reference(torch.randn(2, 4), affine.maps(), affine.bound())
    assert all(torch.equal(before[name], value) for name, value in affine.state_dict().items())


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_large_values_saturate_and_what_is_not_a_number_stays_none() -> None:
    flow = NormalizingFlow(4, 2, 3, seeded())
    x = torch.tensor([[1e4, -1e4, 1e4, -1e4], [0.0, math.nan, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    z, ldj = flow(x)
    expected, expected_ldj = in_double(flow)(x.double())
    torch.testing.assert_close(z, expected.float(), equal_nan=True)
    torch.testing.assert_close(ldj, expected_ldj.float(), equal_nan=True)
    assert z[1].isnan().any()
    assert z[[0, 2]].isfinite().all()


@pytest.mark.compiled
@pytest.mark.usefixtures("threads")
def test_the_same_bytes_every_time() -> None:
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
    kept: list[weakref.ref[operation.Flow]] = []

    class Watched(operation.Flow):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            kept.append(weakref.ref(self))

    monkeypatch.setattr(operation, "Flow", Watched)
    flow = NormalizingFlow(4, 2, 3, seeded())
    gc.disable()  # nothing may wait for it: activations are large
    try:
        values = flow(torch.randn(10, 4))
        assert [one() is not None for one in kept] == [True]
        del values
        assert [one() for one in kept] == [None]
    finally:
        gc.enable()


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("changed", ["x", "bias", "lower", "first.weight", "last.bias", "scaling"])
def test_what_changed_in_place_since_the_forward_pass_is_refused(changed: str) -> None:
    flow = NormalizingFlow(4, 2, 3, seeded())
    x = torch.randn(5, 4, generator=seeded(1))
    parameter = next((value for name, value in flow.named_parameters() if name.endswith(changed)), x)
    assert (parameter is x) == (changed == "x")
    z, _ = flow(x)
    with torch.no_grad():
        parameter.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_without_compiled_functions_the_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, x = trained(NormalizingFlow(8, 2, 4, seeded())), torch.randn(20, 8, generator=seeded(1))
    z, ldj = flow(x)
    monkeypatch.setattr(library, "level", lambda: 0)
    torch.testing.assert_close(flow(x), (z, ldj), rtol=1e-5, atol=1e-5)
    for some in (z, z[:1]):
        torch.testing.assert_close(flow.inverse(some), x[: len(some)], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("form")
def test_no_transforms_are_the_identity() -> None:
    x = torch.randn(3, 2, generator=seeded())
    z, ldj = NormalizingFlow(2, 0, 3)(x)
    assert torch.equal(z, x)
    assert ldj.tolist() == [0, 0, 0]
