"""Every part of the model against the published implementation's numbers: |a - b| <= 1e-4 + 1e-4 |b|, float32."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from citris_cli.artifacts import published
from citris_cli.core.assignment import CausalAssignment
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import (
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CausalEncoderConfig,
    CitrisNFConfig,
    CitrisPriorConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
)
from citris_cli.core.factors import distances, normalised
from citris_cli.core.flow import NormalizingFlow
from citris_cli.core.gaussians import gaussian_kl
from citris_cli.core.priors import Given, ImperfectMLPTransitionPrior, TransitionPrior, build_prior
from citris_cli.core.target_classifier import TargetClassifier
from citris_cli.core.vae_networks import GaussianEncoder, vae_networks


class Numbers:
    """One parity file: sizes, weights under their published names, inputs and outputs."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "pt") as file:
            self.tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
            self.sizes = {key: json.loads(value) for key, value in file.metadata().items()}

    def weights(self, prefix: str = "") -> dict[str, Tensor]:
        return published.select(self.tensors, "weights/" + prefix)

    def __getitem__(self, key: str) -> Tensor:
        return self.tensors[key]


def agree(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-4, atol=1e-4)


def published_assignment(logits: Tensor) -> CausalAssignment:
    assignment = CausalAssignment(logits.shape[0], logits.shape[1] - 1)
    assignment.load_state_dict({"logits": logits})
    return assignment


@pytest.mark.parametrize("width", [32, 64])
def test_autoencoder(parity: Path, width: int) -> None:
    numbers = Numbers(parity / f"autoencoder_{width}.safetensors")
    config = AutoencoderConfig(width, numbers.sizes["num_latents"], numbers.sizes["c_hid"])
    model = Autoencoder(config).eval()
    missing, unexpected = model.load_state_dict(published.autoencoder_weights(numbers.weights()), strict=False)
    assert not unexpected
    assert not missing
    agree(model.encode(numbers["in/x"]), numbers["out/z"])
    agree(model.decode(numbers["out/z"]), numbers["out/x_rec"])


def test_flow(parity: Path) -> None:
    numbers = Numbers(parity / "flow.safetensors")
    flow = NormalizingFlow(numbers.sizes["num_vars"], numbers.sizes["num_flows"], numbers.sizes["hidden_per_var"])
    flow.load_state_dict(published.flow_weights(numbers.weights()))
    z, ldj = flow(numbers["in/x"])
    agree(z, numbers["out/z"])
    agree(ldj, numbers["out/ldj"])
    check_inverse(flow, numbers["out/z"], numbers["out/x_reversed"])


def check_inverse(flow: NormalizingFlow, z: Tensor, theirs: Tensor) -> None:
    """The published inverse, where it is more than its own rounding.

    The random weights of this file stretch some of its points so far (|z| up to 173) that changing z by one or two
    units in the last place of float32 moves the exact inverse by more than the tolerance: there the published value is
    its own rounding, up to 3e-3 away from the exact inverse. Where the inverse is settled to the tolerance, ours must
    agree, but for the published value's own distance from the exact one (up to 1.4e-4, by the steps in between);
    elsewhere ours must be as near to the exact inverse as the published one is, up to a factor of 2.
    """
    ours = flow.inverse(z)
    double = copy.deepcopy(flow).double()
    exact = double.inverse(z.double())
    generator = torch.Generator().manual_seed(0)
    moved = torch.zeros_like(exact)
    for _ in range(8):
        sign = torch.randint(0, 2, z.shape, generator=generator) * 2 - 1
        moved = torch.maximum(moved, (double.inverse(z.double() * (1 + 1.2e-7 * sign)) - exact).abs())
    settled = (moved < 0.5 * (1e-4 + 1e-4 * theirs.abs())).all(dim=1)
    assert settled.float().mean() > 0.6
    allowed = 1e-4 + 1e-4 * theirs.abs() + (theirs - exact).abs()
    assert ((ours - theirs).abs() <= allowed)[settled].all()
    assert (ours - exact).abs().max() < 2 * (theirs - exact).abs().max()


def published_prior(numbers: Numbers) -> tuple[TransitionPrior, CausalAssignment]:
    sizes = numbers.sizes
    config: CitrisPriorConfig = MLPPriorConfig(sizes["imperfect_interventions"], sizes["lambda_reg"])
    if sizes["autoregressive_model"]:
        config = AutoregressivePriorConfig(
            sizes["imperfect_interventions"],
            sizes["lambda_reg"],
            autoregressive_hidden=sizes["context_hidden_autoregressive"],
        )
    prior = build_prior(config, sizes["num_latents"], sizes["num_blocks"], sizes["c_hid"])
    prior.load_state_dict(published.prior_weights(numbers.weights()))
    return prior, published_assignment(numbers["weights/target_params"])


