"""Transition priors, one file each. A new one is a file with a class that :func:`register` makes known."""

from citris_cli.core.priors.autoregressive import AutoregressiveTransitionPrior
from citris_cli.core.priors.base import Given, ParameterGroup, Score, TransitionPrior
from citris_cli.core.priors.imperfect_mlp import ImperfectMLPTransitionPrior
from citris_cli.core.priors.instantaneous import InstantaneousPrior
from citris_cli.core.priors.ivae import ConditionalPrior
from citris_cli.core.priors.mlp import MLPTransitionPrior
from citris_cli.core.priors.registry import UnknownPriorError, build_prior, find_prior, register
from citris_cli.core.priors.slow import SlowPrior

__all__ = [
    "AutoregressiveTransitionPrior", "ConditionalPrior", "Given", "ImperfectMLPTransitionPrior", "InstantaneousPrior",
    "MLPTransitionPrior", "ParameterGroup", "Score", "SlowPrior", "TransitionPrior", "UnknownPriorError", "build_prior",
    "find_prior", "register",
]  # fmt: skip
