"""Layers one after the other: neighbours that are computed together give what they give one by one."""

import torch
from torch import nn

from citris_cli.core.networks import PositionLayer
from citris_cli.core.ops.batch_norm import BatchNorm
from citris_cli.core.ops.layers import Layers
from tests.core.ops.exact import seeded


def test_layers_computed_together_give_what_they_give_one_by_one() -> None:
    def layers() -> Layers:
        torch.manual_seed(0)
        made = Layers(
            nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), PositionLayer(4, 8), BatchNorm(4), nn.SiLU(),
            nn.Conv2d(4, 4, 1), PositionLayer(4, 8), nn.SiLU(), nn.Conv2d(4, 5, 3, padding=1), BatchNorm(5), nn.SiLU(),
            nn.Conv2d(5, 2, 1),
        )  # fmt: skip
        return made.double()

    one, other = layers(), layers()
    x = torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=seeded())
    for training in (True, False):
        one.train(training)
        other.train(training)
        value, together = one(x), other.together(x)
        torch.testing.assert_close(together, value)
        value.square().sum().backward()
        together.square().sum().backward()
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(q.grad, p.grad)
    torch.testing.assert_close(other.state_dict(), one.state_dict())
