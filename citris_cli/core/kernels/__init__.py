"""What PyTorch has no fast form of on a CPU, by the C functions of ``kernels.c``.

Networks of masked or separate maps and the flow made of them, the small functions of a training step around them, and
the transforms of Winograd's convolution.

They are compiled when the package is installed, where there is a C compiler, for x86-64 processors with AVX2 or
AVX-512, and compute in OpenMP's threads, which PyTorch has already. Elsewhere :func:`usable` says no, and the same
things are PyTorch's to compute and to differentiate.
"""

from citris_cli.core.kernels.adamw import AdamW, AdamWGroup
from citris_cli.core.kernels.assignment import gumbel, gumbel_backward
from citris_cli.core.kernels.classifier import classifier, target_means
from citris_cli.core.kernels.flow import Flow, FlowLayer, affine_inverse
from citris_cli.core.kernels.library import like, side_by_side, usable
from citris_cli.core.kernels.networks import Networks
from citris_cli.core.kernels.scores import MarginalScore
from citris_cli.core.kernels.structures import Structure, autoregressive, full, separate
from citris_cli.core.kernels.transforms import winograd_gather, winograd_spread, winograd_windows

__all__ = [
    "AdamW", "AdamWGroup", "Flow", "FlowLayer", "MarginalScore", "Networks", "Structure", "affine_inverse",
    "autoregressive", "classifier", "full", "gumbel", "gumbel_backward", "like", "separate", "side_by_side",
    "target_means", "usable", "winograd_gather", "winograd_spread", "winograd_windows",
]  # fmt: skip
