"""Names and shapes of the weights of every part, by its sizes: what state dictionaries hold."""

from __future__ import annotations

from typing import Any

Shapes = dict[str, tuple[int, ...]]


def under(prefix: str, shapes: Shapes) -> Shapes:
    """The same shapes with ``prefix.`` before their names."""
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def affine(outputs: int, inputs: int) -> Shapes:
    """A linear map with its bias."""
    return {"weight": (outputs, inputs), "bias": (outputs,)}


def norm(channels: int) -> Shapes:
    """Weight and bias of a normalisation."""
    return {"weight": (channels,), "bias": (channels,)}


def batch_norm(channels: int) -> Shapes:
    """The same with running statistics."""
    return norm(channels) | {"running_mean": (channels,), "running_var": (channels,)}


def conv(outputs: int, inputs: int, side: int = 3) -> Shapes:
    """A convolution with its bias."""
    return {"weight": (outputs, inputs, side, side), "bias": (outputs,)}


def position(channels: int) -> Shapes:
    """A linear map of (row, column)."""
    return under("map", affine(channels, 2))


def conv_encoder(width: int, channels: int, outputs: int, patch: int = 1, growth: int = 1) -> Shapes:
    """The encoder of the pyramid."""
    shapes: Shapes = {}
    inputs, side, number = 3 * patch**2, width // patch, 0
    while side >= 8:
        own = channels * growth**number
        shapes |= {f"stages.{number}.0.weight": (own, inputs, 3, 3)}
        if number == 0:
            shapes |= under("stages.0.1", position(own))
        shapes |= under(f"stages.{number}.2", batch_norm(own))
        shapes |= {f"stages.{number}.4.weight": (own, own, 3, 3)}
        shapes |= under(f"stages.{number}.5", batch_norm(own))
        inputs, side, number = own, (side + 1) // 2, number + 1
    shapes |= under("head.0", affine(4 * channels, side**2 * inputs)) | under("head.1", norm(4 * channels))
    return shapes | under("head.3", affine(outputs, 4 * channels))


def conv_decoder(width: int, channels: int, latents: int, blocks: int, patch: int = 1, growth: int = 1) -> Shapes:
    """The decoder of the pyramid."""
    side, count = width // patch, 0
    while side >= 8:
        side, count = (side + 1) // 2, count + 1
    inputs = channels * growth**count
    shapes = under("head.0", affine(4 * channels, latents)) | under("head.1", norm(4 * channels))
    shapes |= under("head.3", affine(side**2 * inputs, 4 * channels))
    for number in range(count):
        own = inputs // growth
        if own != inputs:
            shapes |= under(f"stages.{number}.0.0", conv(own, inputs, 1))
        for block in range(1, blocks + 1):
            net = under("0", batch_norm(own)) | under("2", conv(own, own)) | under("3", position(own))
            net |= under("4", batch_norm(own)) | under("6", conv(own, own))
            shapes |= under(f"stages.{number}.{block}.net", net)
        inputs = own
    tail = under("0", batch_norm(channels)) | under("2", conv(channels, channels, 1)) | under("3", position(channels))
    tail |= under("4", batch_norm(channels)) | under("6", conv(3 * patch**2, channels, 1))
    return shapes | under("tail", tail)


def autoencoder(settings: dict[str, Any]) -> Shapes:
    """Encoder and decoder of the autoencoder."""
    width, channels, latents = settings["width"], settings["channels"], settings["latents"]
    patch, growth = settings["patch"], settings["growth"]
    shapes = under("encoder", conv_encoder(width, channels, latents, patch, growth))
    return shapes | under("decoder", conv_decoder(width, channels, latents, settings["blocks"], patch, growth))


def vae(settings: dict[str, Any]) -> Shapes:
    """Encoder and decoder of a VAE."""
    width, c, latents = settings["width"], settings["channels"], settings["latents"]
    if settings["networks"] == "pyramid":
        encoder = under("network", conv_encoder(width, c, 2 * latents)) | {"scale": (latents,)}
        return under("encoder", encoder) | under("decoder", conv_decoder(width, c, latents, blocks=1))
    encoder = under("0", conv(c, 3)) | under("1", position(c)) | under("3", conv(c, c)) | under("5", conv(2 * c, c))
    encoder |= under("7", conv(2 * c, 2 * c)) | under("9", conv(2 * c, 2 * c))
    encoder |= under("12", affine(4 * c, 32 * c)) | under("14", affine(2 * latents, 4 * c))
    decoder = under("0", affine(4 * c, latents)) | under("2", affine(32 * c, 4 * c))
    for name, inputs, outputs, transposed in (("5", 2 * c, 2 * c, 1), ("8", 2 * c, 2 * c, 0), ("11", 2 * c, c, 1),
                                              ("14", c, c, 0), ("17", c, 3, 1)):  # fmt: skip
        decoder |= {f"{name}.weight": (inputs, outputs, 3, 3) if transposed else (outputs, inputs, 3, 3)}
        decoder |= {f"{name}.bias": (outputs,)}
        if name != "17":
            decoder |= under(str(int(name) + 1), position(outputs))
    return under("encoder.network", encoder) | under("decoder", decoder)


