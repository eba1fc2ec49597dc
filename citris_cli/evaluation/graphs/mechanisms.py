"""Small networks that predict a variable's latents from those of others: one a child and fold, as batched matrices.

A network is told which possible parents it sees (1) and which it does not (−1), so that it has something to go by where
it sees none: with 0 for these, edges are found where there are none, for any is better than none. What a parent adds to
the first layer does not depend on which others are seen, so many graphs of a step cost a small product each.

Letters: F folds, C children, P slots of possible parents (a variable in the step before, or in this one), D latents in
all slots, L latents of the widest child, B steps, G graphs, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Bounds of a predicted log standard deviation, of latents with standard deviation 1: what is all but determined by its
#: causes is not told by ever more.
LOG_STD = (math.log(0.02), math.log(3.0))


class Mechanisms(nn.Module):
    """Gaussians of every child's latents, given the latents of its parents.

    Args:
        slots: latents of each slot: positions in the input [D], one after another.
        children: latents of each child: positions in what is predicted.
        folds: number of folds, each with networks of its own.
        hidden: width of both hidden layers.
        generator: source of the random start.
    """

    def __init__(
        self,
        slots: Sequence[int],
        children: Sequence[Tensor],
        folds: int,
        hidden: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.slots, self.folds, self.count = tuple(slots), folds, len(children)
        inputs, widest = sum(slots), max(len(child) for child in children)
        networks = folds * len(children)

        def uniform(*shape: int, fan: int) -> nn.Parameter:
            bound = math.sqrt(6 / fan)
            drawn = torch.rand(shape, generator=generator, device=generator.device)
            return nn.Parameter((2 * drawn - 1) * bound)

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(shape, device=generator.device))

        self.first = uniform(networks, inputs, hidden, fan=max(inputs // 2, 1))
        self.seen = uniform(networks, len(slots), hidden, fan=max(inputs // 2, 1))
        self.first_bias = zeros(networks, 1, hidden)
        self.second = uniform(networks, hidden, hidden, fan=hidden)
        self.second_bias = zeros(networks, 1, hidden)
        self.last = zeros(networks, hidden, 2 * widest)
        self.last_bias = zeros(networks, 1, 2 * widest)
        self.register_buffer("of_slot", torch.repeat_interleave(torch.arange(len(slots)), torch.tensor(slots)))
        own = torch.zeros(len(children), widest, dtype=torch.long)
        real = torch.zeros(len(children), widest)
        for index, child in enumerate(children):
            own[index, : len(child)] = child
            real[index, : len(child)] = 1
        self.register_buffer("own", own)
        self.register_buffer("real", real)
        self.of_slot: Tensor
        self.own: Tensor
        self.real: Tensor
        self.to(generator.device)

    def losses(self, inputs: Tensor, outputs: Tensor, graphs: Tensor) -> Tensor:
        """Negative log-likelihood of every child in one graph a step.

        Args:
            inputs: latents of all slots [F, B, D].
            outputs: latents that are predicted [F, B, M].
            graphs: the parents that are seen, 0 or 1 [F, B, C, P].

        Returns:
            [F, B, C], summed over the latents of each child.
        """
        folds, steps = inputs.shape[:2]
        masks = graphs.transpose(1, 2)  # [F, C, B, P]
        visible = inputs.unsqueeze(1) * masks[..., self.of_slot]
        joined = torch.cat([visible, 2 * masks - 1], dim=-1).flatten(0, 1)
        hidden = torch.bmm(joined, torch.cat([self.first, self.seen], dim=1)) + self.first_bias
        return self._scored(hidden, outputs, 1).view(folds, self.count, steps).transpose(1, 2)

    def losses_of_many(self, inputs: Tensor, outputs: Tensor, graphs: Tensor) -> Tensor:
        """The same in several graphs a step.

        Args:
            inputs: [F, B, D].
            outputs: [F, B, M].
            graphs: [F, C, B, G, P].

        Returns:
            [F, C, B, G].
        """
        folds, children, steps, number, slots = graphs.shape
        parts = []
        start = 0
        weights = self.first.view(folds, children, *self.first.shape[1:])
        for width in self.slots:
            block = weights[:, :, start : start + width].transpose(1, 2).reshape(folds, width, -1)
            parts.append(torch.bmm(inputs[..., start : start + width], block))
            start += width
        # [F, B, P, C, H] -> [F, C, B, P, H]
        of_slots = torch.stack(parts, dim=2).view(folds, steps, slots, children, -1).permute(0, 3, 1, 2, 4)
        of_slots = of_slots + 2 * self.seen.view(folds, children, 1, slots, -1)
        hidden = torch.bmm(graphs.flatten(0, 2), of_slots.flatten(0, 2))
        hidden = hidden.view(folds * children, steps * number, -1).add_(
            self.first_bias - self.seen.sum(1, keepdim=True)
        )
        return self._scored(hidden, outputs, number).view(folds, children, steps, number)

    def _scored(self, hidden: Tensor, outputs: Tensor, number: int) -> Tensor:
        """From before the first activation [F·C, B·G, H] to losses [F·C, B·G]."""
        hidden = nn.functional.silu(hidden, inplace=True)
        hidden = nn.functional.silu(torch.bmm(hidden, self.second).add_(self.second_bias), inplace=True)
        mean, log_std = torch.bmm(hidden, self.last).add_(self.last_bias).chunk(2, dim=-1)
        log_std = log_std.clamp(*LOG_STD)
        true = outputs[:, :, self.own].transpose(1, 2).flatten(0, 1)  # [F·C, B, L]
        if number > 1:
            mean, log_std = (one.unflatten(1, (-1, number)) for one in (mean, log_std))
            true = true.unsqueeze(2)
        error = (true - mean) * (-log_std).exp()
        nats = 0.5 * error * error + log_std + 0.5 * math.log(2 * math.pi)
        real = self.real.repeat(self.folds, 1)
        return (nats.flatten(1, -2) * real.unsqueeze(1)).sum(-1)
