"""What the trainings of CITRIS-NF and CITRIS-VAE share: rates of their own, and the measure of the best model."""

from __future__ import annotations

from typing import Any

from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.training.config import CausalTrainingConfig

#: Weight decay of the target classifier's own optimiser group.
CLASSIFIER_WEIGHT_DECAY = 1e-4


def parameter_groups(model: CausalLatentsModel, config: CausalTrainingConfig) -> list[dict[str, Any]]:
    """Optimiser groups: all that learns at the main rate; the target classifier at its own, with weight decay; and
    whatever the prior wants a rate of its own for.

    Args:
        model: the model in training.
        config: how it is trained.
    """
    groups: list[dict[str, Any]] = [
        {
            "params": list(model.classifier.network.parameters()),
            "lr": config.classifier_lr,
            "weight_decay": CLASSIFIER_WEIGHT_DECAY,
        }
    ]
    for own in model.prior.parameter_groups():
        group = {"params": list(own.parameters), "lr": own.rate * config.lr, "weight_decay": own.weight_decay}
        groups.append(group if own.schedule is None else {**group, "schedule": own.schedule})
    taken = {id(parameter) for group in groups for parameter in group["params"]}
    main = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    return [{"params": main, "lr": config.lr}, *groups]