def flow(settings: dict[str, Any]) -> Shapes:
    """Every transform of the flow."""
    latents, hidden = settings["latents"], settings["latents"] * settings["flow_hidden"]
    network = under("first", affine(hidden, latents)) | under("middle", affine(hidden, hidden))
    network |= under("last", affine(2 * latents, hidden)) | {"scaling": (latents,)}
    mixing = {"lower": (latents, latents), "upper": (latents, latents), "log_diagonal": (latents,)}
    mixing |= {"permutation": (latents, latents), "sign": (latents,)}
    shapes: Shapes = {}
    number = 0
    for layer in range(settings["flow_layers"]):
        for own in [{"bias": (latents,), "log_scale": (latents,)}] + [mixing] * (layer > 0) + [network]:
            shapes |= under(f"transforms.{number}", own)
            number += 1
    return shapes


def prior(settings: dict[str, Any]) -> Shapes:
    """A transition prior."""
    latents, variables, c = settings["latents"], settings["variables"], settings["hidden"]
    if settings["prior"] == "slow":
        return {}
    if settings["prior"] == "ivae":
        shapes = under("network.0", affine(4 * c, latents + variables)) | under("network.2", affine(4 * c, 4 * c))
        return shapes | under("network.4", affine(2 * latents, 4 * c))
    if settings["prior"] == "autoregressive":
        wide = latents * settings["prior_hidden"]
        shapes = under("context", affine(wide, latents)) | under("target", affine(wide, variables + 1))
        shapes |= under("first", affine(wide, 2 * latents)) | under("middle", affine(wide, wide))
        return shapes | under("last", affine(2 * latents, wide))
    shapes = {"context_weight": (latents, c, latents), "context_bias": (latents, c)}
    own = variables + 2 if settings["imperfect"] else 1
    for name, outputs, inputs in (("own", c, own), ("middle", c, c), ("out", 2, c)):
        shapes |= {f"{name}.weight": (latents, outputs, inputs), f"{name}.bias": (latents, outputs)}
    return shapes if settings["imperfect"] else shapes | {"intervened": (latents, variables, 2)}


def classifier(settings: dict[str, Any]) -> Shapes:
    """The target classifier: running means, network, frozen copy."""
    latents, variables, c = settings["latents"], settings["variables"], settings["hidden"]
    network: Shapes = {}
    inputs, number = 3 * latents, 0
    for layer in range(settings["classifier_layers"]):
        outputs = c if layer else 2 * c
        network |= under(str(number), affine(outputs, inputs)) | under(str(number + 1), norm(outputs))
        inputs, number = outputs, number + 3
    network |= under(str(number), affine(variables, inputs))
    means = {"mean": (variables,), "conditional_mean": (variables, 2, variables)}
    counts = {"count": (), "conditional_count": (variables, 2)}
    return means | counts | under("network", network) | under("frozen", network)


def assignment(settings: dict[str, Any]) -> Shapes:
    """Logits of the assignment."""
    return {"logits": (settings["latents"], settings["variables"] + 1)}


def causal(settings: dict[str, Any]) -> Shapes:
    """What both models hold beside their image networks."""
    shapes = under("flow", flow(settings)) | under("assignment", assignment(settings))
    return shapes | under("prior", prior(settings)) | under("classifier", classifier(settings))


def citris_nf(settings: dict[str, Any]) -> Shapes:
    """CITRIS-NF, with its autoencoder where it sees images."""
    return causal(settings) | (under("autoencoder", autoencoder(settings)) if settings["images"] else {})


def citris_vae(settings: dict[str, Any]) -> Shapes:
    """CITRIS-VAE."""
    return causal(settings) | vae(settings)


def causal_encoder(settings: dict[str, Any]) -> Shapes:
    """The causal encoder."""
    c = settings["channels"]
    shapes = under("encoder", conv_encoder(settings["width"], c, c, settings["patch"]))
    for number, factor in enumerate(settings["factors"]):
        outputs = {"continuous": 1, "angle": 2, "categorical": factor.get("categories")}[factor["kind"]]
        shapes |= under(f"heads.{number}", affine(outputs, c))
    return shapes


def nothing(settings: dict[str, Any]) -> Shapes:
    """A part without weights."""
    return {}
