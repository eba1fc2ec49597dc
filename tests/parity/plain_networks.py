"""The image networks in plain NumPy, float64: every window, every pixel and every layer written out.

Weights come as a dictionary of arrays by the names of the models' state dictionaries. Feature maps are [B, C, H, W].
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Weights = dict[str, Array]

EPSILON = 1e-5  # added to the variance by both normalisations
MOMENTUM = 0.1  # by how much of the way the running statistics of a batch normalisation move


def below(weights: Weights, prefix: str) -> Weights:
    """The weights whose names begin with ``prefix.``, without it."""
    start = prefix + "."
    return {name[len(start) :]: value for name, value in weights.items() if name.startswith(start)}


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))``."""
    return 1 / (1 + np.exp(-x))


def silu(x: Array) -> Array:
    """``x sigmoid(x)``."""
    return x * sigmoid(x)


def linear(weights: Weights, x: Array) -> Array:
    """``W x + b`` of every row: [..., inputs] -> [..., outputs]."""
    return x @ weights["weight"].T + weights["bias"]


def layer_norm(weights: Weights, x: Array) -> Array:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` over the last axis."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON) * weights["weight"] + weights["bias"]


def normalise(weights: Weights, x: Array, mean: Array, variance: Array) -> Array:
    """The same with a given mean and variance [C] of every channel of a feature map."""
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        scaled = (x[:, c] - mean[c]) / np.sqrt(variance[c] + EPSILON)
        out[:, c] = scaled * weights["weight"][c] + weights["bias"][c]
    return out


def batch_norm(weights: Weights, x: Array) -> Array:
    """Batch normalisation in evaluation mode: with the running statistics."""
    return normalise(weights, x, weights["running_mean"], weights["running_var"])


def batch_norm_in_training(weights: Weights, x: Array) -> tuple[Array, Array, Array]:
    """Batch normalisation with the batch's own mean and biased variance, and where the running statistics move.

    The running variance moves towards the unbiased variance of the batch.

    Returns:
        The normalised feature map, running mean [C], running variance [C].
    """
    count = x.size // x.shape[1]
    mean = x.mean(axis=(0, 2, 3))
    variance = np.array([((x[:, c] - mean[c]) ** 2).sum() / count for c in range(x.shape[1])])
    running_mean = (1 - MOMENTUM) * weights["running_mean"] + MOMENTUM * mean
    running_var = (1 - MOMENTUM) * weights["running_var"] + MOMENTUM * variance * count / (count - 1)
    return normalise(weights, x, mean, variance), running_mean, running_var


def convolution(weights: Weights, x: Array, stride: int = 1) -> Array:
    """``out[o, i, j] = b[o] + sum_{c, u, v} W[o, c, u, v] x[c, stride i + u - pad, stride j + v - pad]``.

    Zeros lie around the feature map, one row for a kernel of 3 and none for a kernel of 1.
    """
    kernel = weights["weight"]
    side, pad = kernel.shape[2], kernel.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    size = (x.shape[2] - 1) // stride + 1
    out = np.zeros((len(x), len(kernel), size, size))
    for u in range(side):
        for v in range(side):
            seen = padded[:, :, u : u + stride * size : stride, v : v + stride * size : stride]
            out += np.einsum("oc,bcij->boij", kernel[:, :, u, v], seen)
    if "bias" in weights:
        out += weights["bias"][:, None, None]
    return out


def transposed_convolution(weights: Weights, x: Array) -> Array:
    """Stride 2, kernel 3, padding 1, output padding 1: [B, C, H, W] -> [B, O, 2H, 2W].

    Every pixel adds its multiple of the kernel ``W[c, o, u, v]`` at ``(2 i + u - 1, 2 j + v - 1)``.
    """
    kernel = weights["weight"]
    size = x.shape[2]
    padded = np.zeros((len(x), kernel.shape[1], 2 * size + 1, 2 * size + 1))
    for i in range(size):
        for j in range(size):
            padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.tensordot(x[:, :, i, j], kernel, axes=1)
    return padded[:, :, 1:, 1:] + weights["bias"][:, None, None]


def add_position(weights: Weights, x: Array) -> Array:
    """``x[c, i, j] + a[c] row_i + b[c] column_j + bias[c]``, rows and columns evenly spaced in [-1, 1]."""
    places = np.linspace(-1, 1, x.shape[2])
    weight, bias = weights["map.weight"], weights["map.bias"]
    out = x.copy()
    for i, row in enumerate(places):
        for j, column in enumerate(places):
            out[:, :, i, j] += weight[:, 0] * row + weight[:, 1] * column + bias
    return out


def enlarge(x: Array, wide: int) -> Array:
    """Bilinear upsampling to V pixels, corners aligned: output pixel i lies at ``i (W - 1) / (V - 1)`` of the input."""
    size = x.shape[2]
    places = [i * (size - 1) / (wide - 1) for i in range(wide)]
    out = np.zeros((*x.shape[:2], wide, wide))
    for i, row in enumerate(places):
        for j, column in enumerate(places):
            top, left = min(int(row), size - 2), min(int(column), size - 2)
            down, right = row - top, column - left
            out[:, :, i, j] = (
                (1 - down) * (1 - right) * x[:, :, top, left]
                + (1 - down) * right * x[:, :, top, left + 1]
                + down * (1 - right) * x[:, :, top + 1, left]
                + down * right * x[:, :, top + 1, left + 1]
            )
    return out


def fold(images: Array, patch: int) -> Array:
    """Blocks of p x p pixels as channels: pixel (u, v) of a block of channel c becomes channel ``c p^2 + u p + v``."""
    batch, channels, height, width = images.shape
    out = np.zeros((batch, channels * patch**2, height // patch, width // patch))
    for c in range(channels):
        for u in range(patch):
            for v in range(patch):
                out[:, c * patch**2 + u * patch + v] = images[:, c, u::patch, v::patch]
    return out


def unfold(x: Array, patch: int) -> Array:
    """The inverse of :func:`fold`."""
    batch, channels, height, width = x.shape
    out = np.zeros((batch, channels // patch**2, height * patch, width * patch))
    for c in range(out.shape[1]):
        for u in range(patch):
            for v in range(patch):
                out[:, c, u::patch, v::patch] = x[:, c * patch**2 + u * patch + v]
    return out


def sides(width: int, patch: int) -> list[int]:
    """Sides of a pyramid's grids: half of the one before, rounded up, until one is smaller than 8."""
    found = [width // patch]
    while found[-1] >= 8:
        found.append((found[-1] + 1) // 2)
    return found


def stages(weights: Weights) -> int:
    """How many stages a pyramid has, by the names of its weights."""
    return len({name.split(".")[1] for name in weights if name.startswith("stages.")})


def conv_encoder(weights: Weights, images: Array, patch: int = 1) -> Array:
    """Images [B, 3, W, W] -> features [B, outputs].

    Every stage: conv3x3 stride 2 (in the first + position) -> BatchNorm -> SiLU -> conv3x3 -> BatchNorm -> SiLU; then
    flattened -> Linear -> LayerNorm -> SiLU -> Linear.
    """
    x = fold(images, patch)
    for number in range(stages(weights)):
        stage = below(weights, f"stages.{number}")
        x = convolution(below(stage, "0"), x, stride=2)
        if number == 0:
            x = add_position(below(stage, "1"), x)
        x = silu(batch_norm(below(stage, "2"), x))
        x = silu(batch_norm(below(stage, "5"), convolution(below(stage, "4"), x)))
    head = below(weights, "head")
    x = silu(layer_norm(below(head, "1"), linear(below(head, "0"), x.reshape(len(x), -1))))
    return linear(below(head, "3"), x)


def residual_block(weights: Weights, x: Array) -> Array:
    """``x + [BatchNorm, SiLU, conv3x3, position, BatchNorm, SiLU, conv3x3](x)``."""
    y = convolution(below(weights, "2"), silu(batch_norm(below(weights, "0"), x)))
    y = add_position(below(weights, "3"), y)
    y = convolution(below(weights, "6"), silu(batch_norm(below(weights, "4"), y)))
    return x + y


def conv_decoder(weights: Weights, latents: Array, blocks: int, patch: int = 1, width: int = 32) -> Array:
    """Latents [B, M] -> images [B, 3, W, W].

    Linear -> LayerNorm -> SiLU -> Linear -> the smallest grid; every stage (a conv1x1 first where channels change)
    bilinear to the next grid -> residual blocks; BatchNorm -> SiLU -> conv1x1 -> position -> BatchNorm -> SiLU ->
    conv1x1 -> tanh.
    """
    head = below(weights, "head")
    x = silu(layer_norm(below(head, "1"), linear(below(head, "0"), latents)))
    *larger, first = sides(width, patch)
    x = linear(below(head, "3"), x).reshape(len(latents), -1, first, first)
    for number in range(stages(weights)):
        stage = below(weights, f"stages.{number}")
        if "0.0.weight" in stage:
            x = convolution(below(stage, "0.0"), x)
        x = enlarge(x, larger[-1 - number])
        for block in range(1, blocks + 1):
            x = residual_block(below(stage, f"{block}.net"), x)
    tail = below(weights, "tail")
    x = add_position(below(tail, "3"), convolution(below(tail, "2"), silu(batch_norm(below(tail, "0"), x))))
    x = convolution(below(tail, "6"), silu(batch_norm(below(tail, "4"), x)))
    return np.tanh(unfold(x, patch))


def small_encoder(weights: Weights, images: Array) -> Array:
    """Images [B, 3, 32, 32] -> [B, outputs]: five convolutions, of which every other halves; two linear maps."""
    x = silu(add_position(below(weights, "1"), convolution(below(weights, "0"), images, stride=2)))
    for name, stride in (("3", 1), ("5", 2), ("7", 1), ("9", 2)):
        x = silu(convolution(below(weights, name), x, stride))
    x = silu(linear(below(weights, "12"), x.reshape(len(x), -1)))
    return linear(below(weights, "14"), x)


def small_decoder(weights: Weights, latents: Array) -> Array:
    """Latents [B, M] -> images [B, 3, 32, 32]: two linear maps; transposed convolutions and convolutions by turns."""
    x = silu(linear(below(weights, "0"), latents))
    x = silu(linear(below(weights, "2"), x)).reshape(len(latents), -1, 4, 4)
    x = silu(add_position(below(weights, "6"), transposed_convolution(below(weights, "5"), x)))
    x = silu(add_position(below(weights, "9"), convolution(below(weights, "8"), x)))
    x = silu(add_position(below(weights, "12"), transposed_convolution(below(weights, "11"), x)))
    x = silu(add_position(below(weights, "15"), convolution(below(weights, "14"), x)))
    return np.tanh(transposed_convolution(below(weights, "17"), x))


def gaussian_encoder(weights: Weights, images: Array, networks: str) -> tuple[Array, Array]:
    """Images -> mean and log-std [B, M]; log-std ``s tanh(. / s)``, s = 4 (small) or ``log(1 + exp(scale))``."""
    network = below(weights, "network")
    if networks == "small":
        out, bound = small_encoder(network, images), 4.0
    else:
        out, bound = conv_encoder(network, images), np.log(1 + np.exp(weights["scale"]))
    latents = out.shape[1] // 2
    return out[:, :latents], bound * np.tanh(out[:, latents:] / bound)


def vae_decoder(weights: Weights, latents: Array, networks: str) -> Array:
    """Latents [B, M] -> images; the pyramid has one residual block a stage."""
    return small_decoder(weights, latents) if networks == "small" else conv_decoder(weights, latents, blocks=1)
