"""Transition prior p(z^{t+1} | z^t, I^{t+1}) of diagonal Gaussians (Lippe et al., 2022, equation 2).

A latent of variable k follows a distribution that depends on z^t, unless k was intervened on; then, under perfect
interventions, it follows one that does not depend on the past, and under imperfect ones another that does. Here are
what every form of the prior offers and the two forms in which the latents of a variable are independent of each other
given z^t; :mod:`citris_cli.core.autoregressive_prior` has the form in which they are not.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from citris_cli.core import kernels
from citris_cli.core.assignment import with_psi_0
from citris_cli.core.gaussians import (
    gaussian_draw,
    gaussian_kl,
    gaussian_nll,
    gaussian_nll_over_sample_pairs,
    moments_over_samples,
)
from citris_cli.core.networks import shapes_only
from citris_cli.core.structured import SeparateNetworks


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


class TransitionPrior(nn.Module, ABC):
    """What every form offers: a score of samples (CITRIS-NF), a KL divergence (CITRIS-VAE), and draws.

    Args:
        regulariser: lambda >= 0, the pull of latents that carry no information into psi(0).
    """

    def __init__(self, regulariser: float) -> None:
        super().__init__()
        self.regulariser: float | Tensor = regulariser

    @abstractmethod
    def nll(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor) -> Tensor:
        """-log p(z^{t+1} | z^t, I^{t+1}), averaged over pairs of samples; in training mode with the pull into psi(0).

        Args:
            z_t: samples of the earlier frame [B, S, M].
            z_t1: samples of the later frame [B, S, M].
            targets: intervention targets I^{t+1}, 0 or 1, [B, K].
            probabilities: soft assignment p [M, K+1]; the last column is psi(0).
            psi: straight-through samples of the assignment, one-hot [B, M, K+1].

        Returns:
            Negative log-likelihood in nats [B].
        """

    @abstractmethod
    def kl(
        self,
        mean: Tensor,
        log_std: Tensor,
        z_t: Tensor,
        z_t1: Tensor,
        targets: Tensor,
        probabilities: Tensor,
        psi: Tensor,
    ) -> Tensor:
        """``KL(q(z^{t+1}) || p(z^{t+1} | z^t, I^{t+1}))`` of a diagonal Gaussian q, marginalised over the assignment.

        Args:
            mean: means of q [B, M].
            log_std: log standard deviations of q [B, M].
            z_t: a sample of the earlier frame [B, M].
            z_t1: a sample of q [B, M].
            targets, probabilities, psi: as in :meth:`nll`.

        Returns:
            Divergence in nats [B]. What falls to psi(0) counts 1 - lambda times.
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
            temperature: factor on the standard deviations.

        Returns:
            Causal latents [B, M].
        """

    def _with_pull(self, nll: Tensor, probabilities: Tensor) -> Tensor:
        """The NLL, in training mode with ``lambda mean_m(1 - p[m,0])``: what it costs to be no part of psi(0)."""
        if self.training:
            return nll + self.regulariser * (1 - probabilities[:, -1]).mean()
        return nll

    def _weights(self, probabilities: Tensor) -> Tensor:
        """p [M, K+1] with its last column, psi(0), times 1 - lambda."""
        return torch.cat([probabilities[:, :-1], (1 - self.regulariser) * probabilities[:, -1:]], dim=1)


class PerLatentMLP(TransitionPrior):
    """An MLP a latent, ``out(SiLU(mid(SiLU(Linear(z^t)[m] + inp(z^t_m, …)))))``: (mean, log-std) of latent m.

    Args:
        latents: number of latents M.
        own_inputs: what ``inp`` sees: z^t_m and whatever a form adds to it.
        hidden: hidden width c of every latent's network.
        regulariser: see :class:`TransitionPrior`.
        generator: source of the random start.
    """

    def __init__(
        self, latents: int, own_inputs: int, hidden: int, regulariser: float, generator: torch.Generator | None
    ) -> None:
        super().__init__(regulariser)
        bound = 1 / math.sqrt(latents)
        self.context_weight = nn.Parameter(
            torch.empty(latents, hidden, latents).uniform_(-bound, bound, generator=generator)
        )
        self.context_bias = nn.Parameter(torch.empty(latents, hidden).uniform_(-bound, bound, generator=generator))
        self.own = PerLatentLinear(latents, own_inputs, hidden, generator)
        self.middle = PerLatentLinear(latents, hidden, hidden, generator)
        self.out = PerLatentLinear(latents, hidden, 2, generator)

    def _of_past(self) -> tuple[Tensor, Tensor]:
        """The first layer's map of z^t: weight [M, c, M] and bias [M, c]."""
        # inp(z^t_m) reads one entry of z^t: it is added to the diagonal of the map that reads them all.
        weight = self.context_weight + torch.diag_embed(self.own.weight[..., 0].T).permute(1, 0, 2)
        return weight, self.context_bias + self.own.bias

    def _from_past(self, z_t: Tensor) -> Tensor:
        """The first layer's sum over z^t alone: [..., M] -> [M, c, N] with all leading dimensions in N.

        Samples come last, so that every product is a wide one and nothing is rearranged in between.
        """
        weight, bias = self._of_past()
        columns = z_t.reshape(-1, z_t.shape[-1]).T.contiguous()  # as the product for its gradient is faster, too
        return torch.addmm(bias.view(-1, 1), weight.flatten(0, 1), columns).view(*bias.shape, -1)

    def _from_first(self, first: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Mean and log-std, of a shape [..., M], from the first layer's sum [M, c, N]."""
        hidden = functional.silu(self.middle(functional.silu(first)))
        mean, log_std = self.out(hidden).unbind(1)
        return mean.T.reshape(shape), log_std.T.reshape(shape)


class MLPTransitionPrior(PerLatentMLP):
    """Perfect interventions: an MLP a latent without, a learned Gaussian a (latent, variable) under intervention.

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
        super().__init__(latents, 1, hidden, regulariser, generator)
        shape = latents, variables, 2
        start = torch.empty(shape) if shapes_only() else 0.5 * torch.randn(shape, generator=generator)
        self.intervened = nn.Parameter(start)

    def observational(self, z_t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation without intervention.

        Args:
            z_t: causal latents of the earlier frame [..., M].

        Returns:
            Two tensors [..., M].
        """
        if kernels.usable(z_t, self.intervened):
            mean, log_std = self._compiled(z_t).unbind(-1)
            return mean, log_std
        return self._from_first(self._from_past(z_t), z_t.shape)

    def _compiled(self, z_t: Tensor) -> Tensor:
        """Both of them [..., M, 2], where they can be computed by :mod:`citris_cli.core.kernels`."""
        layers = *self._of_past(), self.middle.weight, self.middle.bias, self.out.weight, self.out.bias
        return SeparateNetworks.apply(z_t.reshape(-1, z_t.shape[-1]), *layers).view(*z_t.shape, 2)

    def nll(
        self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor | None = None
    ) -> Tensor:
        """-log p(z^{t+1} | z^t, I^{t+1}), marginalised over the soft assignment and averaged over sample pairs.

        ``sum_m sum_k p[m,k] I_k NLL_intv[m,k] + NLL_obs[m] (1 - sum_k p[m,k] I_k - lambda p[m,0])``. The
        interventional parameters learn from ``sum_m sum_k I_k NLL_intv[m,k]`` alone, so that every latent knows what
        it would look like under every intervention before it is assigned; the value is unchanged by that.
        See :meth:`TransitionPrior.nll`; ``psi`` is not looked at.
        """
        if kernels.usable(z_t, z_t1, self.intervened):
            learned = self._compiled(z_t), z_t1, probabilities, self.intervened
            return _Score.apply(targets, self.regulariser, self.training, *learned)
        moments = moments_over_samples(z_t1)  # two [B, 1, M]
        observational = gaussian_nll(*self.observational(z_t), *moments).mean(-2)  # [B, M]
        # Under an intervention on every variable, [B, M, K].
        z_mean, z_var = (moment.mT for moment in moments)
        mean, log_std = self.intervened.unbind(-1)
        intervened = gaussian_nll(mean.detach(), log_std.detach(), z_mean, z_var)
        own = gaussian_nll(mean, log_std, z_mean.detach(), z_var.detach()) if self.training else None
        nll = self._marginal(observational, intervened, own, targets, probabilities)
        return self._with_pull(nll, probabilities)

    def kl(
        self,
        mean: Tensor,
        log_std: Tensor,
        z_t: Tensor,
        z_t1: Tensor,
        targets: Tensor,
        probabilities: Tensor,
        psi: Tensor | None = None,
    ) -> Tensor:
        """Divergences in the places of the NLLs in :meth:`nll`, interventional parameters as there.

        See :meth:`TransitionPrior.kl`; ``z_t1`` and ``psi`` are not looked at.
        """
        observational = gaussian_kl(mean, log_std, *self.observational(z_t))  # [B, M]
        wide = mean.unsqueeze(-1), log_std.unsqueeze(-1)
        intervened = gaussian_kl(*wide, *self.intervened.detach().unbind(-1))
        own = None
        if self.training:
            own = gaussian_kl(wide[0].detach(), wide[1].detach(), *self.intervened.unbind(-1))
        return self._marginal(observational, intervened, own, targets, probabilities)

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}; see :meth:`TransitionPrior.sample`."""
        mean, log_std = self.observational(z_t)
        # psi(0) is never intervened on: a column of zeros stands for it.
        parameters = torch.cat([self.intervened, torch.zeros_like(self.intervened[:, :1])], dim=1)
        own = parameters[torch.arange(len(assignment), device=assignment.device), assignment]  # [M, 2]
        hit = with_psi_0(targets)[:, assignment].bool()
        mean, log_std = torch.where(hit, own[:, 0], mean), torch.where(hit, own[:, 1], log_std)
        return gaussian_draw(mean, log_std, torch.randn(z_t.shape, generator=generator).to(z_t), temperature)

    def _marginal(
        self, observational: Tensor, intervened: Tensor, own: Tensor | None, targets: Tensor, probabilities: Tensor
    ) -> Tensor:
        """Scores [B, M] and [B, M, K] marginalised over the assignment: [B].

        Args:
            observational: of every latent without intervention.
            intervened: under an intervention on every variable, which gives the parameters no gradient.
            own: the same, which gives a gradient to the parameters alone; None where nothing learns.
            targets: [B, K].
            probabilities: [M, K+1].
        """
        targets = targets.to(observational.dtype)
        weighted = probabilities[:, :-1] * targets[:, None]  # [B, M, K]
        free = 1 - weighted.sum(-1) - self.regulariser * probabilities[:, -1]
        total = (weighted * intervened).sum((-2, -1)) + (observational * free).sum(-1)
        if own is not None:
            taught = (targets[:, None] * own).sum((-2, -1))
            total = total + (taught - taught.detach())
        return total


class _Score(torch.autograd.Function):
    """:class:`citris_cli.core.kernels.MarginalScore` of samples."""

    @staticmethod
    def forward(
        ctx: Any,
        targets: Tensor,
        regulariser: float,
        training: bool,
        out: Tensor,
        z_t1: Tensor,
        probabilities: Tensor,
        intervened: Tensor,
    ) -> Tensor:
        """The scores [B].

        Args:
            ctx: what the backward pass needs.
            targets: 0 or 1 [B, K].
            regulariser: lambda.
            training: whether the interventional parameters get a gradient, and p a pull into psi(0).
            out: means and log standard deviations without intervention [B, S, M, 2].
            z_t1: samples of the later frame [B, S, M].
            probabilities: soft assignment p [M, K+1].
            intervened: interventional parameters [M, K, 2].
        """
        rows = [one.contiguous() for one in (out, z_t1, targets.to(z_t1.dtype), probabilities, intervened)]
        ctx.score = kernels.MarginalScore(rows, regulariser, regulariser if training else 0.0)
        ctx.training = training
        ctx.save_for_backward(out, z_t1, probabilities, intervened)
        return ctx.score.forward()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_scores: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients for those of the scores [B]."""
        assert ctx.saved_tensors  # PyTorch raises an error where one of them was changed
        return None, None, None, *ctx.score.backward(of_scores.contiguous(), ctx.training)


