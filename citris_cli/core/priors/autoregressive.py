"""Autoregressive transition prior: within a variable, a latent may depend on the variable's latents before it.

``p(z^{t+1} | z^t, I^{t+1}) = prod_k prod_{m in psi_k} p(z_m | z_j for j < m in psi_k, z^t, I_k)`` with Gaussians whose
parameters a masked network gives (Germain et al., "MADE", 2015; Lippe et al., 2022, section 4.2 and appendix C). The
variables are independent of each other given z^t, as causal variables are; the latents of one variable need not be.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.assignment import with_psi_0
from citris_cli.core.config import AutoregressivePriorConfig
from citris_cli.core.gaussians import gaussian_draw, gaussian_kl
from citris_cli.core.initialisation import initialise
from citris_cli.core.masked import MaskedLinear
from citris_cli.core.ops.networks import LinearMap, network
from citris_cli.core.ops.sample_pairs import gaussian_nll_over_sample_pairs
from citris_cli.core.priors.base import Given, RegularisedPrior, Score
from citris_cli.core.priors.registry import register


@register
class AutoregressiveTransitionPrior(RegularisedPrior):
    """A masked network, run for each of the K+1 variables k, gives (mean, log-std) of every latent m as if psi(m) = k.

    Its first layer is half the sum of a masked, strictly autoregressive map of ``[z^{t+1} psi_k, 2 psi_k - 1]``
    (interleaved a latent), a map of the targets that shows only entry k and -1 elsewhere, and a map of z^t, which
    a perfect intervention on k turns off; then SiLU -> masked linear -> SiLU -> masked linear.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: of the model's other networks; it has ``config.autoregressive_hidden`` units h a latent.
        config: its configuration.
        generator: source of the random start.
    """

    Config = AutoregressivePriorConfig
    perfect: Tensor

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int = 0,
        config: AutoregressivePriorConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        config = config or AutoregressivePriorConfig()
        super().__init__(config)
        hidden = config.autoregressive_hidden
        perfect = config.perfect(variables)
        self._hides = any(perfect)
        self.register_buffer("perfect", torch.tensor([*perfect, False], dtype=torch.float32), persistent=False)
        self.context = initialise(nn.Linear(latents, latents * hidden), generator)
        self.target = initialise(nn.Linear(variables + 1, latents * hidden), generator)
        self.first = MaskedLinear(2, hidden, latents, strict=True, generator=generator)
        self.middle = MaskedLinear(hidden, hidden, latents, strict=False, generator=generator)
        self.last = MaskedLinear(hidden, 2, latents, strict=False, generator=generator)

    def gaussians(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of every latent, as a latent of each variable.

        Args:
            z_t: samples of the earlier frame [B, S, M].
            z_t1: samples of the later frame [B, S, M].
            targets: intervention targets, 0 or 1, [B, K].
            psi: which latents are each variable's, one-hot [B, M, K+1].

        Returns:
            Two tensors [B, S, K+1, M]; entry (k, m) depends on z_t1 at most through latents j < m with psi(j) = k.
        """
        rows, first = self._first_layer(z_t, z_t1, targets, psi)
        out = network(rows, [first, self.middle.as_map(), self.last.as_map()])
        mean, log_std = out.unflatten(-1, (-1, 2)).unbind(-1)
        return mean, log_std

    def _first_layer(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, psi: Tensor) -> tuple[Tensor, LinearMap]:
        """What it sees for every variable [B, S, K+1, 3M + 1 + K+1], and its map.

        All that the layer sees is stacked and goes through one product. What it gives for z^t and for the targets could
        be computed once and added for every variable, but on tensors as large as the result these additions take
        longer than the larger product.
        """
        target = with_psi_0(targets.to(z_t.dtype))[:, None, :, None]  # [B, 1, K+1, 1]
        open_to_past = 1 - target * self.perfect.unsqueeze(1) if self._hides else torch.ones_like(target)
        psi = psi.mT.unsqueeze(1)  # [B, 1, K+1, M]
        inputs = [
            z_t1.unsqueeze(2) * psi,
            2 * psi - 1,
            z_t.unsqueeze(2) * open_to_past,
            open_to_past,  # for the bias of the map of z^t
            # Entry k shows I_k, every other -1: (1 + I_k) in place k, and the -1 of every column is one more bias.
            torch.diag_embed(1 + target.squeeze(-1)),
        ]
        triples = (*z_t.shape[:2], psi.shape[2])
        rows = torch.cat([value.expand(*triples, -1) for value in inputs], dim=-1)
        masked = self.first.masked_weight()
        weight = torch.cat(
            [masked[:, 0::2], masked[:, 1::2], self.context.weight, self.context.bias.unsqueeze(1), self.target.weight],
            dim=1,
        )
        bias = self.first.bias + self.target.bias - self.target.weight.sum(1)
        return rows, LinearMap(0.5 * weight, 0.5 * bias)

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """``sum_k sum_m p[m,k] NLL[k,m]``, averaged over sample pairs, in training mode with the pull into psi(0).

        A pair of samples (s, s') is scored with the parameters that sample s gives, of both frames: ``z^t_s`` and, for
        the latents before each, ``z^{t+1}_s``; ``z^{t+1}_s'`` is what is scored. As published: S evaluations serve
        all S^2 pairs, and no sample is scored only by parameters that have seen its own noise.
        See :meth:`~citris_cli.core.priors.base.TransitionPrior.nll`.
        """
        mean, log_std = self.gaussians(z_t, z_t1, given.targets, given.psi)
        nll = gaussian_nll_over_sample_pairs(mean.transpose(1, 2), log_std.transpose(1, 2), z_t1.unsqueeze(1))
        return Score(self.pulled((nll * given.probabilities.T).sum((-2, -1)), given))

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """``sum_k sum_m p[m,k] KL[k,m]``, with the latents before each from the sample z_t1, psi(0) times 1 - lambda.

        See :meth:`~citris_cli.core.priors.base.TransitionPrior.kl`.
        """
        prior = self.gaussians(z_t.unsqueeze(1), z_t1.unsqueeze(1), given.targets, given.psi)
        kl = gaussian_kl(mean.unsqueeze(1), log_std.unsqueeze(1), prior[0].squeeze(1), prior[1].squeeze(1))
        return Score(self.divergence(kl, given))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}, ancestor before descendant; see :meth:`~citris_cli.core.priors.base.TransitionPrior.sample`.

        Variables are independent given z^t, so every step draws the next latent of all variables at once: there are as
        many steps as the largest variable has latents.
        """
        psi = functional.one_hot(assignment, targets.shape[1] + 1).to(z_t.dtype)
        place = (psi.cumsum(0) - 1).gather(1, assignment.unsqueeze(1)).squeeze(1)  # 0, 1, … within the own variable
        noise = torch.randn(z_t.shape, generator=generator).to(z_t)
        own = assignment.expand(len(z_t), 1, -1)
        z_t1 = torch.zeros_like(z_t)
        for step in range(int(place.max()) + 1):
            every = self.gaussians(z_t.unsqueeze(1), z_t1.unsqueeze(1), targets, psi.expand(len(z_t), -1, -1))
            mean, log_std = (value.squeeze(1).gather(1, own).squeeze(1) for value in every)
            z_t1 = torch.where(place == step, gaussian_draw(mean, log_std, noise, temperature), z_t1)
        return z_t1
