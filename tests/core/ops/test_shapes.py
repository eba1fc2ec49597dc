"""Shapes that an operation does not state: its compiled form, which is given addresses, leaves them to PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from citris_cli.core.ops import classifier, convolution, flow, graph_losses, gumbel, marginal_score, networks
from citris_cli.core.ops.owner_networks import OwnerNetworks, Sight
from tests.core.ops.exact import random, seeded, trained

pytestmark = [pytest.mark.compiled, pytest.mark.usefixtures("processor")]

MAPS = [networks.LinearMap(random(6, 4), random(6)), networks.LinearMap(random(6, 6), random(6))]
LAST = networks.LinearMap(random(8, 6), random(8))
SHORT = networks.LinearMap(random(8, 6), random(7))
BLOCKS = networks.LinearMap(random(6, 4), random(6), torch.ones(6, 4), networks.Blocks(3, 3, 2, True))
#: Of three networks of four inputs.
SEPARATE = [random(3, 5, 4), random(3, 5), random(3, 5, 5), random(3, 5), random(3, 2, 5), random(3, 2)]
CLASSIFIER = nn.Sequential(nn.Linear(12, 6), nn.LayerNorm(6), nn.SiLU(), nn.Linear(6, 2))


def told(*shape: int) -> Tensor:
    return (random(*shape) > 0).float()


def pairs(observational: Tensor, z: Tensor, targets: Tensor, probabilities: Tensor, intervened: Tensor) -> Any:
    return observational, z, targets, probabilities, intervened, 0.1, True


def losses(z: Tensor, sample: Tensor, targets: Tensor, mean: Tensor, conditional: Tensor | None = None) -> Any:
    return z, sample, targets, (mean, conditional), CLASSIFIER, CLASSIFIER


def compared(fast: Callable[..., Any], reference: Callable[..., Any], arguments: Any, more: Any = ()) -> None:
    """Both give the same, or refuse it with the same exception."""

    def copies() -> list[Any]:
        return [one.clone() if isinstance(one, Tensor) else one for one in arguments]

    try:
        wanted = reference(*copies())
    except Exception as error:  # whatever PyTorch has against it
        with pytest.raises(type(error)):
            fast(*copies(), *more)
    else:
        torch.testing.assert_close(fast(*copies(), *more), wanted)


@pytest.mark.parametrize(
    ("x", "maps"),
    [
        (random(5, 3), [*MAPS, LAST]),
        (random(5, 40), [*MAPS, LAST]),
        (random(5, 4), [*MAPS, SHORT]),
        (random(5, 4), [MAPS[0], LAST, MAPS[1]]),
        (random(5, 4), [BLOCKS, MAPS[1], LAST]),
        (random(4).squeeze(), [*MAPS, LAST]),
    ],
)
def test_networks(x: Tensor, maps: list[networks.LinearMap]) -> None:
    compared(networks.network, networks.network_reference, (x, maps))


@pytest.mark.parametrize("width", [1, 3, 50])
def test_separate_networks(width: int) -> None:
    compared(networks.separate_networks, networks.separate_networks_reference, (random(7, width), SEPARATE))


def test_separate_networks_whose_maps_do_not_follow() -> None:
    wrong = [*SEPARATE[:4], random(3, 2, 6), SEPARATE[5]]
    compared(networks.separate_networks, networks.separate_networks_reference, (random(7, 4), wrong))


@pytest.mark.parametrize("shape", [(3, 2), (3, 9), (4,), (2, 3, 4)])
def test_the_inverse(shape: tuple[int, ...]) -> None:
    compared(flow.affine_inverse, flow.affine_inverse_reference, (random(*shape), [*MAPS, LAST], torch.ones(4)))


@pytest.mark.parametrize(
    "arguments",
    [
        pairs(random(5, 3, 4, 2), random(5, 3, 1), told(5, 2), random(4, 3), random(4, 2, 2)),
        pairs(random(5, 3, 4, 2), random(5, 3, 4), told(1, 2), random(4, 3), random(4, 2, 2)),
        pairs(random(5, 3, 4, 2), random(5, 3, 4), told(5, 3), random(4, 3), random(4, 2, 2)),
        pairs(random(5, 3, 4, 2), random(5, 3, 4), told(5, 2), random(1, 3), random(4, 2, 2)),
        pairs(random(5, 3, 4, 2), random(5, 3, 4), told(5, 2), random(4, 3), random(1, 2, 2)),
        pairs(random(5, 3, 4, 2), random(5, 3, 4), told(5, 2), random(4, 3).double(), random(4, 2, 2)),
    ],
)
def test_the_marginal_score(arguments: Any) -> None:
    compared(marginal_score.marginal_nll, marginal_score.marginal_nll_reference, arguments)


@pytest.mark.parametrize(
    ("targets", "pi", "variance"), [((5, 2), (1, 2), (5, 4)), ((5, 2), (4, 2), (5, 1)), ((1, 2), (4, 2), (5, 4))]
)
def test_graph_losses(targets: tuple[int, int], pi: tuple[int, int], variance: tuple[int, int]) -> None:
    owners = trained(OwnerNetworks(4, 2, 6, False, seeded()))
    psi = torch.eye(2)[torch.tensor([0, 1, 1, 0])].expand(5, -1, -1)
    sight = Sight(random(5, 3, 4), random(5, 3, 4, seed=1), told(*targets), psi)
    scored = graph_losses.Scored(random(5, 4), random(*variance).square(), random(5, 4))
    arguments = owners, sight, told(5, 2, 2, 2) * (1 - torch.eye(2)), random(*pi).softmax(-1), 1e-4, scored
    compared(graph_losses.graph_losses, graph_losses.graph_losses_reference, arguments, (True,))


@pytest.mark.parametrize("shape", [(5, 4, 2), (5, 2, 3), (5, 1, 3), (4, 3)])
def test_gumbel(shape: tuple[int, ...]) -> None:
    uniform = torch.rand(shape, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    compared(gumbel.gumbel_softmax, gumbel.gumbel_softmax_reference, (random(4, 3), uniform, 0.5))


@pytest.mark.parametrize(
    "arguments",
    [
        losses(random(5, 3, 3), told(5, 4, 3), told(5, 2, 2), random(2)),
        losses(random(5, 3, 4), told(4, 4, 3), told(5, 2, 2), random(2)),
        losses(random(5, 3, 4), told(5, 4, 3), told(5, 3, 2), random(2)),
        losses(random(5, 3, 4), told(5, 4, 3), told(5, 2, 2), random(1)),
        losses(random(5, 3, 4), told(5, 4, 3), told(5, 2, 2), random(2), random(1, 2, 2)),
        losses(random(5, 3, 4), told(5, 4, 3), told(5, 2, 2).double(), random(2)),
    ],
)
def test_target_losses(arguments: Any) -> None:
    compared(classifier.target_losses, classifier.target_losses_reference, arguments, (True,))


@pytest.mark.parametrize(("rows", "means"), [((6, 3), 2), ((6, 1), 2), ((6, 2), 3)])
def test_means_of_targets(rows: tuple[int, ...], means: int) -> None:
    def moved(function: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Tensor) -> list[Tensor]:
            function(*arguments)
            return list(arguments[1:])

        return call

    state = torch.zeros(()), torch.zeros(means), torch.zeros(means, 2), torch.zeros(means, 2, means)
    fast, reference = classifier.update_target_means, classifier.update_target_means_reference
    compared(moved(fast), moved(reference), (told(*rows), *state))


@pytest.mark.parametrize(("x", "weight"), [((4, 32, 16, 16), (64, 64, 3, 3)), ((4, 64, 16, 16), (64, 64, 5, 5))])
def test_convolutions(x: tuple[int, ...], weight: tuple[int, ...]) -> None:
    compared(convolution.conv3x3, convolution.conv3x3_reference, (random(*x), random(*weight)))
