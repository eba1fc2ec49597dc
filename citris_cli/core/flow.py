"""Normalizing flow between the autoencoder's latents x and the causal latents z.

Every transform has ``forward(x) -> (z, ldj)`` and ``inverse(z) -> x``, where ``ldj = -log|det dz/dx|`` [B]: the sign
with which it is added to a negative log-likelihood. Four layers of ActNorm, invertible linear map (from the second
layer on) and autoregressive affine map, after Kingma & Dhariwal, "Glow", 2018, and Papamakarios et al., "Masked
autoregressive flow", 2017, as CITRIS-NF puts them together (Lippe et al., 2022, appendix C).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from citris_cli.core.initialisation import shapes_only
from citris_cli.core.masked import MaskedLinear
from citris_cli.core.ops import shares
from citris_cli.core.ops.flow import FlowLayer, affine_inverse, composed
from citris_cli.core.ops.networks import LinearMap, Structure, network

#: Bound on the log-scales of ActNorm and of the affine maps.
MAX_LOG_SCALE = 3.0


def clamp_straight_through(x: Tensor, bound: float) -> Tensor:
    """``x`` clamped to [-bound, bound], with the gradient of the identity: a value outside can come back."""
    return x + (x.clamp(-bound, bound) - x).detach()


class ActNorm(nn.Module):
    """``z = (x + b) * exp(s)``, one b and s a latent, ``|s| <= 3``.

    The first training batch sets b and s so that its z have zero mean and unit variance.

    Args:
        latents: number of latents M.
    """

    initialised: Tensor

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(latents))
        self.log_scale = nn.Parameter(torch.zeros(latents))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set b and s from a batch [B, M] to which this layer is then applied."""
        self.bias.copy_(-x.mean(0))
        self.log_scale.copy_(-x.std(0, unbiased=False).clamp_min(1e-6).log())
        self.initialised.fill_(True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, M] -> z [B, M], ldj [B]."""
        log_scale = clamp_straight_through(self.log_scale, MAX_LOG_SCALE)
        return (x + self.bias) * log_scale.exp(), -log_scale.sum().expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """z [B, M] -> x [B, M]."""
        return z * (-self.log_scale.clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)).exp() - self.bias


class InvertibleLinear(nn.Module):
    """``z = x W`` with ``W = P L (U + diag(sign * exp(log_s)))``, so ``log|det W| = sum log_s`` costs nothing.

    P is a fixed permutation, L unit lower triangular, U strictly upper triangular; the start is a random orthogonal
    matrix (Glow, section 3.2).

    Args:
        latents: number of latents M.
        generator: source of the random start.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, latents: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        lower, upper, log_diagonal, permutation, sign = _random_rotation(latents, generator)
        self.lower = nn.Parameter(lower)
        self.upper = nn.Parameter(upper)
        self.log_diagonal = nn.Parameter(log_diagonal)
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", sign)

    def parts(self) -> list[Tensor]:
        """L, U, log-diagonal, P and signs, in the order of :class:`citris_cli.core.ops.flow.FlowLayer`."""
        return [self.lower, self.upper, self.log_diagonal, self.permutation, self.sign]

    def weight(self) -> Tensor:
        """W [M, M]."""
        lower, upper = self._triangles()
        return self.permutation @ lower @ upper

    def _triangles(self) -> tuple[Tensor, Tensor]:
        unit = torch.eye(len(self.sign), device=self.sign.device, dtype=self.lower.dtype)
        return self.lower.tril(-1) + unit, self.upper.triu(1) + torch.diag_embed(self.sign * self.log_diagonal.exp())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, M] -> z [B, M], ldj [B]."""
        return x @ self.weight(), -self.log_diagonal.sum().expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """z [B, M] -> x [B, M], by two triangular solves rather than a matrix inverse, which would lose digits."""
        lower, upper = self._triangles()
        y = torch.linalg.solve_triangular(upper, z, upper=True, left=False)
        y = torch.linalg.solve_triangular(lower, y, upper=False, left=False, unitriangular=True)
        return y @ self.permutation.T


def _random_rotation(latents: int, generator: torch.Generator | None) -> tuple[Tensor, ...]:
    """Of ``P L U`` that is orthogonal: L and U without their diagonals, log|diag U|, P, sign of diag U."""
    if shapes_only():
        square, line = torch.empty(latents, latents), torch.empty(latents)
        return square, square, line, square, line
    # The sign correction makes QR's factor uniform over the orthogonal group (Mezzadri, 2007).
    q, r = torch.linalg.qr(torch.randn(latents, latents, generator=generator))
    permutation, lower, upper = torch.linalg.lu(q * r.diagonal().sign())
    diagonal = upper.diagonal()
    return lower.tril(-1), upper.triu(1), diagonal.abs().log(), permutation, diagonal.sign()


class AutoregressiveAffine(nn.Module):
    """``z_i = (x_i + t_i) * exp(s_i)`` with (t_i, s_i) from a masked MLP of x_1 … x_{i-1}.

    The MLP is M -> M h -> M h -> 2M with SiLU; its outputs are interleaved ``[t_0, s_0, t_1, s_1, …]`` and bounded by
    ``s <- tanh(s / max(c, 1)) c``, ``c = 3 tanh(exp(scaling) / 3)``, one learned scaling a latent.

    Args:
        latents: number of latents M.
        hidden: hidden units h a latent.
        generator: source of the random start.
    """

    def __init__(self, latents: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.first = MaskedLinear(1, hidden, latents, strict=True, generator=generator)
        self.middle = MaskedLinear(hidden, hidden, latents, strict=False, generator=generator)
        self.last = MaskedLinear(hidden, 2, latents, strict=False, generator=generator)
        self.scaling = nn.Parameter(torch.zeros(latents))

    def bound(self) -> Tensor:
        """c, the bound on every latent's log-scale [M]."""
        return MAX_LOG_SCALE * torch.tanh(self.scaling.exp() / MAX_LOG_SCALE)

    def maps(self) -> list[LinearMap]:
        """The three maps of its network."""
        return [layer.as_map() for layer in (self.first, self.middle, self.last)]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, M] -> z [B, M], ldj [B]."""
        shift, log_scale = network(x, self.maps()).unflatten(1, (-1, 2)).unbind(2)
        bound = self.bound()
        log_scale = torch.tanh(log_scale / bound.clamp_min(1.0)) * bound
        return (x + shift) * log_scale.exp(), -log_scale.sum(1)

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """z [B, M] -> x [B, M], one latent after the other: t_i and s_i need x_1 … x_{i-1}."""
        return affine_inverse(z, self.maps(), self.bound())


class NormalizingFlow(nn.Module):
    """F layers of ActNorm -> invertible linear (from the second layer on) -> autoregressive affine.

    Example:
        >>> flow = NormalizingFlow(latents=4, layers=2, hidden=8)
        >>> z, ldj = flow(torch.randn(16, 4))
        >>> z.shape, ldj.shape
        (torch.Size([16, 4]), torch.Size([16]))

    Args:
        latents: number of latents M.
        layers: number of layers F.
        hidden: hidden units h a latent in the autoregressive networks.
        generator: source of the random start.
    """

    def __init__(self, latents: int, layers: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        transforms: list[nn.Module] = []
        for layer in range(layers):
            transforms.append(ActNorm(latents))
            if layer > 0:
                transforms.append(InvertibleLinear(latents, generator))
            transforms.append(AutoregressiveAffine(latents, hidden, generator))
        self.transforms = nn.ModuleList(transforms)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set every ActNorm from the first training batch x [B, M] as it arrives at that layer."""
        x = shares.whole(x)
        for transform in self.transforms:
            if isinstance(transform, ActNorm):
                transform.initialise(x)
            x, _ = transform(x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encodings x [B, M] -> causal latents z [B, M] and ldj = -log|det dz/dx| [B]."""
        return composed(x, list(self.transforms), self._layers)

    def _layers(self) -> tuple[list[Structure], list[FlowLayer]]:
        """The same transforms, layer by layer, as :func:`citris_cli.core.ops.flow.composed` takes them."""
        layers: list[FlowLayer] = []
        structures: list[Structure] = []
        own: list[Tensor | None] = []
        linear: list[Tensor] | list[None] = []
        for transform in self.transforms:
            if isinstance(transform, ActNorm):
                own, linear = [transform.bias, transform.log_scale], [None] * 5
            elif isinstance(transform, InvertibleLinear):
                linear = transform.parts()
            elif isinstance(transform, AutoregressiveAffine):
                maps = transform.maps()
                structures = structures or [one.structure() for one in maps]
                parameters = [part for one in maps for part in (one.weight, one.bias)]
                layers.append(FlowLayer([*own, transform.scaling, *linear], parameters))
        return structures, layers

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> encodings x [B, M]; no gradient."""
        for transform in reversed(self.transforms):
            z = transform.inverse(z)  # type: ignore[operator]
        return z
