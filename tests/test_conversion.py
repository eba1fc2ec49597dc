"""Published models in ours: what is read off weights and hyperparameters, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from citris_cli.artifacts.checkpoints import Checkpoint
from citris_cli.artifacts.published.settings import kind_of
from citris_cli.conversion import described, model_file_of, part_of, published_of
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import PATCHES, WIDTHS, AutoencoderConfig, CausalEncoderConfig, CitrisNFConfig
from citris_cli.data.variables import CAUSAL3DIDENT, Variable, Variables
from citris_cli.errors import InputError
from citris_cli.kinds import KINDS, flat, kind_of_model
from citris_cli.loading import LoadedModel
from tests.published_models import CONFIGS, FACTORS, VARIABLES, small_model

HERE = Path("m.ckpt")


def checkpoint(name: str) -> Checkpoint:
    """A checkpoint that can be changed, as the published code would write it: without our variables."""
    weights, hyper_parameters = published_of(small_model(name))
    return Checkpoint({key: value.clone() for key, value in weights.items()}, hyper_parameters, {})


def refusal(changed: Checkpoint, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        model_file_of(changed, HERE, **options)
    return str(caught.value)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_kind_is_told_by_its_weights(name: str) -> None:
    loaded = small_model(name)
    assert kind_of(published_of(loaded)[0]) == loaded.kind
    assert loaded.kind in KINDS


# Four inputs of an encoder are RGB and one more channel, or grey in patches of 2x2 pixels: only the width tells.
@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"grey autoencoder with patch 2"}))
def test_without_hyperparameters_the_weights_tell_the_sizes(name: str) -> None:
    found = checkpoint(name)
    told = {key: found.hyper_parameters[key] for key in ("imperfect_interventions",) if key in found.hyper_parameters}
    if "classifier_use_conditional_targets" in found.hyper_parameters:
        told["classifier_use_conditional_targets"] = found.hyper_parameters["classifier_use_conditional_targets"]
    _, with_all = described(found, HERE)
    kind, alone = described(Checkpoint(found.weights, told), HERE)
    not_told = {"noise", "latent_penalty", "norm_penalty", "samples", "kl_weight", "classifier_momentum"}
    not_told |= {"classifier_weight", "regulariser", "temperature"}
    for part in with_all:
        for field, value in flat(with_all[part]).items():
            assert field in not_told or flat(alone[part])[field] == value, field
    assert kind == kind_of(found.weights)


@pytest.mark.parametrize(("width", "patch"), list(zip(WIDTHS, itertools.cycle(PATCHES), strict=False)))
def test_every_width_comes_back(width: int, patch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    config = AutoencoderConfig(width, 4, 2, decoder_blocks=1, patch=patch, growth=2)
    autoencoder = Autoencoder(config, generator)
    encoder = CausalEncoder(CausalEncoderConfig(width, 2, patch), FACTORS, generator)
    flow = CitrisNF(CitrisNFConfig(latents=4, variables=2, hidden=2, flow_layers=1), autoencoder, generator)
    for network, of in ((autoencoder, None), (encoder, FACTORS), (flow, VARIABLES)):
        loaded = LoadedModel(kind_of_model(network).name, network.eval(), of, HERE, {})
        back = model_file_of(Checkpoint(*published_of(loaded)), HERE)
        part = "causal_encoder" if network is encoder else "autoencoder"
        sizes = {name: back.config[part][name] for name in ("width", "channels", "patch")}
        assert sizes == {"width": width, "channels": 2, "patch": patch}
        own = network.state_dict()
        images = {key: value for key, value in back.tensors.items() if key.startswith(("encoder", "decoder", part))}
        assert all(torch.equal(value, own[key]) for key, value in images.items())
        assert len(images) >= 20
    inside = part_of(Checkpoint(*published_of(loaded)), "autoencoder", HERE)
    assert model_file_of(inside, HERE).config["autoencoder"]["width"] == width


def test_weights_that_fit_two_widths_need_the_hyperparameter() -> None:
    network = Autoencoder(AutoencoderConfig(208, 4, 2, decoder_blocks=1), torch.Generator().manual_seed(0))
    weights, hyper_parameters = published_of(LoadedModel("autoencoder", network, None, HERE, {}))
    assert described(Checkpoint(weights, hyper_parameters), HERE)[1]["autoencoder"]["width"] == 208
    del hyper_parameters["img_width"]
    says = "its weights fit frames of 208 and of 224 pixels; it needs the hyperparameter img_width to tell which"
    assert refusal(Checkpoint(weights, hyper_parameters)) == f"m.ckpt: cannot be imported: {says}"
    hyper_parameters["img_width"] = 240
    assert "img_width is 240 and its weights say 208" in refusal(Checkpoint(weights, hyper_parameters))


@pytest.mark.parametrize("weights", [{}, {"net.weight": torch.ones(2)}, {"prior_t1.target_params": torch.ones(2, 2)}])
def test_weights_of_no_known_model(weights: dict[str, Tensor]) -> None:
    says = "cannot be imported: its weights (parts: "
    assert says in refusal(Checkpoint(weights, {}))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_missing_weight_is_named(name: str) -> None:
    found = checkpoint(name)
    for lost in [key for key in found.weights if key.endswith(("0.bias", "target_params", "avg_dist", ".log_s"))]:
        rest = {key: value for key, value in found.weights.items() if key != lost}
        sentence = refusal(Checkpoint(rest, found.hyper_parameters))
        assert sentence == f"m.ckpt: cannot be imported: the weight {lost} is missing; get the file again", lost


def _changed(name: str, key: str, change: Callable[[Tensor], Tensor]) -> Checkpoint:
    found = checkpoint(name)
    found.weights[key] = change(found.weights[key])
    return found


@pytest.mark.parametrize(
    ("name", "key", "change", "says"),
    [
        ("nf", "flow.flows.3.l", lambda w: w[:3], r"the weight flow.flows.3.l has the shape \[3, 4\], and in this"),
        ("nf", "prior_t1.target_params", lambda w: w[:, :2], "num_causal_vars is 2 and its weights say 1"),
        ("nf", "prior_t1.target_params", lambda w: w[0], "needs 2 dimensions"),
        ("nf", "prior_t1.target_params", lambda w: w[:, :1], "has 1 column; it needs one for each of 1 to 1000"),
        ("nf", "prior_t1.target_params", lambda w: w[:, :1].repeat(1, 2000), "has 2,000 columns"),
        ("nf", "prior_t1.inp_layer.weight", lambda w: w.repeat(1, 1, 2), "imperfect_interventions is False"),
        ("nf autoregressive", "prior_t1.prior_model.init_layer.linear.weight", lambda w: w[:0], "shape"),
        ("nf", "flow.flows.1.net.0.mask", lambda w: 1 - w, "its constant flow.flows.1.net.0.mask is another"),
        ("nf", "flow.flows.0.bias", lambda w: w.long(), "the weight flow.flows.0.bias holds int64 numbers"),
        ("nf", "flow.flows.0.bias", lambda w: w.to(torch.complex64), "holds complex64 numbers"),
        ("nf", "flow.flows.0.bias", lambda w: w * torch.nan, "flow.flows.0.bias holds NaN or infinite numbers"),
        ("autoencoder", "encoder.net.0.2.running_var", lambda w: w / 0, "running_var holds NaN or infinite numbers"),
        ("autoencoder", "encoder.net.0.0.weight", lambda w: w[:, :1], "decoder.net.*has the shape"),
        ("autoencoder", "encoder.net.0.0.weight", lambda w: w.repeat(1, 3, 1, 1), "reads 9 channels"),
        ("autoencoder", "encoder.net.0.0.weight", lambda w: w[0], "needs 4 dimensions"),
        ("autoencoder", "encoder.net.0.0.weight", lambda w: w[:3], "c_hid is 5|c_hid is 4 and its weights say 3"),
        ("autoencoder", "decoder.linear.0.weight", lambda w: w[:, :3], "num_latents is 5 and its weights say 3"),
        ("vae", "encoder.scale_factor", lambda w: w[:2], r"encoder.scale_factor has the shape \[2\]"),
        ("vae", "encoder.net.4.weight", lambda w: w[:, :7], "encoder.net.4.weight 7 columns"),
    ],
)  # fmt: skip
def test_a_weight_that_does_not_fit(name: str, key: str, change: Callable[[Tensor], Tensor], says: str) -> None:
    with pytest.raises(InputError, match=says):
        model_file_of(_changed(name, key, change), HERE)


def test_a_weight_that_is_not_known() -> None:
    found = checkpoint("nf")
    found.weights["prior_t1.graph.weight"] = torch.ones(2)
    found.weights["prior_t1.graph.bias"] = torch.ones(2)
    says = "a CITRIS-NF of these sizes has no weight prior_t1.graph.bias (and 1 more)"
    assert refusal(found) == f"m.ckpt: cannot be imported: {says}"


def test_names_of_a_file_cannot_act_on_the_terminal() -> None:
    found = checkpoint("nf")
    found.weights["\x1b[2J\n" + "x" * 10_000] = torch.ones(2)
    sentence = refusal(found)
    assert sentence.isprintable()
    assert len(sentence) < 300


def test_a_prior_that_is_not_known() -> None:
    found = checkpoint("nf")
    weights = {key.replace("prior_t1.inp_layer", "prior_t1.transformer"): value for key, value in found.weights.items()}
    says = "its transition prior (prior_t1) is of no form that citris knows: mlp, autoregressive"
    assert refusal(Checkpoint(weights, found.hyper_parameters)) == f"m.ckpt: cannot be imported: {says}"


def test_more_stages_than_any_frame_has() -> None:
    found = checkpoint("autoencoder")
    for stage in range(40):
        found.weights[f"encoder.net.{stage}.0.weight"] = found.weights["encoder.net.0.0.weight"]
    assert "encoder.net.41.weight is missing" in refusal(found)
    found.weights["encoder.net.41.weight"] = torch.ones(4, 64)
    says = "its encoder has 40 stages and encoder.net.41.weight 64 columns; citris has none such for frames of a "
    assert says + "multiple of 16 from 32 to 256 pixels" in refusal(found)


def test_numbers_of_layers_are_not_believed() -> None:
    found = checkpoint("nf")
    found.weights["flow.flows.1000000000000.transformation.scaling"] = torch.ones(4)
    assert "num_flows is 2 and its weights say 3" in refusal(found)
    del found.hyper_parameters["num_flows"]
    assert "is missing" in refusal(found)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("num_latents", 5, "hyperparameter num_latents is 5 and its weights say 4"),
        ("num_latents", torch.tensor(4), "hyperparameter num_latents is of type Tensor"),
        ("num_causal_vars", "2", "hyperparameter num_causal_vars is '2'"),
        ("autoregressive_prior", True, "hyperparameter autoregressive_prior is True and its weights say False"),
        ("imperfect_interventions", True, "hyperparameter imperfect_interventions is True"),
        ("img_width", 64, "hyperparameter img_width is 64 and its weights say 32"),
        ("c_hid", 7, "hyperparameter c_hid is 7 and its weights say 6"),
        ("lambda_reg", -1.0, "hyperparameter lambda_reg is -1.0; it must be a number of at least 0"),
        ("lambda_reg", float("nan"), "hyperparameter lambda_reg is nan; it must be a number of at least 0"),
        ("noise_level", True, "hyperparameter noise_level is True; it must be a number of at least 0"),
        ("beta_classifier", "x" * 1000, "hyperparameter beta_classifier is 'xxx"),
        ("num_samples", 0, "hyperparameter num_samples is 0; it must be a whole number of at least 1"),
        ("num_samples", 2.5, "hyperparameter num_samples is 2.5; it must be a whole number of at least 1"),
        ("classifier_use_conditional_targets", 1, "is 1; it must be true or false"),
        ("classifier_use_conditional_targets", False, "has no weight intv_classifier.avg_cond_dist"),
        ("act_fn", "relu", "its act_fn is 'relu', and citris has networks with silu only"),
        ("flow_act_fn", None, "its flow_act_fn is of type NoneType"),
        ("var_names", ["a"], "its var_names are 1 for 2 variables; name these with --vars"),
        ("var_names", [1, 2], "its var_names are not a list of names; name the 2 variables with --vars"),
        ("var_names", ["a", "a"], "two variables are called 'a'"),
    ],
)
def test_hyperparameters_that_do_not_fit(name: str, value: Any, says: str) -> None:
    found = checkpoint("nf")
    found.hyper_parameters[name] = value
    sentence = refusal(found)
    assert says in sentence
    assert len(sentence) < 300


def test_half_precision_becomes_single() -> None:
    found = checkpoint("nf")
    halves = {key: value.half() if value.is_floating_point() else value for key, value in found.weights.items()}
    tensors = model_file_of(Checkpoint(halves, found.hyper_parameters), HERE).tensors
    assert {value.dtype for value in tensors.values() if value.is_floating_point()} == {torch.float32}


def test_variables_as_named_or_of_the_file_or_known() -> None:
    found = checkpoint("nf")
    theirs = model_file_of(found, HERE).variables
    assert [variable["name"] for variable in theirs or ()] == ["x", "theta"]
    given = model_file_of(found, HERE, named="hue-back,shape:categorical").variables
    assert [(v["name"], v["kind"]) for v in given or ()] == [("hue_b", "angle"), ("shape", "categorical")]
    found.hyper_parameters["var_names"] = ["rot-spot", "obj-shape"]
    known = model_file_of(found, HERE).variables
    assert [(v["name"], v["kind"]) for v in known or ()] == [("rot_s", "angle"), ("obj_s", "categorical")]
    del found.hyper_parameters["var_names"]
    numbered = model_file_of(found, HERE).variables
    assert [variable["name"] for variable in numbered or ()] == ["var_0", "var_1"]
    assert "--vars names 1 variable for 2 columns" in refusal(found, named="x")


def test_twelve_variables_of_64_pixels_are_causal3didents() -> None:
    import dataclasses

    from citris_cli.core.citris_vae import CitrisVAE

    config = dataclasses.replace(CONFIGS["vae"], width=64, variables=12)
    network = CitrisVAE(config, torch.Generator().manual_seed(0)).eval()
    weights, hyper_parameters = published_of(LoadedModel("citris_vae", network, CAUSAL3DIDENT, HERE, {}))
    del hyper_parameters["var_names"]
    assert model_file_of(Checkpoint(weights, hyper_parameters), HERE).variables == CAUSAL3DIDENT.to_json()


def test_an_autoencoder_from_outside() -> None:
    found = checkpoint("nf")
    whole = model_file_of(found, HERE)
    weights = {key: value for key, value in found.weights.items() if not key.startswith("autoencoder.")}
    without = Checkpoint(weights, {**found.hyper_parameters, "autoencoder_checkpoint": "models/ae.ckpt"})
    says = "m.ckpt: does not include an autoencoder (it was trained on models/ae.ckpt); name it with --ae FILE"
    assert refusal(without) == says
    outside = small_model("nf").network.autoencoder
    with_it = model_file_of(without, HERE, autoencoder=outside)
    assert with_it.config == whole.config
    assert all(torch.equal(value, whole.tensors[key]) for key, value in with_it.tensors.items())
    assert "needs no autoencoder from outside; leave --ae out" in refusal(found, autoencoder=outside)
    assert "has 5 latents and the flow of m.ckpt 4" in refusal(without, autoencoder=small_model("autoencoder").network)
    without.hyper_parameters["img_width"] = 64
    assert "for frames of 32 pixels and m.ckpt for 64" in refusal(without, autoencoder=outside)


def test_models_that_are_kept_inside() -> None:
    found = checkpoint("nf")
    inner, factors = checkpoint("causal encoder"), published_of(small_model("causal encoder"))[1]["causal_var_info"]
    found.weights.update({f"causal_encoder.{key}": value for key, value in inner.weights.items()})
    encoder = model_file_of(part_of(found, "causal_encoder", HERE), HERE)
    assert encoder.kind == "causal_encoder"
    assert [(v["name"], v["kind"], v["categories"]) for v in encoder.variables or ()] == [
        ("x", "continuous", None), ("theta", "angle", None), ("shape", "categorical", 3),
    ]  # fmt: skip
    assert list(factors) == ["x", "theta", "shape"]
    own = small_model("causal encoder").network.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in encoder.tensors.items())
    autoencoder = model_file_of(part_of(found, "autoencoder", HERE), HERE)
    assert (autoencoder.kind, autoencoder.config["autoencoder"]["noise"]) == ("autoencoder", 0.25)
    assert "causal_encoder" not in "".join(model_file_of(found, HERE).tensors)
    with pytest.raises(InputError, match=r"m\.ckpt: has no autoencoder inside; leave --part out"):
        part_of(checkpoint("vae"), "autoencoder", HERE)


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"x": "continuous_2", "theta": "angle", "shape": "categ_4"}, "pred_layers.shape.weight has the shape [3, 4]"),
        ({"x": "continuous_2", "theta": "angle"}, "names the factors x, theta and it has heads for x, theta, shape"),
        ({"x": "continuous_5", "theta": "angle", "shape": "categ_3"}, "factor x is of the kind continuous_5"),
        ({"x": "spiral", "theta": "angle", "shape": "categ_3"}, "factor x is of the kind spiral"),
        ({"x": "angle", "theta": "angle", "shape": "categ_3"}, "the weight pred_layers.x.bias"),
        (["x", "theta", "shape"], "causal_var_info is malformed"),
        ({"x": 2, "theta": "angle", "shape": "categ_3"}, "causal_var_info is malformed"),
    ],
)
def test_factors_that_do_not_fit(info: Any, says: str) -> None:
    found = checkpoint("causal encoder")
    found.hyper_parameters["causal_var_info"] = info
    assert says in refusal(found)


def test_ranges_of_factors_come_back_from_our_own_files_alone() -> None:
    found = checkpoint("causal encoder")
    variables = small_model("causal encoder").variables
    assert variables is not None
    published = model_file_of(found, HERE).variables or []
    assert (published[0]["low"], published[0]["high"]) == (-2.0, 2.0)
    ours = model_file_of(Checkpoint(found.weights, found.hyper_parameters, {}, variables.to_json()), HERE)
    assert ours.variables == variables.to_json()
    others = Variables([Variable("x"), Variable("theta")]).to_json()
    assert model_file_of(Checkpoint(found.weights, found.hyper_parameters, {}, others), HERE).variables == published
    broken = Checkpoint(found.weights, found.hyper_parameters, {}, [{"kind": "angle"}])
    assert "m.ckpt: its description of the variables is unusable" in refusal(broken)


@pytest.mark.parametrize("name", ["autoencoder", "causal encoder"])
def test_names_for_what_has_no_causal_latents(name: str) -> None:
    assert "leave --vars out" in refusal(checkpoint(name), named="x,y")


def test_a_factor_with_a_dot_is_not_exported() -> None:
    loaded = small_model("causal encoder")
    factors = Variables([Variable("a.b", "continuous", 0.0, 1.0), *(loaded.variables or ())[1:]])
    with pytest.raises(InputError, match=r"the factor .a\.b. has a dot in its name"):
        published_of(LoadedModel(loaded.kind, loaded.network, factors, HERE, {}))
