"""The interface of transition priors p(z^{t+1} | z^t, I^{t+1}) (Lippe et al., 2022, equation 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from citris_cli.core.config import CausalLatentsConfig, CitrisPriorConfig, PriorConfig
from citris_cli.core.graph import LearnedGraph
from citris_cli.core.graph_classifier import GraphTargetClassifier
from citris_cli.core.target_classifier import TargetClassifier

#: A number that may change from step to step, on a GPU a scalar on the device.
Setting = float | Tensor
#: The ``preset`` of a baseline that learns no assignment: no flow, no target classifier, no schedules.
WITHOUT_ASSIGNMENT: Mapping[str, Any] = {
    "flow_layers": 0,
    "classifier_weight": 0.0,
    "kl_peak": 1.0,
    "noise_start": 1.0,
}


@dataclass(frozen=True)
class Given:
    """What a prior is given of a step, besides the latents.

    Attributes:
        targets: intervention targets I^{t+1}, 0 or 1, [B, K].
        probabilities: soft assignment p [M, K+1]; the last column is psi(0), where the prior has one.
        psi: straight-through samples of the assignment, one-hot [B, M, K+1].
        generator: source of the prior's random numbers, on the latents' device.
        progress: fraction of the training steps taken so far, 0 … 1; 1 outside of a training run.
        schedule: the values of :meth:`TransitionPrior.schedule` at this step; empty outside of a training run.
    """

    targets: Tensor
    probabilities: Tensor
    psi: Tensor
    generator: torch.Generator | None = None
    progress: Setting = 1.0
    schedule: Mapping[str, Setting] = field(default_factory=dict)


class Score(NamedTuple):
    """A prior's score of a batch.

    Attributes:
        value: negative log-likelihood or divergence in nats [B].
        terms: further terms of the loss by name, scalars that include their weights; they are logged under these names.
    """

    value: Tensor
    terms: Mapping[str, Tensor] = {}


class ParameterGroup(NamedTuple):
    """Parameters with a learning rate of their own.

    Attributes:
        parameters: the parameters.
        rate: factor on the training's learning rate.
        weight_decay: of AdamW.
        schedule: factor on the rate by the fraction of training steps taken, 0 … 1; None for 1 throughout.
        name: what messages call them, if a training run can be too short for them.
        option: the command's option that changes their rate.
        distance: how far each must be able to move from its initial value, or a training run decides nothing.
    """

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    weight_decay: float = 0.0
    schedule: Callable[[float], float] | None = None
    name: str = ""
    option: str = ""
    distance: float = 0.0


class TransitionPrior(nn.Module, ABC):
    """A negative log-likelihood of samples (CITRIS-NF), a KL divergence (CITRIS-VAE), and samples of the next latents.

    A latent of variable k follows a distribution that depends on z^t, unless k was intervened on; then, under perfect
    interventions, it follows one that does not depend on the past, and under imperfect ones another that does.

    A new prior is a subclass with a configuration, registered by :func:`citris_cli.core.priors.register`.

    Attributes:
        Config: dataclass of its configuration, with its name.
        title: name of a model with this prior, or None for the model's own name.
        models: kinds of model that it can be part of.
        assigns: whether it learns which variable each latent belongs to; if not, labels decide after the training run.
        preset: its own defaults for settings of model and training, by name.
        published: whether the published code has it.
        rest: whether there is a psi(0).
        effects: whether variables may act on each other within a step; the graph of these effects is learned.
        foretells: whether it predicts the latents that follow a frame and an intervention, so that it can be sampled
            step after step.
        rows_apart: whether the score of an example does not depend on the others of its batch, so that several
            processes can share a batch.
    """

    Config: ClassVar[type[PriorConfig]]
    title: ClassVar[str | None] = None
    models: ClassVar[tuple[str, ...]] = ("citris_nf", "citris_vae")
    assigns: ClassVar[bool] = True
    preset: ClassVar[Mapping[str, Any]] = {}
    published: bool = False
    rest: bool = True
    effects: ClassVar[bool] = False
    foretells: ClassVar[bool] = True
    rows_apart: ClassVar[bool] = True

    @classmethod
    def build(
        cls, latents: int, variables: int, hidden: int, config: Any, generator: torch.Generator | None = None
    ) -> TransitionPrior:
        """The prior of a model.

        Args:
            latents: number of latents M.
            variables: number of intervened causal variables K.
            hidden: width c of the model's networks.
            config: its configuration.
            generator: source of the random initial weights.
        """
        return cls(latents, variables, hidden, config, generator)

    @classmethod
    def preset_for(cls, kind: str, preset: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its own defaults: :attr:`preset`, unless a subclass makes them depend on the arguments.

        Args:
            kind: kind of the model.
            preset: name of the preset whose settings they replace.
            changes: settings that the user gave, by name.

        Raises:
            ValueError: a setting that the user gave would have no effect.
        """
        return cls.preset

    @classmethod
    def require_possible(cls, config: PriorConfig) -> None:
        """Refuse a configuration that cannot work, although each of its values is within its bounds.

        Raises:
            ValueError: a sentence that says why.
        """

    def target_classifier(
        self, config: CausalLatentsConfig, generator: torch.Generator | None = None
    ) -> TargetClassifier | GraphTargetClassifier:
        """The target classifier beside it, with a ``network`` that learns and a ``frozen`` copy of it.

        Args:
            config: of the model.
            generator: source of the random initial weights.
        """
        return TargetClassifier(
            config.latents,
            config.variables,
            config.hidden,
            config.classifier_layers,
            config.classifier_momentum,
            config.conditional_targets,
            generator,
        )

    def target_losses(
        self, classifier: nn.Module, z: Tensor, targets: Tensor, psi: Tensor, given: Given
    ) -> tuple[Tensor, Tensor]:
        """``L_model`` and ``L_z`` of that classifier, scalars.

        Args:
            classifier: see :meth:`target_classifier`.
            z: causal latents of windows [B, T, M].
            targets: of the steps, 0 or 1, [B, T-1, K].
            psi: samples of the assignment, one for each window [B, M, K+1].
            given: the steps.
        """
        return classifier(z, targets, psi)

    @abstractmethod
    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """-log p(z^{t+1} | z^t, I^{t+1}), averaged over pairs of samples.

        Args:
            z_t: samples of the earlier frame [B, S, M].
            z_t1: samples of the later frame [B, S, M].
            given: the step.
        """

    @abstractmethod
    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """``KL(q(z^{t+1}) || p(z^{t+1} | z^t, I^{t+1}))`` of a diagonal Gaussian q, marginalised over the assignment.

        Args:
            mean: means of q [B, M].
            log_std: log standard deviations of q [B, M].
            z_t: a sample of the earlier frame [B, M].
            z_t1: a sample of q [B, M].
            given: the step.
        """

    @abstractmethod
    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1} ~ p(z^{t+1} | z^t, I^{t+1}) under a hard assignment.

        Args:
            z_t: causal latents of the earlier frame [B, M].
            targets: intervention targets, 0 or 1, [B, K].
            assignment: variable of every latent, int64 [M]; K stands for psi(0).
            generator: source of the draws, on the CPU.
            temperature: factor on the standard deviations, in a mixture on those of its components.

        Returns:
            Causal latents [B, M].
        """

    def sample_beside(
        self,
        known: Tensor,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Sample the latents of z^{t+1} that are not known, given those that are; otherwise like :meth:`sample`.

        Without effects within a step, variables are independent of each other given z^t, so the known ones make no
        difference.

        Args:
            known: latents of the later frame [B, M], NaN where they are to be sampled; either all latents of a variable
                are known or none.

        Returns:
            Causal latents [B, M], the known ones unchanged.
        """
        return torch.where(known.isnan(), self.sample(z_t, targets, assignment, generator, temperature), known)

    def learned_graph(self) -> LearnedGraph | None:
        """The graph of effects within a step, or None where variables have none by assumption."""
        return None

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Its parameters that have a learning rate or a weight decay of their own."""
        return ()

    def schedule(self, progress: float) -> Mapping[str, float]:
        """Values that change over a training run, by name, after a fraction of its steps, 0 … 1."""
        return {}


class RegularisedPrior(TransitionPrior):
    """A prior of CITRIS itself, with the regulariser lambda, which moves uninformative latents into psi(0).

    Args:
        config: its configuration.
    """

    published = True

    def __init__(self, config: CitrisPriorConfig) -> None:
        super().__init__()
        self.config = config

    def schedule(self, progress: float) -> Mapping[str, float]:
        """``pull``: the factor on lambda."""
        rise = self.config.regulariser_warmup
        return {"pull": min(1.0, progress / rise)} if rise > 0 else {}

    def regulariser(self, given: Given) -> Setting:
        """lambda at this step."""
        return given.schedule.get("pull", 1.0) * self.config.regulariser

    @property
    def priced(self) -> bool:
        """Whether lambda is a price in nats for every latent outside psi(0), see ``regulariser_form``."""
        return self.config.regulariser_form == "price"

    def pulled(self, nll: Tensor, given: Given) -> Tensor:
        """The NLL, in training mode with the regulariser: what latents outside psi(0) cost.

        That is ``lambda mean_m(1 - p[m,0])``, or, if lambda is a price, ``lambda sum_m (1 - p[m,0])``.
        """
        if not self.training:
            return nll
        outside = 1 - given.probabilities[:, -1]
        return nll + self.regulariser(given) * (outside.sum() if self.priced else outside.mean())

    def divergence(self, kl: Tensor, given: Given) -> Tensor:
        """``sum_k sum_m p[m,k] KL[k,m]`` of divergences [B, K+1, M], with the regulariser.

        The weight of psi(0) is ``(1 - lambda) p[m,0]``, or, if lambda is a price, that is added as in :meth:`pulled`.
        """
        p = given.probabilities
        if self.priced:
            return self.pulled((kl * p.T).sum((-2, -1)), given)
        weights = torch.cat([p[:, :-1], (1 - self.regulariser(given)) * p[:, -1:]], dim=1)
        return (kl * weights.T).sum((-2, -1))
