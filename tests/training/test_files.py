"""The files of a training: a state that is complete or refused in one sentence, metrics that parse."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from citris_cli.artifacts.models import ModelFile, read_model, write_model
from citris_cli.core.config import CitrisNFConfig
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import KINDS, config_from_json, config_to_json
from citris_cli.training.files import RunFiles
from citris_cli.training.place import upgraded
from tests.training.tasks import files_in


def trained(seed: int = 0, width: int = 4) -> tuple[nn.Module, torch.optim.Optimizer, torch.Generator]:
    """A model with batch statistics and an optimiser that has taken a step."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(5, 3, generator=generator)).square().sum().backward()
    optimizer.step()
    return model, optimizer, generator


def test_where_the_files_lie() -> None:
    files = RunFiles(Path("runs/d/nf.safetensors"), Path("runs/d/nf"))
    assert files.state == Path("runs/d/nf.state.safetensors")
    assert files.metrics == Path("runs/d/nf.metrics.jsonl")
    assert files.pictures == Path("runs/d/nf.reconstructions.png")
    assert RunFiles(None, Path("my.model")).state == Path("my.model.state.safetensors")


def test_everything_that_the_next_step_depends_on_comes_back(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    model, optimizer, generator = trained(0)
    files.save_state(files.state_of(7, model, optimizer, generator))
    other, other_optimizer, other_generator = trained(1)
    assert files.load_state(other, other_optimizer, other_generator, torch.device("cpu")) == 7
    assert files.saved_settings() == {"seed": 0}
    assert files.saved_step() == 7
    assert torch.equal(generator.get_state(), other_generator.get_state())
    batch = torch.randn(5, 3, generator=generator)
    for network, its_optimizer in ((model, optimizer), (other, other_optimizer)):
        its_optimizer.zero_grad()
        network(batch).square().sum().backward()
        its_optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_a_process_that_only_takes_part_reads_and_writes_nothing(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    model, optimizer, generator = trained(0)
    files.save_state(files.state_of(7, model, optimizer, generator))
    files.log(7, {"loss": 1.0})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = dataclasses.replace(files, writes=False)
    assert other.load_state(*trained(1), torch.device("cpu")) == 7
    other.start_metrics(3)
    other.log(8, {"loss": 2.0})
    other.save_state(other.state_of(8, model, optimizer, generator))
    other.save_best(8, {"val_score": 1.0}, model)
    other.remove_state()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_a_state_nothing_changes(tmp_path: Path) -> None:
    model, optimizer, generator = trained()
    before = generator.get_state()
    files = files_in(tmp_path)
    assert files.load_state(model, optimizer, generator, torch.device("cpu")) == 0
    assert torch.equal(generator.get_state(), before)
    assert files.saved_settings() is None
    assert files.saved_step() == 0
    files.remove_state()  # no state to remove


def resume(files: RunFiles) -> None:
    """What a resumed training reads, in its order."""
    files.saved_settings()
    files.load_state(*trained(), torch.device("cpu"))


def refused(files: RunFiles) -> str:
    with pytest.raises(InputError) as caught:
        resume(files)
    sentence = str(caught.value)
    assert str(files.state) in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_truncated_state_is_refused(tmp_path: Path, cut: int) -> None:
    files = files_in(tmp_path)
    files.save_state(files.state_of(7, *trained()))
    files.state.write_bytes(files.state.read_bytes()[:cut])
    refused(files)


def test_a_model_is_no_state(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    write_model(files.state, ModelFile("autoencoder", {}, None, {}, {"w": torch.ones(2)}))
    assert "a file of kind autoencoder that does not hold the state of a training run" in refused(files)


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.save_state(files.state_of(7, *trained(width=5)))
    assert "does not fit this model" in refused(files)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.tensors.pop("generator"),
        lambda file: file.tensors.update(generator=torch.ones(3)),
        lambda file: file.tensors.pop("model.0.weight"),
        lambda file: file.tensors.update({"optimizer.0": torch.ones(2)}),
        lambda file: file.tensors.update({"optimizer.x.step": torch.ones(2)}),
        lambda file: file.config.pop("step"),
        lambda file: file.config.update(step="many"),
        lambda file: file.config.pop("settings"),
        lambda file: file.config.update(settings=[1]),
    ],
)
def test_a_state_that_is_not_whole_is_refused(tmp_path: Path, spoil: Callable[[ModelFile], object]) -> None:
    files = files_in(tmp_path)
    files.save_state(files.state_of(7, *trained()))
    contents = read_model(files.state)
    spoil(contents)
    write_model(files.state, contents)
    refused(files)


def test_the_state_can_be_removed(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.save_state(files.state_of(7, *trained()))
    files.remove_state()
    assert not files.state.exists()


def test_metrics_are_one_json_object_a_line(tmp_path: Path) -> None:
    files = files_in(tmp_path / "new")
    files.start_metrics(0)
    files.log(1, {"loss": 2.5, "bad": float("nan"), "worse": float("-inf")})
    files.log(2, {"loss": 1.5})
    lines = [json.loads(line) for line in files.metrics.read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 2.5, "bad": None, "worse": None}, {"step": 2, "loss": 1.5}]


def test_a_resumed_run_keeps_the_metrics_of_the_steps_behind_it(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.start_metrics(0)
    for step in (1, 2, 2, 3, 4):
        files.log(step, {"loss": float(step)})
    with files.metrics.open("ab") as file:
        file.write(b'{"step": 5, "lo\xff')  # killed while writing
    files.start_metrics(2)
    assert [json.loads(line)["step"] for line in files.metrics.read_text().splitlines()] == [1, 2, 2]
    files.start_metrics(0)
    assert files.metrics.read_text() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_metrics_on_a_full_disk_fail_with_one_sentence(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.start_metrics(0)
    files.metrics.unlink()
    files.metrics.symlink_to("/dev/full")  # the disk fills up meanwhile
    with pytest.raises(CitrisError) as caught:
        files.log(1, {"loss": 2.5})
    assert caught.value.exit_status == 1
    assert str(caught.value).startswith(f"{files.metrics}: ")
    assert "no space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_metrics_that_cannot_be_read_back_fail_with_one_sentence(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    files.metrics.mkdir()
    with pytest.raises(CitrisError, match="is a directory") as caught:
        files.start_metrics(1)
    assert str(files.metrics) in str(caught.value)


def test_a_state_is_what_it_was_when_it_was_taken(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    model, optimizer, generator = trained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = generator.get_state()
    state = files.state_of(7, model, optimizer, generator)
    assert not files.state.exists()
    model(torch.randn(5, 3, generator=generator)).square().sum().backward()
    optimizer.step()
    files.save_state(state)
    saved = read_model(files.state).tensors
    assert all(torch.equal(saved[f"model.{name}"], value) for name, value in before.items())
    assert torch.equal(saved["generator"], random_state)


def test_a_new_run_of_other_settings_says_what_the_old_one_was(tmp_path: Path) -> None:
    files = dataclasses.replace(files_in(tmp_path), settings={"kind": "autoencoder", "model": {"latents": 3}})
    files.save_state(files.state_of(1, *trained()))
    assert files_in(tmp_path).saved_settings() == {"kind": "autoencoder", "model": {"latents": 3}}


def test_settings_of_earlier_runs_say_what_they_meant() -> None:
    """So that such a run is resumed as what it was, whatever has been added since."""
    kind = KINDS["citris_nf"]
    config = CitrisNFConfig(latents=4, variables=2)
    today = {"model": config_to_json(config), "training": {}}
    earlier = copy.deepcopy(today)
    for added in ("regulariser_form", "imperfect_variables", "interventional_components"):
        del earlier["model"]["prior"][added]
    assert earlier != today
    assert upgraded(kind, earlier) == today
    assert config_from_json(CitrisNFConfig, upgraded(kind, earlier)["model"]).prior.regulariser_form == "share"
