"""CITRIS-NF in its plain form: what one writes down first, reading the model's formulas from top to bottom.

One sample of one frame at a time, one network a latent, one pass of the classifier a mask, all S x S terms of the
pairs of samples. Weights are copied from the production model, so that both must agree.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.flow import AutoregressiveAffine, NormalizingFlow
from citris_cli.core.priors import (
    AutoregressiveTransitionPrior,
    ImperfectMLPTransitionPrior,
    MLPTransitionPrior,
    TransitionPrior,
)
from citris_cli.core.priors.per_latent import PerLatentMLP
from citris_cli.core.target_classifier import TargetClassifier


@torch.no_grad()
def inverse(flow: NormalizingFlow, z: Tensor) -> Tensor:
    """z [B, M] -> x [B, M]; every autoregressive layer by M full forward passes, one a latent, of its masked network.

    ActNorm and the linear maps, which are not sequential, are undone by the production code.
    """
    for transform in reversed(flow.transforms):
        if isinstance(transform, AutoregressiveAffine):
            z = _inverse_affine(transform, z)
        else:
            z = transform.inverse(z)  # type: ignore[operator]
    return z


def _inverse_affine(layer: AutoregressiveAffine, z: Tensor) -> Tensor:
    x = torch.zeros_like(z)
    bound = 3 * torch.tanh(layer.scaling.exp() / 3)
    for i in range(z.shape[1]):
        hidden = functional.silu(layer.first(x))
        hidden = functional.silu(layer.middle(hidden))
        out = layer.last(hidden)
        shift, log_scale = out[:, 0::2], torch.tanh(out[:, 1::2] / bound.clamp(min=1)) * bound
        x[:, i] = z[:, i] * (-log_scale[:, i]).exp() - shift[:, i]
    return x


def gaussian_nll(mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
    """Negative log-likelihood of z, all tensors broadcast against each other."""
    return 0.5 * ((z - mean) / log_std.exp()) ** 2 + log_std + 0.5 * math.log(2 * math.pi)


def _one_a_latent(weights: Tensor, biases: Tensor) -> nn.ModuleList:
    """Linear layers with the weights [M, outputs, inputs] and biases [M, outputs]."""
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        layers.append(layer)
    return nn.ModuleList(layers)


class _PlainNetworks(nn.Module):
    """The MLP prior's networks as M modules of four ``nn.Linear`` each, called one latent after the other."""

    def __init__(self, prior: PerLatentMLP) -> None:
        super().__init__()
        self.context = _one_a_latent(prior.context_weight, prior.context_bias)
        self.own = _one_a_latent(prior.own.weight, prior.own.bias)
        self.middle = _one_a_latent(prior.middle.weight, prior.middle.bias)
        self.out = _one_a_latent(prior.out.weight, prior.out.bias)

    def gaussians(self, z_t: Tensor, shown: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation [B, M], given one z^t [B, M] and what else each latent sees [B, M, …]."""
        results = []
        for m in range(z_t.shape[1]):
            own = z_t[:, m : m + 1]
            if shown is not None:
                own = torch.cat([own, shown[:, m]], dim=1)
            hidden = functional.silu(self.context[m](z_t) + self.own[m](own))
            hidden = functional.silu(self.middle[m](hidden))
            results.append(self.out[m](hidden))
        both = torch.stack(results, dim=1)
        return both[..., 0], both[..., 1]


class PlainPrior(_PlainNetworks):
    """The MLP transition prior with perfect interventions, in loops.

    The observational networks are called one latent after the other and, unless ``all_samples``, one of the S samples
    of z^t after the other, each with all B pairs at once. Their results are stacked to [B, S, M] and the likelihoods
    of all pairs of samples are made as [B, S, S, M] and, under interventions, as [B, S, M, K], twice: once for the
    value and once for the parameters' own gradient.

    Args:
        prior: production prior with one Gaussian a latent and variable, whose weights are copied.
        all_samples: whether the networks see all samples in one batch [B S, M].
    """

    def __init__(self, prior: MLPTransitionPrior, all_samples: bool = False) -> None:
        super().__init__(prior)
        self.regulariser = prior.config.regulariser
        self.all_samples = all_samples
        self.intervened = nn.Parameter(prior.intervened.detach().reshape(len(self.out), -1, 2).clone())

    def nll(
        self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor | None = None
    ) -> Tensor:
        """As :meth:`MLPTransitionPrior.nll`: [B, S, M] twice, [B, K], [M, K+1] -> [B]."""
        targets = targets.to(z_t.dtype)
        if self.all_samples:
            mean, log_std = (part.view(z_t.shape) for part in self.gaussians(z_t.flatten(0, 1)))
        else:
            each = [self.gaussians(z_t[:, s]) for s in range(z_t.shape[1])]
            mean, log_std = (torch.stack(parts, dim=1) for parts in zip(*each, strict=True))
        pairs = gaussian_nll(mean[:, :, None], log_std[:, :, None], z_t1[:, None])  # [B, S, S, M]
        observational = pairs.mean((1, 2))
        intervened = self._intervened(z_t1, self.intervened.detach())
        weighted = probabilities[:, :-1] * targets[:, None]
        free = 1 - weighted.sum(-1) - self.regulariser * probabilities[:, -1]
        nll = (weighted * intervened).sum((1, 2)) + (observational * free).sum(1)
        if self.training:
            own = (targets[:, None] * self._intervened(z_t1.detach(), self.intervened)).sum((1, 2))
            nll = nll + own - own.detach() + self.regulariser * (1 - probabilities[:, -1]).mean()
        return nll

    @staticmethod
    def _intervened(z_t1: Tensor, parameters: Tensor) -> Tensor:
        return gaussian_nll(parameters[..., 0], parameters[..., 1], z_t1[..., None]).mean(
            1
        )  # [B, S, M, K] -> [B, M, K]


class PlainImperfectPrior(_PlainNetworks):
    """The MLP transition prior with imperfect interventions: one sample and one latent after the other.

    Args:
        prior: production prior, whose weights are copied.
    """

    def __init__(self, prior: ImperfectMLPTransitionPrior) -> None:
        super().__init__(prior)
        self.regulariser = prior.config.regulariser

    def nll(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor) -> Tensor:
        """As :meth:`ImperfectMLPTransitionPrior.nll`: [B, S, M] twice, [B, K], [M, K+1], [B, M, K+1] -> [B]."""
        with_0 = torch.cat([targets.to(z_t.dtype), torch.zeros(len(targets), 1)], dim=1)
        shown = psi * with_0[:, None] - (1 - psi)
        each = [self.gaussians(z_t[:, s], shown) for s in range(z_t.shape[1])]
        mean, log_std = (torch.stack(parts, dim=1) for parts in zip(*each, strict=True))
        pairs = gaussian_nll(mean[:, :, None], log_std[:, :, None], z_t1[:, None])  # [B, S, S, M]
        return pairs.mean((1, 2)).sum(-1) + self.regulariser * (1 - probabilities[:, -1]).mean()


class PlainAutoregressivePrior(nn.Module):
    """The autoregressive transition prior: its whole network once a variable, with dense masked weights.

    Args:
        prior: production prior, whose weights are copied.
    """

    def __init__(self, prior: AutoregressiveTransitionPrior) -> None:
        super().__init__()
        self.regulariser = prior.config.regulariser
        self.perfect = prior.perfect
        self.context = copy.deepcopy(prior.context)
        self.target = copy.deepcopy(prior.target)
        self.first, self.middle, self.last = map(copy.deepcopy, (prior.first, prior.middle, prior.last))

    def nll(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, probabilities: Tensor, psi: Tensor) -> Tensor:
        """As :meth:`AutoregressiveTransitionPrior.nll`: [B, S, M] twice, [B, K], [M, K+1], [B, M, K+1] -> [B]."""
        with_0 = torch.cat([targets.to(z_t.dtype), torch.zeros(len(targets), 1)], dim=1)
        total = self.regulariser * (1 - probabilities[:, -1]).mean()
        for k in range(psi.shape[-1]):
            own = psi[:, None, :, k]
            inputs = torch.stack([z_t1 * own, (2 * own - 1).expand_as(z_t1)], dim=-1).flatten(2)
            shown = torch.full_like(with_0, -1.0)
            shown[:, k] = with_0[:, k]
            past = self.context(z_t)
            if self.perfect:
                past = past * (1 - with_0[:, k])[:, None, None]
            hidden = functional.silu((self.first(inputs) + self.target(shown)[:, None] + past) / 2)
            out = self.last(functional.silu(self.middle(hidden)))
            mean, log_std = out[..., 0::2], out[..., 1::2]
            pairs = gaussian_nll(mean[:, :, None], log_std[:, :, None], z_t1[:, None])  # [B, S, S, M]
            total = total + (probabilities[:, k] * pairs.mean((1, 2))).sum(-1)
        return total


def plain_prior(prior: TransitionPrior) -> PlainPrior | PlainImperfectPrior | PlainAutoregressivePrior:
    """The plain form of a production prior."""
    if isinstance(prior, AutoregressiveTransitionPrior):
        return PlainAutoregressivePrior(prior)
    if isinstance(prior, ImperfectMLPTransitionPrior):
        return PlainImperfectPrior(prior)
    assert isinstance(prior, MLPTransitionPrior)
    return PlainPrior(prior)


def forward(flow: NormalizingFlow, x: Tensor) -> tuple[Tensor, Tensor]:
    """A flow's forward pass, transform by transform, with dense products."""
    total = torch.zeros(len(x))
    for transform in flow.transforms:
        x, ldj = transform(x)
        total = total + ldj
    return x, total


class PlainClassifier(nn.Module):
    """The target classifier with targets that may tell of each other, one mask after the other.

    Args:
        classifier: production classifier, whose weights and running means are copied.
    """

    def __init__(self, classifier: TargetClassifier) -> None:
        super().__init__()
        self.network = copy.deepcopy(classifier.network)
        self.frozen = copy.deepcopy(classifier.frozen)
        self.momentum = classifier.momentum
        variables = len(classifier.mean)
        self.mean = classifier.mean.clone()
        self.count = 0
        self.given = classifier.conditional_mean.clone()  # [j, v, i]: mean of I_i where I_j = v
        self.given_count = [[0, 0] for _ in range(variables)]

    def forward(self, z: Tensor, targets: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`TargetClassifier.forward` for windows of two frames: z [B, 2, M], targets [B, K]."""
        targets = targets.to(z.dtype)
        variables = targets.shape[1]
        self._update(targets)
        loss_model, loss_z = z.new_zeros(()), z.new_zeros(())
        for index in range(variables + 2):
            mask = sample[:, :, index] if index <= variables else torch.ones_like(z[:, 0])
            inputs = torch.cat([z[:, 0], z[:, 1] * mask, mask], dim=1)
            logits = self.network(inputs.detach())
            loss_model = loss_model + functional.binary_cross_entropy_with_logits(logits, targets)
            desired, weight = self._desired(index, targets)
            loss_z = loss_z + functional.binary_cross_entropy_with_logits(self.frozen(inputs), desired, weight=weight)
        return loss_model, loss_z

    def _desired(self, index: int, targets: Tensor) -> tuple[Tensor, Tensor]:
        variables = targets.shape[1]
        if index == variables + 1:
            return targets, torch.full_like(targets, variables)
        desired, weight = self.mean.repeat(len(targets), 1), torch.ones_like(targets)
        if index < variables:
            desired = self.given[index][targets[:, index].long()]
            desired[:, index] = targets[:, index]
            weight[:, index] = variables
        return desired, weight

    @torch.no_grad()
    def _update(self, targets: Tensor) -> None:
        self.count += len(targets)
        self.mean += (targets.mean(0) - self.mean) * len(targets) / self.count
        for j in range(targets.shape[1]):
            for value in (0, 1):
                rows = targets[targets[:, j] == value]
                if len(rows):
                    self.given_count[j][value] += len(rows)
                    step = len(rows) / self.given_count[j][value]
                    self.given[j, value] += (rows.mean(0) - self.given[j, value]) * step
        for theirs, mine in zip(self.frozen.parameters(), self.network.parameters(), strict=True):
            theirs.mul_(self.momentum).add_((1 - self.momentum) * mine)


class PlainCitrisNF(nn.Module):
    """CITRIS-NF's loss: the flow once a frame and sample, then the plain prior and the plain classifier.

    The flow's layers are the production ones with dense masked products, and so the formula itself.

    Args:
        model: production model, whose weights are copied.
    """

    def __init__(self, model: CitrisNF) -> None:
        super().__init__()
        self.config = model.config
        self.flow = copy.deepcopy(model.flow)
        self.logits = nn.Parameter(model.assignment.logits.detach().clone())
        self.prior = plain_prior(model.prior)
        self.classifier = PlainClassifier(model.classifier)

    def loss(self, encodings: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """As :meth:`CitrisNF.loss`, the total alone: encodings [B, 2, M], targets [B, K]."""
        batch, _, latents = encodings.shape
        samples = self.config.samples
        noise = torch.randn(batch, 2, samples, latents, generator=generator)
        frames, ldj = [], encodings.new_zeros(batch)
        for frame in range(2):
            each = []
            for s in range(samples):
                z, its_ldj = forward(self.flow, encodings[:, frame] + self.config.noise * noise[:, frame, s])
                each.append(z)
                if frame == 1:
                    ldj = ldj + its_ldj / samples
            frames.append(torch.stack(each, dim=1))
        uniform = torch.rand(batch, latents, self.logits.shape[1], generator=generator).clamp(1e-9, 1 - 1e-7)
        soft = (self.logits - (-uniform.log()).log()).softmax(-1)
        hard = functional.one_hot(soft.argmax(-1), soft.shape[-1]) + soft - soft.detach()
        probabilities = self.logits.softmax(-1)
        nll = (self.prior.nll(frames[0], frames[1], targets, probabilities, hard) + ldj).mean()
        loss_model, loss_z = self.classifier(torch.stack([frames[0][:, 0], frames[1][:, 0]], dim=1), targets, hard)
        return nll + loss_model + self.config.classifier_weight * loss_z
