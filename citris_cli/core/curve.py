"""The order of points that lie along a curve: how a sweep walks through the values of a variable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Neighbours whose distance sets the width of the kernel, as a share of the points and at least so many.
NEIGHBOUR_SHARE, LEAST_NEIGHBOURS = 0.05, 5


def order_along_curve(points: Tensor, closed: bool) -> Tensor:
    """Order points by their place on the curve that they lie along, by the first coordinates of a diffusion map.

    The eigenvectors of the diffusion over the points after the constant one are, on an interval, ``cos(pi s)`` of the
    arc length s and, on a closed curve, its sine and cosine (Coifman & Lafon, "Diffusion maps", 2006), however the
    curve is bent and however densely it is sampled.

    Args:
        points: [N, d], N at least 2; the cost grows with N^3.
        closed: whether the curve ends where it begins (an angle) or has two ends.

    Returns:
        int64 [N], the points' numbers in order. Where the curve starts, and in which direction, has no meaning.
    """
    distance = torch.cdist(points.double(), points.double()).square()
    count = len(points)
    neighbours = min(count - 1, max(LEAST_NEIGHBOURS, round(NEIGHBOUR_SHARE * count)))
    width = distance.kthvalue(neighbours + 1, dim=1).values.mean().clamp_min(1e-30)
    kernel = (-distance / width).exp()
    density = kernel.sum(1)
    kernel = kernel / (density[:, None] * density)  # takes the sampling's density out of the diffusion
    scale = kernel.sum(1).rsqrt()
    _, vectors = torch.linalg.eigh(kernel * scale[:, None] * scale)  # eigenvalues ascend
    coordinates = vectors * scale[:, None]
    if not closed or count < 3:
        return coordinates[:, -2].argsort()
    return torch.atan2(coordinates[:, -3], coordinates[:, -2]).argsort()


def places_on_curve(points: Tensor, number: int, closed: bool) -> Tensor:
    """Points at equal steps of rank along the curve through all of them.

    Each is the most central of its neighbours in rank, so that what varies across the curve does not jitter along it.

    Args:
        points: [N, d], N at least 1.
        number: how many places, at least 1.
        closed: as in :func:`order_along_curve`.

    Returns:
        int64 [number], numbers of points; with repetitions where there are fewer points than places.
    """
    count = len(points)
    if count < 2:
        return torch.zeros(number, dtype=torch.int64)
    order = order_along_curve(points, closed)
    places = torch.arange(number) * (count / number) if closed else torch.linspace(0, count - 1, number)
    reach = max(0, math.floor(count / number / 4))
    chosen = []
    for place in places.round().long().tolist():
        around = torch.arange(place - reach, place + reach + 1)
        around = around % count if closed else around[(around >= 0) & (around < count)]
        near = order[around % count]
        middle = points[near].mean(0)
        chosen.append(near[(points[near] - middle).square().sum(1).argmin()])
    return torch.stack(chosen)
