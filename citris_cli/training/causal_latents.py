"""What the trainings of CITRIS-NF and CITRIS-VAE share: the classifier's own rate, the measure of the best model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.training.loop import TrainingConfig

#: Weight decay of the target classifier's own optimiser group.
CLASSIFIER_WEIGHT_DECAY = 1e-4
#: The measure by which the best model is kept.
CRITERION = "val_score"


@dataclass(frozen=True)
class CausalTrainingConfig(TrainingConfig):
    """How a model with causal latents is trained.

    Attributes:
        classifier_lr: learning rate of the target classifier at the top of the schedule.
        noise_start: noise on the causal latents at the start, in multiples of the model's own (CITRIS-NF: sigma;
            CITRIS-VAE: the posterior's standard deviations), at least 1. Where the noise is small beside a variable's
            steps, moving a variable from one block of latents to another costs likelihood all the way, and a training
            keeps the blocks that it happened to start with; under more noise it does not.
        noise_decay: share of the steps over which that factor falls to 1, geometrically.
        regulariser_warmup: share of the steps over which lambda, the pull into psi(0), rises from 0 to its own. From
            the start it would take variables with it whose interventions are not understood yet; at the end it takes
            what no intervention speaks for, as long as noise lets it move.
    """

    classifier_lr: float = 4e-3
    noise_start: float = 1.0
    noise_decay: float = 0.4
    regulariser_warmup: float = 0.0

    def noise_scale(self, step: int) -> float:
        """Factor on the model's own noise at a step (0, 1, …)."""
        left = 1 - step / (self.noise_decay * self.steps) if self.noise_decay > 0 else 0.0
        return self.noise_start ** max(0.0, left)

    def pull(self, step: int) -> float:
        """Factor on lambda at a step (0, 1, …)."""
        rise = self.regulariser_warmup * self.steps
        return min(1.0, step / rise) if rise > 0 else 1.0

    def schedule(self, step: int) -> dict[str, float]:
        """Both factors at a step, by name."""
        return {"noise_scale": self.noise_scale(step), "pull": self.pull(step)}


def parameter_groups(model: CausalLatentsModel, config: CausalTrainingConfig) -> list[dict[str, Any]]:
    """Optimiser groups: all that learns at the main rate; the target classifier at its own, with weight decay.

    Args:
        model: the model in training.
        config: how it is trained.
    """
    classifier = list(model.classifier.network.parameters())
    theirs = {id(parameter) for parameter in classifier}
    main = [p for p in model.parameters() if p.requires_grad and id(p) not in theirs]
    return [
        {"params": main, "lr": config.lr},
        {"params": classifier, "lr": config.classifier_lr, "weight_decay": CLASSIFIER_WEIGHT_DECAY},
    ]
