"""Transition prior of diagonal Gaussians: latents are independent given the past.

It is for perfect interventions, and for imperfect ones on some of the variables beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from citris_cli.core.assignment import with_psi_0
from citris_cli.core.config import MLPPriorConfig, PriorConfig
from citris_cli.core.gaussians import gaussian_draw, gaussian_kl, mixture_component, mixture_kl
from citris_cli.core.initialisation import shapes_only
from citris_cli.core.ops.marginal_score import marginal, marginal_nll
from citris_cli.core.ops.networks import separate_networks
from citris_cli.core.ops.sample_pairs import gaussian_nll_over_sample_pairs
from citris_cli.core.priors.base import Given, Score, TransitionPrior
from citris_cli.core.priors.imperfect_mlp import ImperfectMLPTransitionPrior
from citris_cli.core.priors.per_latent import PerLatentMLP, PerLatentNetwork
from citris_cli.core.priors.registry import register


@register
class MLPTransitionPrior(PerLatentMLP):
    """An MLP a latent without, a learned Gaussian or mixture a (latent, variable) under intervention.

    Under an intervention on one of ``imperfect_variables`` the Gaussian depends on z^t, by an MLP a latent and variable
    in its turn. With ``imperfect_interventions`` it is an :class:`ImperfectMLPTransitionPrior`.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: hidden width c of every latent's network.
        config: its configuration.
        generator: source of the random start.
    """

    Config = MLPPriorConfig
    perfect: Tensor

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        config: MLPPriorConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        config = config or MLPPriorConfig()
        super().__init__(latents, 1, hidden, config, generator)
        mixed, components = config.interventional_components > 1, config.interventional_components
        shape = (latents, variables, components, 3) if mixed else (latents, variables, 2)
        start = torch.empty(shape) if shapes_only() else 0.5 * torch.randn(shape, generator=generator)
        if mixed and not shapes_only():  # so that every component finds values of its own (docs/log/mixtures.md)
            start[..., 0] += torch.linspace(-1, 1, components)
        self.mixed = mixed
        self.intervened = nn.Parameter(start)
        perfect = config.perfect(variables)
        self.register_buffer("perfect", torch.tensor(perfect, dtype=torch.float32), persistent=False)
        self.imperfect = nn.ModuleDict(
            {str(k): PerLatentNetwork(latents, hidden, generator) for k in range(variables) if not perfect[k]}
        )

    @classmethod
    def build(
        cls, latents: int, variables: int, hidden: int, config: Any, generator: torch.Generator | None = None
    ) -> TransitionPrior:
        """The form for perfect or for imperfect interventions; see :meth:`TransitionPrior.build`."""
        form = ImperfectMLPTransitionPrior if config.imperfect_interventions else cls
        return form(latents, variables, hidden, config, generator)

    @classmethod
    def require_possible(cls, config: PriorConfig) -> None:
        """See :meth:`TransitionPrior.require_possible`.

        Raises:
            ValueError: there are mixtures, and all interventions are imperfect.
        """
        if (
            isinstance(config, MLPPriorConfig)
            and config.imperfect_interventions
            and config.interventional_components > 1
        ):
            raise ValueError(
                "--interventional-components is for perfect interventions, and with --imperfect-interventions there "
                "are none; leave it out"
            )

    def observational(self, z_t: Tensor) -> Tensor:
        """Mean and log standard deviation without intervention.

        Args:
            z_t: causal latents of the earlier frame [..., M].

        Returns:
            [..., M, 2].
        """
        layers = *self.of_past(), self.middle.weight, self.middle.bias, self.out.weight, self.out.bias
        return separate_networks(z_t, layers)

    def under_imperfect(self, z_t: Tensor) -> Iterator[tuple[int, Tensor]]:
        """For each variable on which interventions are imperfect, mean and log standard deviation under one.

        Args:
            z_t: causal latents of the earlier frame [..., M].

        Yields:
            The variable's number and [..., M, 2].
        """
        for k, network in self.imperfect.items():
            yield int(k), network(z_t)

    def _with_imperfect(
        self, score: Tensor, observational: Tensor, hit: Iterable[tuple[int, Tensor, Tensor]], given: Given
    ) -> Tensor:
        """A score in which imperfect interventions do not count yet, with what they change.

        ``sum_m sum_k p[m,k] I_k (intv[m,k] - obs[m])`` over their variables is added, and what they learn from.

        Args:
            score: [B].
            observational: of every latent without intervention [B, M].
            hit: the variable's number, the score under an intervention on it [B, M] that gives its network no gradient,
                and the same that gives one to the network alone.
            given: the step.
        """
        for k, intervened, taught in hit:
            target = given.targets[:, k].to(score.dtype)
            score = score + target * ((intervened - observational) * given.probabilities[:, k]).sum(-1)
            if self.training:
                learned = target * taught.sum(-1)
                score = score + (learned - learned.detach())
        return score

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """-log p(z^{t+1} | z^t, I^{t+1}), marginalised over the soft assignment and averaged over sample pairs.

        ``sum_m sum_k p[m,k] I_k NLL_intv[m,k] + NLL_obs[m] (1 - sum_k p[m,k] I_k - lambda p[m,0])``. The
        interventional parameters learn from ``sum_m sum_k I_k NLL_intv[m,k]`` alone, so that every latent knows what
        it would look like under every intervention before it is assigned; the value is unchanged by that.
        In training mode with the pull into psi(0). See :meth:`TransitionPrior.nll`; a sampled psi is not looked at.
        What is learned of imperfect interventions is learned in the same way, with z^t held fixed, too.

        If lambda is a price, and beside imperfect interventions in any case, ``lambda sum_m (1 - p[m,0])`` is added
        instead. NLL_obs depends on the scale of a latent: the flow makes those in psi(0) large to be spared more, and
        what hardly ever changes has a negative one, a share of which is a price for being in psi(0). Where
        interventions are perfect, an intervention on the wrong variable costs more than that; among the latents of an
        imperfect variable, it costs nothing.
        """
        lam, p, observational = self.regulariser(given), given.probabilities, self.observational(z_t)
        if not self.imperfect and not self.priced:
            return Score(marginal_nll(observational, z_t1, given.targets, p, self.intervened, lam, self.training))
        targets = given.targets * self.perfect if self.imperfect else given.targets
        nll = marginal_nll(observational, z_t1, targets, p, self.intervened, 0.0 * lam, self.training)
        if self.training:
            nll = nll + lam * (1 - p[:, -1]).sum()

        def score(gaussians: Tensor, z: Tensor) -> Tensor:
            mean, log_std = gaussians.unbind(-1)
            return gaussian_nll_over_sample_pairs(mean, log_std, z)

        under = self.under_imperfect(z_t.detach())
        hit = ((k, score(one.detach(), z_t1), score(one, z_t1.detach())) for k, one in under)
        return Score(self._with_imperfect(nll, score(observational, z_t1), hit, given))

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """Divergences in the places of the NLLs in :meth:`nll`, interventional parameters as there.

        That of a mixture is estimated from the sample ``z_t1``, which nothing else looks at. See
        :meth:`TransitionPrior.kl`; a sampled psi is not looked at.
        """
        observational = gaussian_kl(mean, log_std, *self.observational(z_t).unbind(-1))  # [B, M]
        intervened = self._divergence(mean, log_std, z_t1, self.intervened.detach())  # [B, M, K]
        fixed = mean.detach(), log_std.detach(), z_t1.detach()
        taught = self._divergence(*fixed, self.intervened) if self.training else None
        lam = 0.0 if self.priced else self.regulariser(given)
        targets = given.targets * self.perfect if self.imperfect else given.targets
        kl = marginal(observational, intervened, taught, targets, given.probabilities, lam)
        kl = self.pulled(kl, given) if self.priced else kl
        hit = (
            (
                k,
                gaussian_kl(mean, log_std, *one.detach().unbind(-1)),
                gaussian_kl(mean.detach(), log_std.detach(), *one.unbind(-1)),
            )
            for k, one in self.under_imperfect(z_t.detach())
        )
        return Score(self._with_imperfect(kl, observational, hit, given))

    def _divergence(self, mean: Tensor, log_std: Tensor, z: Tensor, intervened: Tensor) -> Tensor:
        """Of Gaussians [B, M], with samples z of them, to what is learned of interventions: [B, M, K]."""
        mean, log_std = mean.unsqueeze(-1), log_std.unsqueeze(-1)
        if self.mixed:
            return mixture_kl(mean, log_std, intervened, z.unsqueeze(-1))
        return gaussian_kl(mean, log_std, *intervened.unbind(-1))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}; see :meth:`TransitionPrior.sample`. At temperature 0 a mixture's likeliest component counts."""
        mean, log_std = self.observational(z_t).unbind(-1)
        # psi(0) is never intervened on: a column of zeros stands for it.
        parameters = torch.cat([self.intervened, torch.zeros_like(self.intervened[:, :1])], dim=1)
        own = parameters[torch.arange(len(assignment), device=assignment.device), assignment]
        if self.mixed:
            uniform = torch.rand(z_t.shape, generator=generator).to(z_t) if temperature > 0 else None
            own = torch.stack(mixture_component(own.expand(len(z_t), *own.shape), uniform), dim=-1)
        own = own.expand(*z_t.shape, 2)
        for k, gaussians in self.under_imperfect(z_t):
            own = torch.where((assignment == k).unsqueeze(-1), gaussians, own)
        hit = with_psi_0(targets)[:, assignment].bool()
        mean, log_std = torch.where(hit, own[..., 0], mean), torch.where(hit, own[..., 1], log_std)
        return gaussian_draw(mean, log_std, torch.randn(z_t.shape, generator=generator).to(z_t), temperature)
