"""Transition prior p(z^{t+1} | z^t, I^{t+1}) of diagonal Gaussians (Lippe et al., 2022, equation 2).

A latent of variable k follows the observational distribution, which depends on z^t, unless k was intervened on;
then it follows a distribution that does not depend on the past (perfect interventions).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class PerLatentLinear(nn.Module):
    """One linear layer a latent, with weights of its own, as a single batched matrix product.

    Args:
        latents: number of latents M.
        inputs: input features a latent.
        outputs: output features a latent.
        generator: source of the random start (uniform, bound 1 / sqrt(inputs)).
    """

    def __init__(self, latents: int, inputs: int, outputs: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(latents, outputs, inputs).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.empty(latents, outputs).uniform_(-bound, bound, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """[M, inputs, N] -> [M, outputs, N]."""
        return torch.baddbmm(self.bias.unsqueeze(2), self.weight, x)


def gaussian_nll_over_sample_pairs(mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
    """Gaussian NLL averaged over all S x S pairs of a parameter sample and a scored sample.

    The average over the scored samples enters only through their first two moments:
    ``mean_s' (z_s' - mean)^2 = var(z) + (mean(z) - mean)^2``, so S terms do the work of S^2, and the centred
    variance keeps the digits that a difference of raw moments would lose.

    Args:
        mean: means of the Gaussians [..., S, M] (or [..., 1, M] where they do not depend on the sample).
        log_std: their log standard deviations, same shape.
        z: scored samples [..., S, M].

    Returns:
        Negative log-likelihood [..., M].
    """
    z_mean = z.mean(-2, keepdim=True)
    z_var = (z - z_mean).square().mean(-2, keepdim=True)
    return (0.5 * (z_var + (z_mean - mean).square()) * (-2 * log_std).exp() + log_std + HALF_LOG_2PI).mean(-2)


class MLPTransitionPrior(nn.Module):
    """Transition prior with perfect interventions: an MLP a latent without, a learned Gaussian under intervention.

    Without intervention ``out(SiLU(mid(SiLU(Linear(z^t)[m] + inp(z^t_m)))))`` gives (mean, log-std) of latent m;
    under intervention on variable k they are a learned vector a (latent, k).

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: hidden width c of every latent's network.
        regulariser: lambda >= 0, the pull of latents that carry no information into psi(0).
        generator: source of the random start.
    """

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        regulariser: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.regulariser = regulariser
        bound = 1 / math.sqrt(latents)
        self.context_weight = nn.Parameter(
            torch.empty(latents, hidden, latents).uniform_(-bound, bound, generator=generator)
        )
        self.context_bias = nn.Parameter(torch.empty(latents, hidden).uniform_(-bound, bound, generator=generator))
        self.own = PerLatentLinear(latents, 1, hidden, generator)
        self.middle = PerLatentLinear(latents, hidden, hidden, generator)
        self.out = PerLatentLinear(latents, hidden, 2, generator)
        self.intervened = nn.Parameter(0.5 * torch.randn(latents, variables, 2, generator=generator))

    def observational(self, z_t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation without intervention.

        Args:
            z_t: causal latents of the earlier frame [..., M].

        Returns:
            Two tensors [..., M].
        """
        rows = z_t.reshape(-1, z_t.shape[-1])
        # inp(z^t_m) reads one entry of z^t: it is added to the diagonal of the map that reads them all.
        weight = self.context_weight + torch.diag_embed(self.own.weight.squeeze(-1).T).permute(1, 0, 2)
        bias = self.context_bias + self.own.bias
        # Samples come last, so that every product is a wide one and nothing is rearranged in between.
        hidden = torch.addmm(bias.view(-1, 1), weight.flatten(0, 1), rows.T)
        hidden = functional.silu(hidden.view(*bias.shape, -1))  # [M, c, N]
        hidden = functional.silu(self.middle(hidden))
        mean, log_std = self.out(hidden).unbind(1)
        return mean.T.reshape(z_t.shape), log_std.T.reshape(z_t.shape)

    def nll(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor) -> Tensor:
        """-log p(z^{t+1} | z^t, I^{t+1}), marginalised over the soft assignment and averaged over sample pairs.

        ``sum_m sum_k p[m,k] I_k NLL_intv[m,k] + NLL_obs[m] (1 - sum_k p[m,k] I_k - lambda p[m,0])``. The
        interventional parameters learn from ``sum_m sum_k I_k NLL_intv[m,k]`` alone, so that every latent knows what
        it would look like under every intervention before it is assigned; the value is unchanged by that.

        Args:
            z_t: samples of the earlier frame [B, S, M].
            z_t1: samples of the later frame [B, S, M].
            targets: intervention targets I^{t+1}, 0 or 1, [B, K].
            probabilities: soft assignment p [M, K+1]; the last column is psi(0).

        Returns:
            Negative log-likelihood [B].
        """
        observational = gaussian_nll_over_sample_pairs(*self.observational(z_t), z_t1)  # [B, M]
        targets = targets.to(z_t.dtype)
        intervened = self._intervened_nll(z_t1, self.intervened.detach())  # [B, M, K]
        weighted = probabilities[:, :-1] * targets[:, None]  # [B, M, K]
        free = 1 - weighted.sum(-1) - self.regulariser * probabilities[:, -1]
        nll = (weighted * intervened).sum((-2, -1)) + (observational * free).sum(-1)
        if self.training:
            own = (targets[:, None] * self._intervened_nll(z_t1.detach(), self.intervened)).sum((-2, -1))
            nll = nll + (own - own.detach())
            if self.regulariser > 0:
                nll = nll + self.regulariser * (1 - probabilities[:, -1]).mean()
        return nll

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
            temperature: factor on the standard deviations.

        Returns:
            Causal latents [B, M].
        """
        mean, log_std = self.observational(z_t)
        # psi(0) is never intervened on: a column of zeros stands for it.
        parameters = torch.cat([self.intervened, torch.zeros_like(self.intervened[:, :1])], dim=1)
        own = parameters[torch.arange(len(assignment), device=assignment.device), assignment]  # [M, 2]
        hit = torch.cat([targets, torch.zeros_like(targets[:, :1])], dim=1)[:, assignment].bool()
        mean, log_std = torch.where(hit, own[:, 0], mean), torch.where(hit, own[:, 1], log_std)
        noise = torch.randn(z_t.shape, generator=generator).to(z_t)
        return mean + temperature * log_std.exp() * noise

    @staticmethod
    def _intervened_nll(z_t1: Tensor, parameters: Tensor) -> Tensor:
        """NLL of every latent under an intervention on every variable: [B, S, M], [M, K, 2] -> [B, M, K]."""
        mean, log_std = parameters.unbind(-1)
        z_mean = z_t1.mean(1)
        z_var = (z_t1 - z_mean.unsqueeze(1)).square().mean(1)
        distance = z_var.unsqueeze(-1) + (z_mean.unsqueeze(-1) - mean).square()
        return 0.5 * distance * (-2 * log_std).exp() + log_std + HALF_LOG_2PI
