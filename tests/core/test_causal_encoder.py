"""The causal encoder: what each kind of head predicts and is trained with."""

import math

import pytest
import torch
from torch.nn import functional

from citris_cli.core.causal_encoder import (
    AngleHead,
    CategoricalHead,
    CausalEncoder,
    ContinuousHead,
)
from citris_cli.core.config import CausalEncoderConfig
from citris_cli.data.variables import Variable

X = Variable("x", "continuous", 10.0, 18.0)
ANGLE = Variable("a", "angle")
SHAPE = Variable("s", "categorical", categories=3)
SIZES = CausalEncoderConfig(width=32, channels=4, patch=2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(*factors: Variable) -> CausalEncoder:
    return CausalEncoder(SIZES, factors or (X, ANGLE, SHAPE), seeded())


def images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=seeded(1)) * 2 - 1


def test_predictions_are_values_of_the_factors_in_their_order() -> None:
    network = model().eval()
    predicted = network.predict(images())
    assert predicted.shape == (5, 3)
    features = network.encoder(images())
    for index, head in enumerate(network.heads):
        torch.testing.assert_close(predicted[:, index], head.value(head(features)))
    turned = model(SHAPE, X).eval().predict(images())
    assert set(turned[:, 0].tolist()) <= {0.0, 1.0, 2.0}
    assert ((turned[:, 1] >= 10) & (turned[:, 1] <= 18)).all()


def test_a_continuous_head_covers_the_range_and_nothing_beyond() -> None:
    head = ContinuousHead(4, X)
    value = head.value(torch.tensor([[-1e9], [0.0], [1e9], [1.0]]))
    torch.testing.assert_close(value, torch.tensor([10.0, 14.0, 18.0, 14 + 4 * math.tanh(0.5)]))


def test_a_continuous_loss_does_not_depend_on_the_unit() -> None:
    outputs = torch.randn(6, 1, generator=seeded())
    shares = torch.rand(6, generator=seeded(1))
    losses = []
    for low, high in ((-2.0, 2.0), (10.0, 18.0), (0.0, 0.001)):
        head = ContinuousHead(4, Variable("x", "continuous", low, high))
        losses.append(head.loss(outputs, low + shares * (high - low)))
    published = (2 * torch.tanh(outputs[:, 0] / 2) - (4 * shares - 2)).square().mean()
    for loss in losses:
        torch.testing.assert_close(loss, published, rtol=1e-4, atol=1e-5)


def test_an_angle_is_the_direction_of_sine_and_cosine() -> None:
    angles = torch.tensor([0.0, 1.0, 3.0, 4.0, 6.0])
    outputs = 5 * torch.stack([angles.sin(), angles.cos()], dim=-1)
    head = AngleHead(4, norm_penalty=0.1)
    torch.testing.assert_close(head.value(outputs), angles, rtol=0, atol=1e-5)
    head.eval()
    torch.testing.assert_close(head.loss(outputs, angles), torch.tensor(0.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(head.loss(outputs, angles + math.pi / 2), torch.tensor(1.0))
    torch.testing.assert_close(head.loss(outputs, angles + math.pi), torch.tensor(2.0))


def test_the_norm_of_an_angle_is_drawn_to_two_in_training_only() -> None:
    head = AngleHead(4, norm_penalty=0.1)
    outputs, angles = torch.tensor([[0.0, 5.0], [1.0, 0.0]]), torch.zeros(2)
    by_direction = 0.5  # 0 of the first, 1 of the second
    torch.testing.assert_close(head.eval().loss(outputs, angles), torch.tensor(by_direction))
    torch.testing.assert_close(head.train().loss(outputs, angles), torch.tensor(by_direction + 0.1 * (9 + 1) / 2))
    assert AngleHead(4, norm_penalty=0.0).train().loss(outputs, angles) == by_direction


def test_a_category_is_the_likeliest() -> None:
    head = CategoricalHead(4, SHAPE)
    logits = torch.randn(6, 3, generator=seeded())
    targets = torch.tensor([0.0, 2.0, 1.0, 1.0, 0.0, 2.0])
    assert head.value(logits).tolist() == logits.argmax(1).tolist()
    torch.testing.assert_close(head.loss(logits, targets), functional.cross_entropy(logits, targets.long()))


def test_the_loss_is_the_sum_over_factors_by_kind() -> None:
    second = Variable("y", "continuous", 0.0, 1.0)
    network = model(X, second, ANGLE, SHAPE)
    truth = torch.tensor([[12.0, 0.5, 1.0, 2.0]] * 5)
    loss, parts = network.loss(images(), truth)
    assert set(parts) == {"continuous", "angle", "categorical"}
    torch.testing.assert_close(loss.detach(), torch.stack(list(parts.values())).sum())
    assert loss.requires_grad
    assert not any(part.requires_grad for part in parts.values())
    features = network.encoder(images())
    continuous = [network.heads[i].loss(network.heads[i](features), truth[:, i]) for i in range(2)]
    torch.testing.assert_close(parts["continuous"], sum(continuous).detach())


def test_every_kind_is_learned() -> None:
    truth = torch.tensor([[11.0, 0.2, 0.0], [17.0, 6.1, 1.0], [14.0, 2.0, 2.0], [12.0, 4.0, 1.0]])
    network, seen = model(), images(4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        network.loss(seen, truth)[0].backward()
        optimizer.step()
    predicted = network.predict(seen).detach()  # with the batch's own statistics, as it was trained
    assert (predicted[:, 0] - truth[:, 0]).abs().max() < 0.3
    assert (predicted[:, 1] - truth[:, 1]).cos().min() > 0.99
    assert torch.equal(predicted[:, 2], truth[:, 2])


def test_same_seed_same_weights() -> None:
    first, second, other = (CausalEncoder(SIZES, (X, SHAPE), seeded(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["heads.0.weight"], other["heads.0.weight"])


class Unheard:
    """A factor of a kind that there is not."""

    name, kind, low, high, categories = "z", "colour", None, None, None


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        ((), "no factors"),
        ((Variable("x"),), "factor x has the range None"),
        ((Variable("s", "categorical"),), "factor s has None categories"),
        ((X, Unheard()), "factor z is of the unknown kind colour"),
    ],
)
def test_what_no_head_can_learn_is_refused(factors: tuple, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CausalEncoder(SIZES, factors)