@pytest.mark.parametrize("form", ["mlp_perfect", "mlp_imperfect", "autoregressive_perfect", "autoregressive_imperfect"])
def test_transition_prior(parity: Path, form: str) -> None:
    numbers = Numbers(parity / f"prior_{form}.safetensors")
    prior, assignment = published_prior(numbers)
    probabilities = assignment.probabilities()
    agree(probabilities, numbers["out/target_probs"])
    targets = numbers["in/intervention_targets"]
    psi = assignment.sample(len(targets), torch.Generator().manual_seed(0))
    given = Given(targets, probabilities, psi)
    agree(prior.eval().nll(numbers["in/z_t"], numbers["in/z_t1"], given).value, numbers["out/nll_eval"])
    agree(prior.train().nll(numbers["in/z_t"], numbers["in/z_t1"], given).value, numbers["out/nll_train"])
    posterior = numbers["in/kl_mean"], numbers["in/kl_logstd"]
    samples = numbers["in/kl_z_t"], numbers["in/kl_sample"]
    kl = prior.eval().kl(*posterior, *samples, given).value
    if form == "mlp_imperfect":
        kl = with_lambda_on_the_last_latent(prior, assignment, kl, numbers)
    agree(kl, numbers["out/kld"])


def with_lambda_on_the_last_latent(
    prior: TransitionPrior, assignment: CausalAssignment, kl: Tensor, numbers: Numbers
) -> Tensor:
    """The divergence of imperfect interventions as it was published.

    There 1 - lambda weighs whatever belongs to the last *latent*, not what belongs to the last *variable*, psi(0). What
    a latent counts would depend on its number; ours weighs psi(0), as every other form does, there and here. In this
    file latents 5 and 11 (the last) are psi(0)'s: the published value lacks lambda times latent 5's.
    """
    assert isinstance(prior, ImperfectMLPTransitionPrior)
    targets = numbers["in/intervention_targets"]
    before = numbers["in/kl_z_t"].unsqueeze(1)
    mean, log_std = prior.gaussians(before, targets, assignment.one_hot()[None, None])
    each = gaussian_kl(numbers["in/kl_mean"], numbers["in/kl_logstd"], mean[:, 0], log_std[:, 0])  # [B, M]
    in_psi_0 = assignment.hard() == numbers.sizes["num_blocks"]
    return kl + prior.config.regulariser * (each[:, in_psi_0].sum(-1) - each[:, -1])


def published_vae_networks(numbers: Numbers, networks: str) -> tuple[GaussianEncoder, nn.Module]:
    width, channels, latents = (numbers.sizes[name] for name in ("img_width", "c_hid", "num_latents"))
    encoder, decoder = vae_networks(networks, width, channels, latents, decoder_blocks=1, patch=1)
    encoder.load_state_dict(published.vae_encoder_weights(numbers.weights("encoder.")))
    decoder.load_state_dict(published.vae_decoder_weights(numbers.weights("decoder.")))
    return encoder.eval(), decoder.eval()


@pytest.mark.parametrize(("name", "networks"), [("vae_64", "pyramid"), ("vae_32_simple", "small")])
def test_vae_networks(parity: Path, name: str, networks: str) -> None:
    numbers = Numbers(parity / f"{name}.safetensors")
    encoder, decoder = published_vae_networks(numbers, networks)
    mean, log_std = encoder(numbers["in/x"])
    agree(mean, numbers["out/mean"])
    agree(log_std, numbers["out/logstd"])
    agree(decoder(numbers["out/mean"]), numbers["out/x_rec"])


@pytest.mark.parametrize("conditional", [False, True])
def test_target_classifier(parity: Path, conditional: bool) -> None:
    numbers = Numbers(parity / f"target_classifier{'_conditional' if conditional else ''}.safetensors")
    latents, variables = numbers.sizes["num_latents"], numbers.sizes["num_blocks"]
    classifier = TargetClassifier(
        latents,
        variables,
        numbers.sizes["c_hid"],
        numbers.sizes["num_layers"],
        conditional=conditional,
    )
    classifier.load_state_dict(published.classifier_weights(numbers.weights()))
    assignment = published_assignment(numbers["weights/prior.target_params"])
    sample = assignment.sample(len(numbers["in/z"]), torch.Generator().manual_seed(0))
    loss_model, loss_z = classifier.eval()(numbers["in/z"], numbers["in/intervention_targets"], sample)
    agree(loss_model, numbers["out/loss_model"])
    agree(loss_z, numbers["out/loss_z"])


def test_published_autoencoder(parity: Path) -> None:
    checkpoint = torch.load(parity / "ae.ckpt", weights_only=True, map_location="cpu")
    numbers = Numbers(parity / "citris_nf_expected.safetensors")  # it is the autoencoder of that model
    settings = checkpoint["hyper_parameters"]
    config = AutoencoderConfig(settings["img_width"], settings["num_latents"], settings["c_hid"])
    model = Autoencoder(config).eval()
    model.load_state_dict(published.autoencoder_weights(checkpoint["state_dict"]))
    agree(model.encode(numbers["in/images"].flatten(0, 1)), numbers["out/encoding"])


