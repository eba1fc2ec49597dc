"""What the trainings of CITRIS-NF and CITRIS-VAE share: rates of their own, and what has to be so before they begin."""

from __future__ import annotations

import math
from typing import Any

import torch

from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.config import CausalLatentsConfig
from citris_cli.core.priors import build_prior
from citris_cli.errors import InputError
from citris_cli.training.config import CausalTrainingConfig
from citris_cli.training.schedule import warmup_cosine
from citris_cli.wording import counted

#: Weight decay of the target classifier's own optimiser group.
CLASSIFIER_WEIGHT_DECAY = 1e-4
#: Places of a training at which a schedule of rates is looked at.
RATES_LOOKED_AT = 500


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


def require_long_enough(model: CausalLatentsConfig, config: CausalTrainingConfig) -> None:
    """Refuse a training too short for parameters of its prior to get from where they start to where they decide.

    AdamW moves a parameter by hardly more than the learning rate a step: the sum of the rates is how far one can get.

    Args:
        model: configuration of the model.
        config: how it is trained.

    Raises:
        InputError: naming the steps that it takes; or the prior's settings do not fit the variables.
    """
    try:
        with torch.device("meta"):  # for what it says of its rates alone
            prior = build_prior(model.prior, model.latents, model.variables, model.hidden)
    except ValueError as error:
        raise InputError(f"--prior {model.prior.name}: {error}") from error
    for own in prior.parameter_groups():
        parts = [number / RATES_LOOKED_AT for number in range(RATES_LOOKED_AT)]
        rises = [1.0 if own.schedule is None else own.schedule(part) for part in parts]
        factors = [warmup_cosine(number, 0, RATES_LOOKED_AT) * rise for number, rise in enumerate(rises)]
        each = own.rate * config.lr * sum(factors) / RATES_LOOKED_AT
        reach = each * max(0, config.steps - config.warmup)
        if reach >= own.distance:
            continue
        needed = config.warmup + math.ceil(own.distance / each) if each > 0 else 0
        if not needed:
            advice = f"raise {own.option}"
        else:  # while the rate is at 0, as it is until the end of the warm-up, no factor on it helps
            advice = f"give at least {counted(needed, 'step')}" + (f", or a higher {own.option}" if reach else "")
        raise InputError(
            f"--steps {config.steps}: too short for the {own.name}, whose parameters can move by at most "
            f"{reach:.2g} in that many steps and have to move by {own.distance:g} to decide anything; {advice}"
        )