class ImperfectMLPTransitionPrior(PerLatentMLP):
    """Imperfect interventions: an MLP a latent that also sees the target of the latent's variable.

    It sees a vector of K+1 entries: the 0 or 1 of the assigned variable in its place and -1 in every other; a latent of
    psi(0), which is never intervened on, has a 0 in the last.

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
        super().__init__(latents, 1 + variables + 1, hidden, regulariser, generator)

    def gaussians(self, z_t: Tensor, targets: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation under given assignments.

        Args:
            z_t: causal latents of the earlier frame [B, A, M].
            targets: intervention targets, 0 or 1, [B, K].
            psi: assignments, one-hot [B, V, M, K+1] or [1, V, M, K+1]; A or V is 1.

        Returns:
            Two tensors [B, max(A, V), M].
        """
        latents, hidden, _ = self.own.weight.shape
        batch = len(z_t)
        weight = self.own.weight[..., 1:]
        # psi I - (1 - psi) = psi (1 + I) - 1: the -1 of every column is one more bias.
        shown = psi * (1 + with_psi_0(targets.to(z_t.dtype)))[:, None, None]  # [B, V, M, K+1]
        columns = shown.permute(2, 3, 0, 1).flatten(2)
        of_targets = torch.baddbmm(-weight.sum(-1, keepdim=True), weight, columns)
        of_targets = of_targets.view(latents, hidden, batch, -1)
        first = self._from_past(z_t).view(latents, hidden, batch, -1) + of_targets
        return self._from_first(first.flatten(2), torch.Size((batch, first.shape[-1], latents)))

    def nll(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor) -> Tensor:
        """``sum_m NLL[m]`` under a sample of the assignment; see :meth:`TransitionPrior.nll`."""
        gaussians = self.gaussians(z_t, targets, psi.unsqueeze(1))
        return self._with_pull(gaussian_nll_over_sample_pairs(*gaussians, z_t1).sum(-1), probabilities)

    def kl(
        self,
        mean: Tensor,
        log_std: Tensor,
        z_t: Tensor,
        z_t1: Tensor,
        targets: Tensor,
        probabilities: Tensor,
        psi: Tensor | None = None,
    ) -> Tensor:
        """``sum_m sum_k p[m,k] KL[m,k]``, the prior once for each of the K+1 assignments, psi(0) times 1 - lambda.

        See :meth:`TransitionPrior.kl`; ``z_t1`` and ``psi`` are not looked at.
        """
        latents, variables = probabilities.shape
        every = torch.eye(variables, device=mean.device, dtype=mean.dtype)[None, :, None].expand(-1, -1, latents, -1)
        kl = gaussian_kl(mean.unsqueeze(1), log_std.unsqueeze(1), *self.gaussians(z_t.unsqueeze(1), targets, every))
        return (kl * self._weights(probabilities).T).sum((-2, -1))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}; see :meth:`TransitionPrior.sample`."""
        psi = functional.one_hot(assignment, targets.shape[1] + 1).to(z_t.dtype)
        mean, log_std = self.gaussians(z_t.unsqueeze(1), targets, psi[None, None])
        noise = torch.randn(z_t.shape, generator=generator).to(z_t)
        return gaussian_draw(mean.squeeze(1), log_std.squeeze(1), noise, temperature)
