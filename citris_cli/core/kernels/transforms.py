"""The transforms of Winograd's convolution."""

from __future__ import annotations

from torch import Tensor

from citris_cli.core.kernels import library


def winograd_windows(images: Tensor, top: int, rows: int, values: Tensor) -> None:
    """``B^T d B`` of the 6x6 windows around the 4x4 tiles of some rows; see :mod:`citris_cli.core.winograd`.

    Args:
        images: [b, H, W, C], contiguous, with at least 16 channels.
        top, rows: the first of these rows, and how many they are, of all images.
        values: takes the values [36, tiles, C].
    """
    library.call("winograd_windows", *images.shape, images.data_ptr(), top, rows, values.data_ptr())


def winograd_gather(images: Tensor, top: int, rows: int, values: Tensor, bias: Tensor | None = None) -> None:
    """``A^T m A`` of values, plus a bias [C], into the tiles of some rows; arguments as in the function above."""
    address = None if bias is None else bias.data_ptr()
    library.call("winograd_gather", *images.shape, images.data_ptr(), top, rows, values.data_ptr(), address)


def winograd_spread(images: Tensor, top: int, rows: int, values: Tensor) -> None:
    """``A y A^T`` of the tiles of some rows; arguments as in the functions above."""
    library.call("winograd_spread", *images.shape, images.data_ptr(), top, rows, values.data_ptr())
