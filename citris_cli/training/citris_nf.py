"""Training of CITRIS-NF on the encodings of a frozen autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.ops import shares
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.frames import sent
from citris_cli.evaluation.validation import CRITERION
from citris_cli.training.causal_latents import parameter_groups
from citris_cli.training.config import CausalTrainingConfig
from citris_cli.training.task import Schedule

#: Pairs that a validation looks at.
VALIDATION_PAIRS = 1024


class CitrisNFTask:
    """Pairs of consecutive encodings in shuffled batches; AdamW with a rate of its own for the target classifier.

    Args:
        model: CITRIS-NF, on its device.
        encodings: encodings of all frames [N, M] on the same device.
        starts: index i of every pair (i, i+1) of consecutive frames, int64 [P].
        targets: uint8 [N, K], row i the targets of the step from frame i to i+1.
        config: how to train.
        evaluate: measures the model on held-out data, in evaluation mode; one of its measures is :data:`CRITERION`,
            by which the best model is kept. None to keep the last.
        assign: gives the latents of a model whose prior learns no assignment to variables, or None.
    """

    unit = "pairs"

    def __init__(
        self,
        model: CitrisNF,
        encodings: Tensor,
        starts: Tensor,
        targets: Tensor,
        config: CausalTrainingConfig,
        evaluate: Callable[[], dict[str, float]] | None = None,
        assign: Callable[[], None] | None = None,
    ) -> None:
        self._assign = assign
        self.criterion = CRITERION if evaluate is not None else None
        self._evaluate = evaluate
        self.model = model
        self._config = config
        self._encodings = encodings
        self._starts = starts.to(encodings.device)
        self._targets = targets.to(encodings.device)
        self._batches = ShuffledBatches(len(starts), config.batch_size, config.seed, encodings.device)
        self.samples = self._batches.n
        self.batch_size = self._batches.batch_size

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Flow, assignment and prior at the main rate; the classifier at its own, with weight decay."""
        return parameter_groups(self.model, self._config)

    def begin(self, generator: torch.Generator) -> None:
        """The first batch sets the flow's ActNorms."""
        encodings, _ = self.batch(0)
        noise_scale = self.schedule(0)["noise_scale"]
        self.model.initialise_flow(encodings.flatten(0, 1), generator, noise_scale)

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """Encodings [B, 2, M] and targets [B, K] of pairs."""
        return self._pairs(shares.own(self._batches.at(step)))

    def schedule(self, step: int) -> dict[str, float]:
        """The factor on the noise, and what the model says."""
        progress = step / self._config.steps
        return {**self._config.schedule(progress), **self.model.schedule(progress)}

    def loss(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch; see :meth:`CitrisNF.loss`."""
        encodings, targets = batch
        return self.model.loss(encodings, targets, generator, schedule)

    def settle(self) -> None:
        """Give latents to variables where the prior does not, if there is something to do so by."""
        if self._assign is not None:
            self._assign()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """NLL (nats) of pairs spread over the sequence, in evaluation mode."""
        training = self.model.training
        self.model.eval()
        generator = torch.Generator(device=self._encodings.device).manual_seed(0)
        count = min(VALIDATION_PAIRS, len(self._starts))
        index = torch.linspace(0, len(self._starts) - 1, count).round().long()
        total = 0.0
        for chunk in index.split(256):
            _, parts = self.model.loss(*self._pairs(chunk), generator)
            total += float(parts["nll"]) * len(chunk)
        measures = {"train_nll": total / count}
        if self._evaluate is not None:
            measures |= self._evaluate()
        self.model.train(training)
        return measures

    def _pairs(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Encodings [B, 2, M] and targets [B, K] of the pairs at an index [B]."""
        first = self._starts[sent(index, self._starts.device)]
        pairs = torch.stack([self._encodings[first], self._encodings[first + 1]], dim=1)
        return pairs, self._targets[first]
