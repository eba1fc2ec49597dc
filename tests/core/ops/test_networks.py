"""Masked and separate networks: values and gradients of their references in float64, on every kind of processor."""

import pytest
import torch
from torch import Tensor

from citris_cli.core.masked import MaskedLinear
from citris_cli.core.ops.networks import (
    LinearMap,
    Structure,
    full,
    network,
    network_reference,
    separate,
    separate_networks,
    separate_networks_reference,
)
from tests.core.ops.exact import random, require_exact, seeded


def seen(structure: Structure) -> Tensor:
    """Mask [outputs, inputs] of a structure."""
    columns = torch.arange(structure.inputs)
    return ((columns >= structure.low[:, None]) & (columns < structure.high[:, None])).float()


@pytest.mark.compiled
@pytest.mark.parametrize("strict", [True, False])
def test_a_masked_map_and_its_structure_say_the_same(strict: bool) -> None:
    layer = MaskedLinear(2, 3, 5, strict, seeded())
    assert torch.equal(seen(layer.as_map().structure()), layer.mask)


@pytest.mark.compiled
def test_structures_of_maps_without_masks() -> None:
    assert torch.equal(seen(full(3, 2)), torch.ones(3, 2))
    assert torch.equal(seen(LinearMap(torch.ones(3, 2), torch.ones(3)).structure()), torch.ones(3, 2))
    assert torch.equal(seen(separate(3, 2, 4)), torch.block_diag(*torch.ones(4, 3, 2)))


def three_maps(variables: int, hidden: int) -> list[LinearMap]:
    """Those of an autoregressive network: one feature a variable in, two out; weights above the blocks not 0."""
    layers = [
        MaskedLinear(1, hidden, variables, True),
        MaskedLinear(hidden, hidden, variables, False),
        MaskedLinear(hidden, 2, variables, False),
    ]
    return [
        layer.as_map()._replace(
            weight=3 * random(*layer.weight.shape, seed=2 * seed), bias=random(len(layer.bias), seed=2 * seed + 1)
        )
        for seed, layer in enumerate(layers)
    ]


def with_parameters(maps: list[LinearMap], parameters: tuple[Tensor, ...]) -> list[LinearMap]:
    return [
        one._replace(weight=weight, bias=bias, mask=None if one.mask is None else one.mask.to(weight.dtype))
        for one, weight, bias in zip(maps, parameters[0::2], parameters[1::2], strict=True)
    ]


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
@pytest.mark.parametrize(
    ("variables", "hidden", "rows"), [(1, 1, 1), (2, 3, 5), (5, 3, 200), (32, 16, 131), (9, 17, 64)]
)
def test_masked_networks(variables: int, hidden: int, rows: int) -> None:
    maps = three_maps(variables, hidden)
    learned = [3 * random(rows, variables, seed=7), *(part for one in maps for part in (one.weight, one.bias))]
    require_exact(
        lambda x, *parameters: network(x, with_parameters(maps, parameters)),
        lambda x, *parameters: network_reference(x, with_parameters(maps, parameters)),
        learned,
    )


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
def test_a_network_whose_first_map_sees_everything_and_rows_of_several_dimensions() -> None:
    maps = three_maps(5, 3)
    maps[0] = LinearMap(random(15, 7), random(15, seed=1))
    learned = [3 * random(4, 2, 3, 7, seed=7), *(part for one in maps for part in (one.weight, one.bias))]
    require_exact(
        lambda x, *parameters: network(x, with_parameters(maps, parameters)),
        lambda x, *parameters: network_reference(x, with_parameters(maps, parameters)),
        learned,
    )


@pytest.mark.compiled
@pytest.mark.usefixtures("processor", "threads")
@pytest.mark.parametrize(
    ("number", "hidden", "inputs", "rows"),
    [(1, 1, 1, (1,)), (2, 2, 3, (5,)), (3, 5, 4, (7,)), (6, 64, 32, (20, 5)), (9, 20, 9, (5, 2, 5))],
)
def test_separate_networks(number: int, hidden: int, inputs: int, rows: tuple[int, ...]) -> None:
    shapes = (number, hidden, inputs), (number, hidden, hidden), (number, 2, hidden)
    parameters = [
        part for seed, shape in enumerate(shapes) for part in (2 * random(*shape, seed=seed), random(*shape[:2]))
    ]
    require_exact(
        lambda x, *parameters: separate_networks(x, parameters),
        lambda x, *parameters: separate_networks_reference(x, parameters),
        [3 * random(*rows, inputs, seed=7), *parameters],
    )


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
def test_weights_that_changed_in_place_since_the_forward_pass_are_refused() -> None:
    parameters = [part for one in three_maps(3, 2) for part in (one.weight, one.bias)]
    weights = [one.requires_grad_() for one in parameters]
    x = random(4, 3)
    for index in (2, 4):
        y = network(x, with_parameters(three_maps(3, 2), tuple(weights)))
        with torch.no_grad():
            weights[index].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
