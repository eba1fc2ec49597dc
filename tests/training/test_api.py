"""Training from Python: arrays or files in, a trained model out, with the settings and sentences of the commands."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import citris_cli
from citris_cli.artifacts.models import read_model_header
from citris_cli.core.config import (
    AutoencoderConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
    PriorConfig,
    SlowPriorConfig,
    setting,
)
from citris_cli.core.priors import Given, ParameterGroup, Score, TransitionPrior, register, registry
from citris_cli.data.sources import Data
from citris_cli.errors import InputError, InterruptedRunError, TrainingDivergedError
from citris_cli.training.config import AutoencoderTrainingConfig
from citris_cli.training.request import Progress
from tests.end_to_end.conftest import run_inside

TINY_AE: dict[str, Any] = {"steps": 6, "batch_size": 8, "latents": 3, "channels": 4}
TINY_NF: dict[str, Any] = {"steps": 6, "batch_size": 8, "samples": 2, "hidden": 4, "flow_layers": 2}
TINY_VAE: dict[str, Any] = {"steps": 4, "batch_size": 8, "latents": 3, "channels": 4, "hidden": 4, "flow_layers": 1}


def arrays(frames: int = 40) -> dict[str, Any]:
    """Frames of noise with two targets, one of them an angle's, and true values."""
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8),
        "targets": (rng.random((frames - 1, 2)) < 0.4).astype(np.uint8),
        "latents": rng.random((frames, 2)).astype(np.float32),
        "keys": ["x", "turn"],
        "kinds": ["continuous", "angle"],
    }


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a folder of its own, with one thread, as commands are run here."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights(model: Any) -> dict[str, Tensor]:
    return model.network.state_dict()


def test_arrays_in_a_model_out_and_nothing_written(tmp_path: Path) -> None:
    told: list[Progress] = []
    notes: list[str] = []
    model = citris_cli.train_nf(arrays(), latents=3, **TINY_NF, progress=told.append, note=notes.append, val=arrays(30))
    assert model.variables.names == ("x", "turn")
    assert model.variables[1].kind == "angle"
    assert model.encode(arrays()["images"][:2]).shape == (2, 3)
    assert set(model.provenance["metrics"]) >= {"train_nll", "val_score", "best_step", "identification"}
    assert model.provenance["settings"]["training"]["steps"] == 6
    assert not list(tmp_path.iterdir())
    assert [one.title for one in told if one.step == 0] == ["autoencoder on arrays", "CITRIS-NF on arrays"]
    assert (told[-1].step, told[-1].total, told[-1].unit) == (6, 6, "pairs")
    assert np.isfinite(told[-1].losses["nll"])
    assert any("encodings of 40 frames computed" in note for note in notes)


def test_the_best_model_is_kept_in_memory(tmp_path: Path) -> None:
    model = citris_cli.train_vae(arrays(), **TINY_VAE, val=arrays(30))
    again = citris_cli.train_vae(arrays(), **TINY_VAE, val=arrays(30), output="m.safetensors")
    assert model.provenance["metrics"]["best_step"] == again.provenance["metrics"]["best_step"]
    for name, value in weights(model).items():
        assert torch.equal(value, weights(again)[name])
    assert {path.name for path in tmp_path.iterdir()} == {
        "m.best.safetensors", "m.metrics.jsonl", "m.safetensors", "m.state.safetensors",
    }  # fmt: skip


