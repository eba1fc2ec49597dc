"""Normalizing flow between the autoencoder's latents x and the causal latents z.

Every transform has ``forward(x) -> (z, ldj)`` and ``inverse(z) -> x``, where ``ldj = -log|det dz/dx|`` [B]: the sign
with which it is added to a negative log-likelihood. Four layers of ActNorm, invertible linear map (from the second
layer on) and autoregressive affine map, after Kingma & Dhariwal, "Glow", 2018, and Papamakarios et al., "Masked
autoregressive flow", 2017, as CITRIS-NF puts them together (Lippe et al., 2022, appendix C).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core import kernels, shares
from citris_cli.core.kernels import Structure
from citris_cli.core.masked import MaskedLinear
from citris_cli.core.networks import shapes_only
from citris_cli.core.structured import FlowPass

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
        """L, U, log-diagonal, P and signs, in the order of :class:`citris_cli.core.kernels.FlowLayer`."""
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
        self.hidden = hidden
        self.first = MaskedLinear(1, hidden, latents, strict=True, generator=generator)
        self.middle = MaskedLinear(hidden, hidden, latents, strict=False, generator=generator)
        self.last = MaskedLinear(hidden, 2, latents, strict=False, generator=generator)
        self.scaling = nn.Parameter(torch.zeros(latents))
        self._views: _ViewsOfOne | None = None

    def _bound(self) -> Tensor:
        return MAX_LOG_SCALE * torch.tanh(self.scaling.exp() / MAX_LOG_SCALE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, M] -> z [B, M], ldj [B]."""
        hidden = functional.silu(self.middle(functional.silu(self.first(x))))
        shift, log_scale = self.last(hidden).unflatten(1, (-1, 2)).unbind(2)
        bound = self._bound()
        log_scale = torch.tanh(log_scale / bound.clamp_min(1.0)) * bound
        return (x + shift) * log_scale.exp(), -log_scale.sum(1)

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """z [B, M] -> x [B, M]; sequential in the variables, but for about the cost of one masked forward pass.

        Variable i needs only the hidden units of variables <= i, and these never change again once x_1 … x_{i-1}
        are known: each step computes one new block of h units in each layer from the blocks that are there already.
        Everything is held transposed, [units, B], so that a block is a contiguous slice of rows.
        """
        if kernels.usable(z, self.scaling):
            network = [part.contiguous() for part in self.weights_and_biases()]
            return kernels.affine_inverse(self.structures(), network, self._bound(), z.contiguous())
        batch, latents = z.shape
        if batch == 1:
            return self._inverse_of_one(z[0])
        width = self.hidden
        bound = self._bound()
        # Signs and the division inside the tanh are folded into the last layer, which then gives -t and -s: with few
        # points, what costs is the number of operations a step.
        last_weight, last_bias = -self.last.masked_weight(), -self.last.bias
        last_weight[1::2] /= bound.clamp_min(1.0)[:, None]
        last_bias[1::2] /= bound.clamp_min(1.0)
        weights = [
            part
            for weight, bias in (
                (self.first.masked_weight(), self.first.bias),
                (self.middle.masked_weight(), self.middle.bias),
                (last_weight, last_bias),
            )
            for part in (weight.split(len(weight) // latents), bias.split(len(bias) // latents))
        ]
        x = z.new_empty(latents, batch)
        first = z.new_empty(latents * width, batch)
        middle = torch.empty_like(first)
        steps = zip(
            *weights,
            bound.tolist(),
            z.T.contiguous().unbind(0),
            x.unbind(0),
            first.split(width),
            middle.split(width),
            strict=True,
        )
        for i, (w1, b1, w2, b2, w3, b3, bound_i, z_i, x_i, first_i, middle_i) in enumerate(steps):
            seen = (i + 1) * width
            torch.addmm(b1[:, None], w1[:, :i], x[:i], out=first_i)
            functional.silu(first_i, inplace=True)
            torch.addmm(b2[:, None], w2[:, :seen], first[:seen], out=middle_i)
            functional.silu(middle_i, inplace=True)
            shift, log_scale = torch.addmm(b3[:, None], w3[:, :seen], middle[:seen]).unbind(0)
            torch.addcmul(shift, z_i, log_scale.tanh_().mul_(bound_i).exp_(), out=x_i)
        return x.T.contiguous()

    def _inverse_of_one(self, z: Tensor) -> Tensor:
        """The same for a single point z [M] -> [1, M], where what costs is the number of operations.

        As soon as a block is known, one product adds it to the sums of all blocks that it feeds. Single numbers are
        Python's own. Nothing has to be masked: what the other half of a weight adds arrives at blocks that have been
        read already.
        """
        views, self._views = self._views, None  # nobody else has them while their sums are in use
        if views is None or not views.fit(self):
            views = _ViewsOfOne(self)
        with torch.inference_mode():  # bookkeeping for gradients would take a tenth of the time
            x = self._numbers_of_one(z, views)
        self._views = views
        return z.new_tensor([x])

    def _numbers_of_one(self, z: Tensor, views: _ViewsOfOne) -> list[float]:
        for sums, layer in zip(views.sums, self._masked(), strict=True):
            sums.copy_(layer.bias)
        x = []
        for z_i, bound_i, step in zip(z.tolist(), self._bound().tolist(), views.steps, strict=True):
            first, middle, last, fed_first, fed_middle, fed_last, w1, w2, w3 = step
            fed_middle.addmv_(w2, functional.silu(first))
            fed_last.addmv_(w3, functional.silu(middle))
            shift, log_scale = last.tolist()
            x_i = z_i * math.exp(-math.tanh(log_scale / max(bound_i, 1.0)) * bound_i) - shift
            fed_first.add_(w1, alpha=x_i)
            x.append(x_i)
        return x

    def _masked(self) -> tuple[MaskedLinear, MaskedLinear, MaskedLinear]:
        return self.first, self.middle, self.last

    def weights_and_biases(self) -> list[Tensor]:
        """Of the three layers of its network, in turn."""
        return [part for layer in self._masked() for part in (layer.weight, layer.bias)]

    def structures(self) -> list[Structure]:
        """What the outputs of these layers see, for :mod:`citris_cli.core.kernels`."""
        return [layer.structure() for layer in self._masked()]


class _ViewsOfOne:
    """The parts of weights and sums that the inverse of one point takes, step by step.

    Making these views takes as long as computing with them; so they are made once. They look at the weights themselves
    and see whatever an optimiser writes there.

    Attributes:
        sums: what every layer's units add up to, [M h], [M h] and [2 M].
        steps: of every variable i its own sums in each layer; the sums that it feeds, its own (in the first layer, the
            next variable's) and all later ones; and the weights with which it does.

    Args:
        layer: whose inverse it is.
    """

    def __init__(self, layer: AutoregressiveAffine) -> None:
        self.sums = [torch.empty_like(part.bias, requires_grad=False) for part in layer._masked()]
        self._weights = [part.weight.detach() for part in layer._masked()]
        first, middle, last = self.sums
        w1, w2, w3 = self._weights
        h = layer.hidden
        self.steps = [
            (
                *(first[i * h : (i + 1) * h], middle[i * h : (i + 1) * h], last[2 * i : 2 * (i + 1)]),
                *(first[(i + 1) * h :], middle[i * h :], last[2 * i :]),
                *(w1[(i + 1) * h :, i], w2[i * h :, i * h : (i + 1) * h], w3[2 * i :, i * h : (i + 1) * h]),
            )
            for i in range(w1.shape[1])
        ]

    def fit(self, layer: AutoregressiveAffine) -> bool:
        """Whether the layer's weights are still in the memory that the views look at."""
        return all(
            view.data_ptr() == part.weight.data_ptr() for view, part in zip(self._weights, layer._masked(), strict=True)
        )


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
        if len(self.transforms) > 0 and kernels.usable(x, next(self.parameters())):
            return self._pass(x)
        total = x.new_zeros(len(x))
        for transform in self.transforms:
            x, ldj = transform(x)
            total = total + ldj
        return x, total

    def _pass(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same in one function; see :mod:`citris_cli.core.kernels`."""
        learned: list[Tensor | None] = []
        norm: ActNorm
        linear: list[Tensor] | list[None] = []
        structures: list[Structure] = []
        for transform in self.transforms:
            if isinstance(transform, ActNorm):
                norm, linear = transform, [None] * 5
            elif isinstance(transform, InvertibleLinear):
                linear = transform.parts()
            elif isinstance(transform, AutoregressiveAffine):
                structures = transform.structures()
                learned += [norm.bias, norm.log_scale, transform.scaling, *linear, *transform.weights_and_biases()]
        return FlowPass.apply(x, structures, *learned)

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """Causal latents z [B, M] -> encodings x [B, M]; no gradient."""
        for transform in reversed(self.transforms):
            z = transform.inverse(z)  # type: ignore[operator]
        return z
