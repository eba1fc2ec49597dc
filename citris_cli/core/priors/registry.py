"""The transition priors by name: ours, and those that others bring."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

import torch

from citris_cli.core.config import PriorConfig
from citris_cli.core.priors.base import TransitionPrior

#: Group of entry points in which an installed package names modules or classes that register priors.
ENTRY_POINTS = "citris_cli.priors"


class UnknownPriorError(ValueError):
    """No prior of this name is registered."""


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
        UnknownPriorError: there is none, with the names that there are.
        ValueError: it is for other kinds of model, or the package that brings it fails.
    """
    if name not in _priors:
        _load_entry_points(name)
    found = _priors.get(name)
    if found is None:
        raise UnknownPriorError(f"there is no prior {name!r}; it can be {_listed(model)}")
    if model is not None and model not in found.models:
        theirs = ", ".join(found.models)
        raise ValueError(f"the prior {name!r} is for {theirs}, not for {model}; it can be {_listed(model)}")
    return found


def _listed(model: str | None) -> str:
    return ", ".join(sorted(name for name, prior in _priors.items() if model is None or model in prior.models))


def _load_entry_points(name: str) -> None:
    """Import what installed packages bring: the one of the prior's name first, others if it needs them."""
    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name != name)
    for point in points:
        try:
            point.load()
        except Exception as error:  # whatever goes wrong in somebody else's module
            raise ValueError(f"the package behind the prior {point.name!r} ({point.value}) fails: {error}") from error
        if name in _priors:
            return


def build_prior(
    config: PriorConfig, latents: int, variables: int, hidden: int, generator: torch.Generator | None = None
) -> TransitionPrior:
    """The prior of a model by its configuration; see :meth:`TransitionPrior.build`.

    Raises:
        ValueError: there is no such prior.
    """
    return find_prior(config.name).build(latents, variables, hidden, config, generator)
