"""The transition priors by name: ours, and those that others bring."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

import torch

from citris_cli.core.config import PriorConfig
from citris_cli.core.priors.base import TransitionPrior

#: Group of entry points in which an installed package names modules or classes that register priors.
ENTRY_POINTS = "citris_cli.priors"

PriorT = TypeVar("PriorT", bound=type[TransitionPrior])

_priors: dict[str, type[TransitionPrior]] = {}


def register(prior: PriorT) -> PriorT:
    """Make a prior known by the name of its configuration; to be used as a decorator of its class.

    Raises:
        ValueError: another prior has that name.
    """
    name = prior.Config.name
    if _priors.setdefault(name, prior) is not prior:
        raise ValueError(f"there is a prior {name!r} already ({_priors[name].__qualname__})")
    return prior


def find_prior(name: str, model: str | None = None) -> type[TransitionPrior]:
    """The prior of a name.

    Args:
        name: as registered, by the package, by whoever imported it, or by an installed package's entry point.
        model: kind of model that it should be in, or None.

    Raises:
        ValueError: there is none, with the names that there are.
    """
    if name not in _priors:
        for point in entry_points(group=ENTRY_POINTS):
            point.load()
    found = _priors.get(name)
    if found is None or (model is not None and model not in found.models):
        names = [one for one, prior in _priors.items() if model is None or model in prior.models]
        raise ValueError(f"prior is {name!r}; it can be {', '.join(names)}")
    return found


def build_prior(
    config: PriorConfig, latents: int, variables: int, hidden: int, generator: torch.Generator | None = None
) -> TransitionPrior:
    """The prior of a model by its configuration; see :meth:`TransitionPrior.build`.

    Raises:
        ValueError: there is no such prior.
    """
    return find_prior(config.name).build(latents, variables, hidden, config, generator)
