"""iCITRIS: trained as a method of both commands, refused where it can come to nothing, used like any model."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from citris_cli.artifacts.models import read_model, read_model_header, write_model
from citris_cli.loading import load_model
from tests.core.test_parity import Numbers, agree, agree_as_a_whole
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal
from tests.end_to_end.test_json import faults

#: A graph that few steps move far enough.
FAST = ["--steps", "6", "--batch-size", "8", "--hidden", "4", "--warmup", "0", "--graph-rate", "1e4"]
TINY = {
    "train-vae": [*FAST, "--channels", "4", "--latents", "4", "--flow-layers", "1"],
    "train-nf": [*FAST, "--samples", "2", "--flow-layers", "2"],
}


def line(command: str, home: Path, *more: object) -> list[object]:
    autoencoder = ["--ae", home / "runs/boxes/ae.safetensors"] if command == "train-nf" else []
    return [command, "few", "--method", "icitris", *TINY[command], *autoencoder, *more]


@pytest.mark.parametrize(
    ("command", "options"),
    [("train-vae", ["--graph-learning", "notears", "--no-psi0"]), ("train-nf", ["--autoregressive"])],
)
def test_it_is_trained_and_goes_through_the_commands(
    command: str, options: list[str], home: Path, few: Path, inside: Citris, brief_estimate: None
) -> None:
    done = inside(*line(command, home, *options, "-o", "m.safetensors"), cwd=few)
    assert done.returncode == 0, done.stderr
    said = done.stderr.decode()
    assert "iCITRIS on few: step 6/6" in said
    assert "effects within a step: " in said
    again = inside(*line(command, home, *options, "-o", "again.safetensors"), cwd=few)
    assert again.returncode == 0
    assert (few / "m.safetensors").stat().st_size > 0
    first, second = (read_model(few / name).tensors for name in ("m.safetensors", "again.safetensors"))
    assert all(torch.equal(first[name], second[name]) for name in first)  # the same seed
    header = read_model_header(few / "m.safetensors")
    kind = "citris_vae" if command == "train-vae" else "citris_nf"
    config = header.config[kind]
    assert config["prior"]["name"] == "icitris"
    assert config["classifier_momentum"] == 0.9
    assert config["prior"]["sparsity"] == (0.002 if command == "train-vae" else 0.02)
    assert config["prior"]["ancestors"] == (0.0 if command == "train-vae" else 0.9)
    logged = json.loads((few / "m.metrics.jsonl").read_text().splitlines()[0])
    assert {"sparsity", "information", "information_model", "scale"} <= logged.keys()
    assert ("acyclicity" in logged) == (command == "train-vae")

    file = read_model(few / "m.safetensors")  # so few steps give some variable no latents
    file.tensors["assignment.logits"] = torch.eye(file.tensors["assignment.logits"].shape[1])[[0, 1, 0, 1]]
    write_model(few / "m.safetensors", file)
    for arguments in (
        ["encode", "few/val_indep.npz", "-m", "m.safetensors", "-o", "z.npz"],
        ["intervene", "few/train.npz#1", "-m", "m.safetensors", "--var", "box", "-n", "2", "-o", "i.png"],
        ["eval-triplets", "few", "-m", "m.safetensors", "--json"],
        ["eval-correlation", "few/val_indep.npz", "-m", "m.safetensors", "--json"],
    ):
        done = inside(*arguments, cwd=few)
        assert done.returncode == 0, done.stderr.decode()
    document = json.loads(inside("info", "m.safetensors", "--json", cwd=few).stdout)
    assert document["graph"].keys() == {"edges", "cycle_edges", "settled"}
    learned = {(edge["from"], edge["to"]) for edge in document["graph"]["edges"]}
    done = inside("graph", home / "boxes", "-m", "m.safetensors", "--instantaneous", "-o", "-", cwd=few)
    assert "only whether each is there is estimated anew" in done.stderr.decode()
    found = json.loads(done.stdout)["instantaneous"]["edges"]
    assert {(edge["cause"], edge["effect"]) for edge in found if edge["cause"] != "psi(0)"} <= learned
    done = inside("graph", home / "boxes", "-m", "m.safetensors", "-o", "-", cwd=few)
    assert "--instantaneous estimates these with it" in done.stderr.decode()
    export = inside("export", "m.safetensors", "-o", "p.safetensors", cwd=few)
    if command == "train-nf":
        check_refusal(export, "the published iCITRIS has no psi.0.; train one with --no-psi0")
        return
    assert export.returncode == 0
    assert inside("import-checkpoint", "p.safetensors", "-o", "b.safetensors", cwd=few).returncode == 0
    ours, back = (read_model(few / name).tensors for name in ("m.safetensors", "b.safetensors"))
    assert all(torch.equal(back[name], ours[name]) for name in back if name != "prior.graph.fixed")


def test_info_draws_the_graph(home: Path, few: Path, inside: Citris) -> None:
    assert inside(*line("train-nf", home, "-o", "m.safetensors"), cwd=few).returncode == 0
    file = read_model(few / "m.safetensors")
    file.tensors["prior.graph.gamma"] = torch.full((3, 3), 5.0)
    file.tensors["prior.graph.gamma"][2, 0] = -5.0
    file.tensors["prior.graph.theta"] = torch.tensor([[0.0, 5.0, 0.0], [4.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    write_model(few / "m.safetensors", file)
    document = json.loads(inside("info", "m.safetensors", "--json", cwd=few).stdout)
    assert faults(document, "info", "info") == []
    document = document["graph"]
    found = {(edge["from"], edge["to"]): edge["probability"] for edge in document["edges"]}
    assert list(found) == [("ball_y", "box"), ("box", "ball_y"), ("psi(0)", "box")]
    assert found["ball_y", "box"] == pytest.approx(0.98659, abs=1e-4)
    assert [(edge["from"], edge["to"]) for edge in document["cycle_edges"]] == [("box", "ball_y")]
    text = inside("info", "m.safetensors", cwd=few).stdout.decode()
    assert "box -> ball_y  0.975 (the least certain of a cycle: read the graph without it)" in text
    assert "psi(0) -> box" in text


@pytest.fixture
def acting(home: Path, few: Path, inside: Citris) -> Path:
    """The folder of a model whose ball acts on its box within a step, and nothing on the ball; psi(0) has a latent."""
    assert inside(*line("train-nf", home, "-o", "m.safetensors"), cwd=few).returncode == 0
    file = read_model(few / "m.safetensors")
    file.tensors["assignment.logits"] = torch.eye(3)[[0, 1, 2, 1]]
    file.tensors["prior.graph.gamma"] = torch.full((3, 3), -5.0)
    file.tensors["prior.graph.gamma"][0, 1] = 5.0
    file.tensors["prior.graph.theta"] = torch.tensor([[0.0, 5.0, 0.0], [-5.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    file.tensors["reference.z"] = 100 * file.tensors["reference.z"]  # so few steps are no range to be held within
    generator = torch.Generator().manual_seed(0)
    for name, value in file.tensors.items():
        if name.startswith("prior.networks.") and value.is_floating_point():  # so that what is seen makes a difference
            value.add_(0.2 * torch.randn(value.shape, generator=generator))
    write_model(few / "m.safetensors", file)
    return few


def test_effects_within_a_step_follow_an_intervention(acting: Path, inside: Citris) -> None:
    common = ["intervene", "few/train.npz#1", "-m", "m.safetensors", "-o", "x.npz", "--json"]

    def changed(*options: object) -> tuple[list[bool], dict, np.ndarray, str]:
        done = inside(*common, *options, cwd=acting)
        assert done.returncode == 0, done.stderr.decode()
        document = json.loads(done.stdout)
        assert faults(document, "intervene", "intervene") == []
        with np.load(acting / "x.npz", allow_pickle=False) as file:
            after, before = file["z_after"], file["z_before"]
        return (after != before).any(0).tolist(), document, after, done.stderr.decode()

    assert changed("--var", "ball_y", "-n", 3)[0] == [True, False, False, False]
    latents, document, after, said = changed("--var", "ball_y", "-n", 3, "--effects")
    assert latents == [True, True, False, True]  # not psi(0)
    assert document["affected"] == list(document["moved_by_effect"]) == ["box"]
    assert document["moved_by_effect"]["box"] > 0
    assert document["moved_by_leak"].keys() == document["moved"].keys() == {"ball_y", "box", "psi(0)"}
    assert "box: follows within the step that starts from the picture; everything else stays as it is" in said
    assert len(np.unique(after[:, 1])) == 3
    # What is set ignores what acted on it, and the box acts on nothing.
    latents, document, _, said = changed("--var", "box", "-n", 3, "--effects")
    assert latents == [False, True, False, True]
    assert (document["affected"], document["moved_by_effect"]) == ([], {})
    assert "box: acts on nothing within a step in the learned graph, so nothing follows" in said
    latents, document, *_ = changed("--var", "ball_y,box", "-n", 2, "--effects")
    assert document["affected"] == []
    # Of the same value the same follows: between the places of a walk, the value alone makes the difference.
    _, _, walk, _ = changed("--var", "ball_y", "--sweep", 6, "--effects")
    for one, other in itertools.combinations(walk, 2):
        assert (one[0] == other[0]) == (one[[1, 3]] == other[[1, 3]]).all()
    # Of a variable without latents nothing can follow.
    file = read_model(acting / "m.safetensors")
    file.tensors["assignment.logits"] = torch.eye(3)[[0, 2, 2, 0]]
    write_model(acting / "blind.safetensors", file)
    done = inside(*common[:3], "blind.safetensors", *common[4:], "--var", "ball_y", "-n", 2, "--effects", cwd=acting)
    assert (json.loads(done.stdout)["affected"], b"acts on nothing within a step" in done.stderr) == ([], True)
    plain = changed("--var", "ball_y", "--from", "few/train.npz#1", "--effects")
    assert plain[1]["moved_by_effect"]["box"] == 0  # it is set to what it is: nothing follows from that


def test_effects_need_a_model_that_knows_of_some(home: Path, model: Path, acting: Path, inside: Citris) -> None:
    common = ["intervene", "few/train.npz#1", "--var", "ball_y", "--effects", "-o", "x.npz"]
    done = inside(*common, "-m", model, cwd=acting)
    check_refusal(
        done, "the model has learned no effects within a step.*train one with --method icitris, or see what follows"
    )
    file = read_model(acting / "m.safetensors")
    file.tensors["prior.graph.gamma"][1, 0] = 3.0
    file.tensors["prior.graph.theta"][1, 0] = 1.0
    write_model(acting / "m.safetensors", file)
    done = inside(*common, "-m", "m.safetensors", cwd=acting)
    assert "the learned graph has cycles; followed without the least certain edge of each (box -> ball_y)" in (
        done.stderr.decode()
    )


def test_futures_follow_the_graph(acting: Path, inside: Citris) -> None:
    """Set in the same step to the same value, the ball takes the box along, also in a rollout."""
    done = inside(
        "rollout", "few/train.npz#1", "--steps", 1, "--mean", "-m", "m.safetensors", "-o", "a.npz", cwd=acting
    )
    assert done.returncode == 0, done.stderr.decode()
    do = ["--do", "1:ball_y=few/train.npz#20"]
    assert inside(
        "rollout", "few/train.npz#1", "--steps", 1, "--mean", *do, "-m", "m.safetensors", "-o", "b.npz", cwd=acting
    ).returncode == 0  # fmt: skip
    with np.load(acting / "a.npz") as one, np.load(acting / "b.npz") as other:
        assert (one["z"][1] != other["z"][1]).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("command", "options", "steps", "pairs"),
    [
        ("train-nf", [], 8000, 128),
        ("train-nf", ["--steps", "5000"], 5000, 128),
        ("train-nf", ["--batch-size", "64"], 8000, 64),
        ("train-nf", ["--preset", "paper"], 100_000, 512),
        ("train-vae", [], 4000, 128),
    ],
)
def test_small_takes_more_and_smaller_batches_with_a_flow_than_citris_does(
    home: Path, few: Path, inside: Citris, command: str, options: list[str], steps: int, pairs: int
) -> None:
    autoencoder = ["--ae", home / "runs/boxes/ae.safetensors"] if command == "train-nf" else []
    done = inside(command, "few", "--method", "icitris", *autoencoder, *options, "--show-config", cwd=few)
    assert done.returncode == 0, done.stderr.decode()
    shown = json.loads(done.stdout)["training"]
    assert (shown["steps"], shown["batch_size"]) == (steps, pairs)


def test_what_it_cannot_learn_from_is_refused(home: Path, few: Path, inside: Citris) -> None:
    imperfect = inside(*line("train-vae", home, "--imperfect-interventions", "-o", "m.safetensors"), cwd=few)
    check_refusal(imperfect, "iCITRIS needs perfect ones. Where a variable that is set still follows its parents")
    short = ["train-vae", "few", "--method", "icitris", "--steps", "300", "-o", "m.safetensors"]
    check_refusal(
        inside(*short, cwd=few), "--steps 300: too short for the graph.*give at least [0-9],[0-9]{3} steps, or a higher"
    )
    check_refusal(inside(*short, "--graph-rate", "0", cwd=few), "raise --graph-rate")
    # While the rate still rises from 0, no factor on it helps.
    check_refusal(inside(*short, "--warmup", "300", cwd=few), "give at least [0-9],[0-9]{3} steps$")
    other = inside("train-vae", "few", "--graph-learning", "notears", "--steps", "2", cwd=few)
    check_refusal(other, "it is a setting of the prior icitris")
    for options, sentence in (
        (["--graph-learning", "notears", "--graph-samples", "4"], "NOTEARS draws one graph.*leave --graph-samples out"),
        (["--no-psi0", "--regulariser", "0.1"], "nothing for --regulariser to pull latents into"),
        (["--independent-targets"], "leave --independent-targets out"),
    ):
        check_refusal(inside(*short, *options, cwd=few), sentence)
    assert not (few / "m.safetensors").exists()


@pytest.mark.parametrize(
    "name",
    ["icitris_vae_enco", "icitris_vae_flow_prior_enco", "icitris_vae_flow_prior_notears", "icitris_nf_enco"],
)
def test_published_models_are_imported_and_written_again(
    name: str, parity: Path, tmp_path: Path, inside: Citris
) -> None:
    for arguments in (
        ["import-checkpoint", parity / f"{name}.ckpt", "-o", "m.safetensors"],
        ["export", "m.safetensors", "-o", "p.safetensors"],
        ["import-checkpoint", "p.safetensors", "-o", "again.safetensors"],
    ):
        done = inside(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
    model, numbers = load_model(tmp_path / "m.safetensors").network, Numbers(parity / f"{name}_expected.safetensors")
    agree_as_a_whole(model, numbers)
    graph = model.prior.learned_graph()
    agree(graph.hard, numbers["out/adjacency"])
    agree(graph.probabilities, numbers["out/edge_probabilities"])
    if "out/encoding" in numbers.tensors:
        agree(model.autoencoder.encode(numbers["in/images"].flatten(0, 1)), numbers["out/encoding"])
    published = torch.load(parity / f"{name}.ckpt", weights_only=True, map_location="cpu")
    exported = load_file(tmp_path / "p.safetensors")
    assert exported.keys() == published["state_dict"].keys()
    for key, value in published["state_dict"].items():
        if not key.endswith("encoder.scale_factor") or name != "icitris_nf_enco":  # which an autoencoder never reads
            torch.testing.assert_close(exported[key], value, rtol=1e-6, atol=1e-6)
    once, twice = (read_model(tmp_path / file).tensors for file in ("m.safetensors", "again.safetensors"))
    assert all(torch.equal(once[key], twice[key]) for key in once)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prior.enco_gamma": torch.zeros(4, 4)}, "the weight prior.enco_gamma is another than prior_t1.enco_gamma"),
        ({"intv_classifier.two_exp_range": torch.ones(4)}, "its constant intv_classifier.two_exp_range"),
        ({"mi_estimator.mi_estimator.6.weight": None}, "mi_estimator.mi_estimator.6.weight is missing"),
    ],
)
def test_published_models_that_contradict_themselves_are_refused(
    change: dict[str, torch.Tensor | None], sentence: str, parity: Path, tmp_path: Path, inside: Citris
) -> None:
    checkpoint = torch.load(parity / "icitris_vae_enco.ckpt", weights_only=True, map_location="cpu")
    for name, value in change.items():
        if value is None:
            del checkpoint["state_dict"][name]
        else:
            checkpoint["state_dict"][name] = value
    torch.save(checkpoint, tmp_path / "m.ckpt")
    check_refusal(inside("import-checkpoint", "m.ckpt", cwd=tmp_path), sentence)
