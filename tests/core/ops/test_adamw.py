"""The optimiser: what PyTorch's clipping and AdamW do, compiled or not, and their state."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from citris_cli.core.ops import library
from citris_cli.core.ops.adamw import ClippedAdamW
from tests.core.ops.exact import require_close

CLIP = 2.0


def make() -> nn.ModuleList:
    """Weights of several sizes, one of them in channels-last order, one of a single number."""
    generator = torch.Generator().manual_seed(0)
    shapes = (3, 5), (70, 130), (17,), (4, 6, 3, 3), ()
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    tensors[3] = tensors[3].contiguous(memory_format=torch.channels_last)
    return nn.ModuleList([nn.ParameterList([tensor]) for tensor in tensors])


def groups(model: nn.ModuleList) -> list[dict[str, object]]:
    parameters = list(model.parameters())
    return [{"params": parameters[:2], "lr": 0.01}, {"params": parameters[2:], "lr": 0.1, "weight_decay": 0.2}]


def give_gradients(model: nn.Module, step: int, scale: float) -> None:
    """Random ones; the third weight has none in every other step, and parts of two weights have never one but 0."""
    generator = torch.Generator().manual_seed(step)
    for number, parameter in enumerate(model.parameters()):
        gradient = torch.empty_like(parameter).copy_(scale * torch.randn(parameter.shape, generator=generator))
        if number in (1, 3):
            gradient[:2] = 0
        parameter.grad = None if number == 2 and step % 2 else gradient


@pytest.mark.usefixtures("form", "threads")
@pytest.mark.parametrize("scale", [1.0, 1e-4], ids=["clipped", "not clipped"])
def test_steps_are_those_of_clipping_and_adamw(scale: float) -> None:
    ours, theirs = make(), make()
    optimizer = ClippedAdamW(groups(ours), CLIP)
    expected = torch.optim.AdamW(groups(theirs), weight_decay=0.0)
    for step in range(5):
        give_gradients(ours, step, scale)
        give_gradients(theirs, step, scale)
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)
        expected.step()
        torch.testing.assert_close(optimizer.update(), norm)
        assert all(parameter.grad is None for parameter in ours.parameters())
        torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), rtol=2e-6, atol=2e-6)
    # And a step more, by either, from the other's state.
    changed = copy.deepcopy(optimizer.state_dict()["state"]), copy.deepcopy(expected.state_dict()["state"])
    for one, state in ((optimizer, changed[1]), (expected, changed[0])):
        one.load_state_dict({"state": state, "param_groups": one.state_dict()["param_groups"]})
    give_gradients(ours, 5, scale)
    give_gradients(theirs, 5, scale)
    nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)
    expected.step()
    optimizer.update()
    torch.testing.assert_close(list(ours.parameters()), list(theirs.parameters()), rtol=2e-6, atol=2e-6)


@pytest.mark.usefixtures("form", "threads")
def test_steps_are_those_in_float64() -> None:
    ours, theirs = make(), make().double()
    optimizer = ClippedAdamW(groups(ours), CLIP)
    expected = torch.optim.AdamW(groups(theirs), weight_decay=0.0)
    for step in range(20):
        give_gradients(ours, step, 1.0)
        for mine, exact in zip(ours.parameters(), theirs.parameters(), strict=True):
            exact.grad = None if mine.grad is None else mine.grad.double()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)
        expected.step()
        assert optimizer.update().item() == pytest.approx(norm.item(), rel=1e-6)
    require_close(list(ours.parameters()), list(theirs.parameters()))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_no_number_shows_in_every_weight_that_has_one(bad: float) -> None:
    model = make()
    optimizer = ClippedAdamW(groups(model), CLIP)
    give_gradients(model, 1, 1.0)
    first = next(model.parameters())
    assert first.grad is not None
    first.grad[0, 0] = bad
    assert not optimizer.update().isfinite()
    # What PyTorch's clipping makes of it: all no numbers, or by an infinite norm nothing but the bad one.
    assert first[0, 0].isnan()
    others: Callable[[Tensor], Tensor] = lambda weight: weight.isnan().all() == (bad is torch.nan)  # noqa: E731
    assert others(list(model.parameters())[1])


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_order_in_memory_does_not_matter(order: torch.memory_format) -> None:
    if library.level() == 0:
        pytest.skip("PyTorch's fused AdamW wants gradients in the order of the weights")
    results = []
    for of_gradient in (torch.contiguous_format, torch.channels_last):
        weight = nn.Parameter(torch.ones(4, 6, 3, 3).contiguous(memory_format=order))
        weight.grad = torch.arange(216.0).view(4, 6, 3, 3).contiguous(memory_format=of_gradient)
        ClippedAdamW([{"params": [weight], "lr": 0.1, "eps": 1.0}], CLIP).update()
        results.append(weight.detach())
    assert torch.equal(*results)
    assert len(results[0].unique()) == 216


def test_no_gradient_no_step() -> None:
    model = make()
    before = copy.deepcopy(list(model.parameters()))
    assert ClippedAdamW(groups(model), CLIP).update() == 0
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), before, strict=True))
