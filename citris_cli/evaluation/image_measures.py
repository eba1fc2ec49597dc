"""How far two pictures are from each other: MSE, PSNR, SSIM. Intensities are 0 … 1 in all of them."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Standard deviation in pixels of SSIM's window, how many of them it reaches, and its two constants.
SSIM_SIGMA, SSIM_TRUNCATE, SSIM_K1, SSIM_K2 = 1.5, 3.5, 0.01, 0.03

Array = np.ndarray[Any, Any]


def _intensities(images: Array) -> Array:
    return images.astype(np.float64) / 255


def mse(first: Array, second: Array) -> Array:
    """Mean squared error of each pair.

    Args:
        first, second: uint8 [N, H, W, C].

    Returns:
        float64 [N], 0 … 1.
    """
    return np.square(_intensities(first) - _intensities(second)).mean(axis=(1, 2, 3))


def psnr(error: Array) -> Array:
    """Peak signal-to-noise ratio ``-10 log10(MSE)`` in decibels; infinite where the pictures are the same.

    Args:
        error: mean squared errors of intensities 0 … 1.
    """
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def ssim(first: Array, second: Array) -> Array:
    """Structural similarity of each pair (Wang et al., "Image quality assessment", 2004), averaged over channels.

    As in the paper: a Gaussian window of 11×11 pixels and sigma 1.5, moments of the population, K1 = 0.01, K2 = 0.03;
    places whose window reaches over the rim are left out.

    Args:
        first, second: uint8 [N, H, W, C], more than 10 pixels high and wide.

    Returns:
        float64 [N], at most 1.
    """
    from scipy.ndimage import (
        gaussian_filter,
    )  # here, for trainings import this module and measure with it only at times

    x, y = _intensities(first), _intensities(second)

    def local(values: Array) -> Array:
        return gaussian_filter(values, (0, SSIM_SIGMA, SSIM_SIGMA, 0), truncate=SSIM_TRUNCATE)

    mean_x, mean_y = local(x), local(y)
    variance_x, variance_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    rim = int(SSIM_TRUNCATE * SSIM_SIGMA + 0.5)
    return similarity[:, rim:-rim, rim:-rim].mean(axis=(1, 2, 3))