def test_a_file_and_its_arrays_give_the_same_model_as_the_command(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **arrays())
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY_AE.items()]
    done = run_inside("train-ae", "d.npz", *options, "-o", "c.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    of_command = citris_cli.train_ae("d.npz", output="c.safetensors", resume=True, **TINY_AE)  # it is finished
    for model in (citris_cli.train_ae("d.npz", **TINY_AE), citris_cli.train_ae(Path("d.npz"), **TINY_AE)):
        for name, value in weights(of_command).items():
            assert torch.equal(value, weights(model)[name]), name
    for name, value in weights(citris_cli.train_ae(arrays(), **TINY_AE)).items():
        assert torch.equal(value, weights(of_command)[name]), name


def test_an_autoencoder_that_was_trained_is_taken(tmp_path: Path) -> None:
    autoencoder = citris_cli.train_ae(arrays(), **TINY_AE)
    model = citris_cli.train_nf(arrays(), ae=autoencoder, **TINY_NF)
    for name, value in weights(autoencoder).items():
        assert torch.equal(value, weights(model)[f"autoencoder.{name}"])
    with pytest.raises(InputError, match="the autoencoder has 3; leave the option out"):
        citris_cli.train_nf(arrays(), ae=autoencoder, latents=5, **TINY_NF)
    encoder = citris_cli.train_causal_encoder(arrays(), steps=3, batch_size=8, channels=4)
    assert encoder.variables is not None
    assert encoder.variables.names == ("x", "turn")
    with pytest.raises(InputError, match="holds a causal_encoder, not an autoencoder"):
        citris_cli.train_nf(arrays(), ae=encoder, **TINY_NF)


def test_configurations_take_the_presets_place() -> None:
    sizes = AutoencoderConfig(latents=2, channels=5, patch=2)
    training = AutoencoderTrainingConfig(steps=4, batch_size=7, lr=1e-4, clip=0.5, seed=3)
    model = citris_cli.train_ae(arrays(), model=sizes, training=training, steps=5)
    recorded = model.provenance["settings"]
    assert recorded["model"] == dataclasses.asdict(dataclasses.replace(sizes, width=32))
    assert recorded["training"] == {**dataclasses.asdict(training), "steps": 5, "precision": "float32"}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"stepz": 3}, "--stepz: .*no such setting, did you mean steps"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"steps": "many"}, "steps is 'many'; it needs a value such as"),
        ({"patch": 3}, "autoencoder: patch is 3; it can be 1 or 2 or 4"),
        ({"preset": "tiny"}, "there is no preset 'tiny'; the presets are small, paper"),
        ({"resume": True}, "writes no files cannot be resumed; give it an output path"),
        ({"device": "tpu"}, "--device tpu is unknown"),
    ],
)
def test_what_is_wrong_is_one_sentence(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        citris_cli.train_ae(arrays(), **{**TINY_AE, **settings})


def test_what_data_and_sizes_cannot_give_is_said_before_a_training() -> None:
    told: list[str] = []

    def progress(now: Progress) -> None:
        told.append(f"step {now.step} of {now.title}")

    data = {"images": arrays()["images"], "targets": np.eye(5, dtype=np.uint8)[np.arange(39) % 5]}
    listening = {"progress": progress, "note": told.append}
    for latents, without, option in ((3, 2, "--latents"), (4, 1, "citris train-ae --latents")):
        tiny = citris_cli.train_ae(data, **{**TINY_AE, "latents": latents})
        told.clear()
        given = {"ae": tiny} if latents == 4 else {"latents": latents}
        citris_cli.train_nf(data, **TINY_NF, **given, **listening)
        few = f"5 variables and {latents} latents: at least {without} of the variables can have no latents; give 5 or"
        (at,) = (number for number, line in enumerate(told) if line.startswith(few))
        assert f"with '{option}'" in told[at]
        small = "the data are too few: 39 pairs; at least 64 are needed, and thousands are usual"
        assert max(at, told.index(small)) < told.index("step 0 of CITRIS-NF on arrays")
    told.clear()
    citris_cli.train_vae({**arrays(100)}, **TINY_VAE, **listening)
    assert not [line for line in told if "latents:" in line or "too few" in line]


def test_of_one_pair_nothing_can_be_learned() -> None:
    data = {"images": arrays()["images"][:2], "targets": [[1, 1]]}
    autoencoder = citris_cli.train_ae(data, **{**TINY_AE, "latents": 16})
    with pytest.raises(TrainingDivergedError, match="the data are too few: 1 pair; at least 64 are needed") as caught:
        citris_cli.train_nf(data, ae=autoencoder, steps=60)
    assert "--lr" not in str(caught.value)


def test_what_lies_at_the_output_is_replaced_only_if_that_is_said(tmp_path: Path) -> None:
    citris_cli.train_ae(arrays(), output="m.safetensors", **TINY_AE)
    before = (tmp_path / "m.safetensors").read_bytes()
    with pytest.raises(
        InputError, match=r"m.safetensors holds a finished autoencoder that differs in seed \(0, here 7\)"
    ):
        citris_cli.train_ae(arrays(), output="m.safetensors", seed=7, **TINY_AE)
    assert (tmp_path / "m.safetensors").read_bytes() == before
    model = citris_cli.train_ae(arrays(), output="m.safetensors", seed=7, overwrite=True, **TINY_AE)
    assert read_model_header(tmp_path / "m.safetensors").provenance["seed"] == model.provenance["seed"] == 7


def test_data_that_are_wrong_are_named() -> None:
    with pytest.raises(InputError, match=r"the given arrays: .*targets.* has 39 rows for 20 frames"):
        citris_cli.train_ae({**arrays(), "images": arrays()["images"][:20]}, **TINY_AE)
    with pytest.raises(InputError, match=r"nowhere.npz: there is no such file"):
        citris_cli.train_ae("nowhere.npz", **TINY_AE)


@dataclass(frozen=True)
class LaplaceConfig(PriorConfig):
    """A Laplace distribution around a linear map of the past."""

    name: ClassVar[str] = "laplace"
    sparsity: float = setting(0.5, "Weight of the map's absolute entries.", least=0)


class LaplacePrior(TransitionPrior):
    """A prior that the package does not know, with all that one may have of its own."""

    Config = LaplaceConfig

    def __init__(
        self, latents: int, variables: int, hidden: int, config: LaplaceConfig, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.config = config
        self.map = nn.Parameter(torch.eye(latents))
        self.of_targets = nn.Parameter(torch.zeros(variables, latents))
        self.log_scale = nn.Parameter(torch.zeros(latents))
        self.seen: list[tuple[float, float]] = []

    def _score(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        mean = z_t @ self.map + (given.targets.to(z_t.dtype) @ self.of_targets).unsqueeze(1)
        nll = ((z_t1 - mean).abs() * (-self.log_scale).exp() + self.log_scale).sum(-1).mean(1)
        sparse = given.schedule.get("sparse", 1.0) * self.config.sparsity * self.map.abs().sum()
        self.seen.append((float(given.progress), float(given.schedule.get("sparse", 1.0))))
        return Score(nll, {"sparsity": sparse})

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        return self._score(z_t, z_t1, given)

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        score = self._score(z_t.unsqueeze(1), z_t1.unsqueeze(1), given)
        return Score(score.value - log_std.sum(-1), score.terms)

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        noise = torch.randn(z_t.shape, generator=generator).to(z_t)
        return z_t @ self.map + targets.to(z_t.dtype) @ self.of_targets + temperature * self.log_scale.exp() * noise

    def parameter_groups(self) -> list[ParameterGroup]:
        return [ParameterGroup([self.log_scale], rate=0.0), ParameterGroup([self.map], 1.0, 0.0, lambda at: at >= 0.5)]

    def schedule(self, progress: float) -> Mapping[str, float]:
        return {"sparse": progress}


@pytest.fixture
def laplace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_priors", dict(registry._priors))
    register(LaplacePrior)


@pytest.mark.usefixtures("laplace")
def test_a_prior_from_outside_is_trained_by_its_name_saved_loaded_and_used(tmp_path: Path) -> None:
    data: Data = arrays()
    told: list[Progress] = []
    options: dict[str, Any] = {"prior": "laplace", "sparsity": 0.25, "progress": told.append, "latents": 3}
    model = citris_cli.train_nf(data, output="nf.safetensors", **options, **TINY_NF)
    prior = model.network.prior
    assert isinstance(prior, LaplacePrior)
    # What changes over the run came with every step, and validation is at its end.
    assert [seen for seen in prior.seen if seen[0] < 1] == [(step / 6, step / 6) for step in range(6)]
    assert (1.0, 1.0) in prior.seen
    assert told[-1].losses["sparsity"] > 0
    # Groups of its own: one that does not learn, one that learns from the middle on.
    assert torch.equal(prior.log_scale, torch.zeros(3))
    assert not torch.equal(prior.map, torch.eye(3))
    assert not torch.equal(prior.of_targets, torch.zeros(2, 3))

    header = read_model_header(tmp_path / "nf.safetensors")
    assert header.config["citris_nf"]["prior"] == {"name": "laplace", "sparsity": 0.25}
    loaded = citris_cli.load("nf.safetensors")
    frames = arrays()["images"][:4]
    np.testing.assert_array_equal(loaded.encode(frames), model.encode(frames))
    z, generator = loaded.encode(frames[:1]), torch.Generator().manual_seed(0)
    loaded.network.assignment.fix(torch.tensor([0, 1, 2]))
    loaded.assignment = loaded.network.assignment.hard().numpy()
    drawn = loaded.intervene(z, "x", loaded.draw(z, "x", 2, generator))
    assert loaded.decode(drawn).shape == (2, 32, 32, 3)

    # The commands find it by its name, too, where it is registered.
    np.savez(tmp_path / "d.npz", **arrays())
    lines = ["train-vae", "d.npz", "--prior", "laplace", "--steps", 2, "--latents", 3, "--channels", 4]
    done = run_inside(*lines, "-o", "vae.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_inside("encode", "d.npz", "-m", "vae.safetensors", "-o", "z.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_inside("export", "vae.safetensors", "-o", "x.safetensors", cwd=tmp_path)
    assert "its prior (--prior laplace) has no published form" in done.stderr.decode()


@pytest.mark.usefixtures("laplace")
def test_a_prior_from_outside_in_a_configuration(tmp_path: Path) -> None:
    sizes = CitrisVAEConfig(latents=3, channels=4, patch=2, hidden=4, flow_layers=0, prior=LaplaceConfig(0.1))
    model = citris_cli.train_vae(arrays(), model=sizes, steps=2, batch_size=8)
    assert model.network.config.prior == LaplaceConfig(0.1)
    with pytest.raises(ValueError, match="there is a prior 'laplace' already"):
        register(type("Other", (LaplacePrior,), {}))


def test_an_unfinished_training_with_a_prior_that_nobody_registered_says_what_to_do(laplace: None) -> None:
    options: dict[str, Any] = {"output": "vae.safetensors", "model": CitrisVAEConfig(prior=LaplaceConfig())}

    told: list[Progress] = []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if len(told) == 2:  # the first is of the start, and a second signal would be the last
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(InterruptedRunError):
        citris_cli.train_vae(arrays(), **options, **{**TINY_VAE, "steps": 500}, progress=stop)
    del registry._priors["laplace"]
    with pytest.raises(InputError, match=r"no prior 'laplace'; .* import or install what registers"):
        citris_cli.train_vae(arrays(), output="vae.safetensors", resume=True)


def test_the_autoencoder_that_was_given_stays_as_it_was() -> None:
    autoencoder = citris_cli.train_ae(arrays(), **TINY_AE)
    before = {name: value.clone() for name, value in weights(autoencoder).items()}
    learns = [parameter.requires_grad for parameter in autoencoder.network.parameters()]
    model = citris_cli.train_nf(arrays(), ae=autoencoder, output="nf.safetensors", **TINY_NF)
    assert model.network.autoencoder is not autoencoder.network
    assert learns == [parameter.requires_grad for parameter in autoencoder.network.parameters()]
    assert all(torch.equal(value, weights(autoencoder)[name]) for name, value in before.items())
    # Encodings are kept beside an autoencoder's file, and this one has none.
    assert not list(Path().glob("encodings-*"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"model": AutoencoderConfig()},
            "model: AutoencoderConfig is given and this training run needs a CitrisNFConfig",
        ),
        ({"training": AutoencoderTrainingConfig()}, "training: AutoencoderTrainingConfig is given and .* Causal"),
        ({"model": CitrisNFConfig(prior=SlowPriorConfig())}, "the prior 'slow' is for citris_vae, not for citris_nf"),
        ({"model": CitrisNFConfig(prior=MLPPriorConfig(imperfect_variables=(7,)))}, "numbers from 0 to"),
        ({"output": "-"}, "output is '-'; give a path"),
        ({"output": 5}, "output is a int; give a path"),
        ({"ae": 5}, "ae is a int; give a path, or what train_ae returned"),
        ({"variables": ["x", "y"]}, "variables is a list; give names in one string"),
        ({"group": ["x"]}, "group is a list; give columns in one string"),
        ({"prior": 5}, "prior is 5; it needs a name"),
        ({"steps": True}, "steps is True; it needs a value such as"),
        ({"lr": float("nan")}, "lr is nan; it must be a finite number"),
        ({"device": torch.device("meta")}, "--device meta is unknown"),
        ({"device": 0}, "--device 0 is unknown"),
        ({"val": np.zeros(3)}, "val is a ndarray; give a path, or arrays by name"),
        ({"progress": 3}, "progress is a int; give a function"),
        ({"note": "loud"}, "note is a str; give a function"),
        ({"resume": "yes"}, "resume is a str; give True or False"),
        ({"save_every": "x"}, "save_every is 'x'; give a number of seconds, at least 0"),
        ({"save_every": float("nan")}, "save_every is nan; give a number of seconds, at least 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_trained(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        citris_cli.train_nf(arrays(), **arguments)


def test_data_of_another_type_are_refused() -> None:
    with pytest.raises(InputError, match="data is a int; give a path, or arrays by name"):
        citris_cli.train_ae(5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="data: nothing is given"):
        citris_cli.train_ae([])


def test_tensors_and_lists_of_frames_train_the_model_that_their_arrays_train() -> None:
    given = arrays(12)
    weights = citris_cli.train_ae(given, **TINY_AE).network.state_dict()
    images, targets = (torch.from_numpy(given[name]) for name in ("images", "targets"))
    floats = (images.float() / 255).requires_grad_()
    for one in (images, list(given["images"]), list(images), floats):
        model = citris_cli.train_ae({**given, "images": one, "targets": targets}, **TINY_AE)
        assert all(torch.equal(value, weights[name]) for name, value in model.network.state_dict().items())
    uneven = [given["images"][0], given["images"][1, :16]]
    with pytest.raises(InputError, match=r"the given arrays: key 'images' lists arrays of the shapes \[32, 32, 3\]"):
        citris_cli.train_ae({**given, "images": uneven}, **TINY_AE)


def test_numbers_of_numpy_are_numbers() -> None:
    model = citris_cli.train_ae(arrays(), **{name: np.int64(value) for name, value in TINY_AE.items()})
    assert model.network.config.latents == 3


def test_a_file_with_a_prior_that_nobody_registered_is_refused(tmp_path: Path, laplace: None) -> None:
    options: dict[str, Any] = {"model": CitrisNFConfig(hidden=4, prior=LaplaceConfig()), "steps": 2, "batch_size": 8}
    citris_cli.train_nf(arrays(), output="nf.safetensors", **options)
    del registry._priors["laplace"]
    with pytest.raises(InputError, match=r"no prior 'laplace'; it can be .* import or install what registers"):
        citris_cli.load("nf.safetensors")