def shared_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Our configuration of what both models share, from a checkpoint's settings."""
    own = settings["imperfect_interventions"], settings["lambda_reg"]
    return {
        "latents": settings["num_latents"],
        "variables": settings["num_causal_vars"],
        "hidden": settings["c_hid"],
        "prior": AutoregressivePriorConfig(*own) if settings["autoregressive_prior"] else MLPPriorConfig(*own),
        "classifier_layers": settings["classifier_num_layers"],
        "classifier_momentum": settings["classifier_momentum"],
        "classifier_weight": settings["beta_classifier"],
        "conditional_targets": settings["classifier_use_conditional_targets"],
    }


@pytest.mark.parametrize("name", ["citris_nf", "citris_nf_autoregressive"])
def test_whole_citris_nf(parity: Path, name: str) -> None:
    checkpoint = torch.load(parity / f"{name}.ckpt", weights_only=True, map_location="cpu")
    numbers = Numbers(parity / f"{name}_expected.safetensors")
    settings = checkpoint["hyper_parameters"]
    config = CitrisNFConfig(
        **shared_settings(settings),
        flow_layers=settings["num_flows"],
        flow_hidden=settings["hidden_per_var"],
        samples=settings["num_samples"],
        noise=settings["noise_level"],
    )
    model = CitrisNF(config, Autoencoder(AutoencoderConfig(64, config.latents, channels=16))).eval()
    model.load_state_dict(published.citris_nf_weights(checkpoint["state_dict"]))
    agree(model.autoencoder.encode(numbers["in/images"].flatten(0, 1)), numbers["out/encoding"])
    agree_as_a_whole(model, numbers)


@pytest.mark.parametrize("name", ["citris_vae", "citris_vae_flow_prior"])
def test_whole_citris_vae(parity: Path, name: str) -> None:
    checkpoint = torch.load(parity / f"{name}.ckpt", weights_only=True, map_location="cpu")
    settings = checkpoint["hyper_parameters"]
    config = CitrisVAEConfig(
        **shared_settings(settings),
        flow_layers=4 if settings["use_flow_prior"] else 0,
        width=settings["img_width"],
        channels=settings["c_hid"],
        decoder_blocks=settings["decoder_num_blocks"],
        kl_weight=settings["beta_t1"],
    )
    model = CitrisVAE(config).eval()
    model.load_state_dict(published.citris_vae_weights(checkpoint["state_dict"]))
    agree_as_a_whole(model, Numbers(parity / f"{name}_expected.safetensors"))


def agree_as_a_whole(model: CausalLatentsModel, numbers: Numbers) -> None:
    """Encoding, assignment and recombination of pairs of images."""
    z = model.encode(numbers["in/images"].flatten(0, 1))
    agree(z, numbers["out/z"])
    assert model.assignment.hard().tolist() == numbers["out/assignment"].tolist()
    z_1, z_2 = z.unflatten(0, (-1, 2)).unbind(1)
    agree(model.decode(model.combine(z_1, z_2, numbers["in/mask"])), numbers["out/triplet_prediction"])


def published_causal_encoder(checkpoint: dict, weights: dict[str, Tensor]) -> CausalEncoder:
    settings = checkpoint["hyper_parameters"]
    info = settings["causal_var_info"]
    config = CausalEncoderConfig(width=settings["img_width"], channels=settings["c_hid"])
    model = CausalEncoder(config, published.causal_encoder_factors(info)).eval()
    model.load_state_dict(published.causal_encoder_weights(weights, info))
    return model


def test_causal_encoder(parity: Path) -> None:
    # The expected numbers belong to the causal encoder that is kept inside citris_vae_flow_prior.ckpt: it has the sizes
    # and factors of causal_encoder.ckpt, but other random weights, and what they give is unlike the numbers.
    checkpoint = torch.load(parity / "causal_encoder.ckpt", weights_only=True, map_location="cpu")
    around = torch.load(parity / "citris_vae_flow_prior.ckpt", weights_only=True, map_location="cpu")
    numbers = Numbers(parity / "causal_encoder_expected.safetensors")
    model = published_causal_encoder(checkpoint, published.select(around["state_dict"], "causal_encoder."))
    assert [(f.name, f.kind, f.high, f.categories) for f in model.factors[::3]] == [
        ("pos_x", "continuous", 2.0, None), ("obj_s", "categorical", None, 7),
    ]  # fmt: skip
    predicted = model.predict(numbers["in/images"])
    agree(predicted, numbers["out/predicted"])
    distance = distances(predicted, numbers["in/labels"], model.factors)
    scaled = normalised(distance, model.factors)
    for index, name in enumerate(numbers.sizes["var_info"]):
        agree(distance[:, index], numbers[f"out/distance.{name}"])
        agree(scaled[:, index], numbers[f"out/normalised_distance.{name}"])


def test_published_causal_encoder_is_read(parity: Path) -> None:
    checkpoint = torch.load(parity / "causal_encoder.ckpt", weights_only=True, map_location="cpu")
    weights = checkpoint["state_dict"]
    model = published_causal_encoder(checkpoint, weights)
    assert torch.equal(model.heads[0].weight, weights["pred_layers.pos-x.0.weight"])
    assert torch.equal(model.heads[3].bias, weights["pred_layers.obj-shape.bias"])
    assert torch.equal(model.encoder.head[3].bias, weights["encoder.net.8.bias"])
