"""Several processes train as one does: the same batches, noise and statistics, the same losses and weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from citris_cli.artifacts.models import read_model
from citris_cli.data.batches import ShuffledBatches
from citris_cli.errors import InputError, LostProcessError
from citris_cli.training import processes as module
from citris_cli.training.files import RunFiles
from citris_cli.training.loop import train
from citris_cli.training.processes import ALONE, Processes, first_to_fail, own_device
from tests.forks import two_together
from tests.training.tasks import Display, citris_nf_task, files_in
from tests.training.together import CASES, CONFIG, STOPPED
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
#: How far numbers may lie apart that were added in another order, for numbers around 1.
CLOSE = 1e-5
#: Trainings without batch normalisation.
FLOWS = ("citris_nf", "imperfect", "autoregressive")
SIZE = 2

gloo = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this PyTorch has no torch.distributed with gloo",
)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes left what :mod:`tests.training.together` writes."""
    folder = tmp_path_factory.mktemp("together")
    pipes = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    for process in two_together(folder, module="tests.training.together", **pipes):
        _, error = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, error
    return folder


def logged(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("per_second", None)
    return lines


def told(folder: Path, name: str) -> list[Any]:
    """What every process says of something."""
    return [json.loads((folder / str(rank) / "told.json").read_text())[name] for rank in range(SIZE)]


@gloo
@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_steps_of_one(together: Path, tmp_path: Path, name: str) -> None:
    files = files_in(tmp_path)
    task = CASES[name](CONFIG)
    train(task, CONFIG, files, Display(), save_every=-1.0)
    one, two = logged(files.metrics), logged(together / "0" / name / "m.metrics.jsonl")
    assert [line["step"] for line in one if "loss" in line] == list(range(1, CONFIG.steps + 1))
    assert len({line["loss"] for line in one if "loss" in line}) == CONFIG.steps  # something is learned
    assert [line.keys() for line in one] == [line.keys() for line in two]
    # The cosine of an angle's vector that is still short magnifies what the last digits differ by, and so does dividing
    # by a spread of noise's features, for a network that learns fast all the more.
    close = {"causal_encoder": 1e-4, "taught autoencoder": 1e-3}.get(name, CLOSE)
    for mine, theirs in zip(one, two, strict=True):
        # Weights before a batch normalisation whose gradient is zero go where rounding leads them, with two threads as
        # with two processes; running means follow, and measures in evaluation mode with these.
        if "loss" in mine or name in FLOWS:
            assert theirs == pytest.approx(mine, rel=close, abs=close)
    if name in FLOWS:
        state = read_model(together / "0" / name / "m.state.safetensors").tensors
        expected = read_model(files.state).tensors
        assert state.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(state[key], value, rtol=CLOSE, atol=CLOSE, msg=key)


@gloo
@pytest.mark.parametrize("name", CASES)
def test_all_processes_have_the_same_weights(together: Path, name: str) -> None:
    first, second = (load_file(together / str(rank) / f"{name}.weights.safetensors") for rank in range(SIZE))
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@gloo
def test_only_the_first_process_writes(together: Path) -> None:
    for name in CASES:
        assert (together / "0" / name / "m.state.safetensors").exists()
        assert not (together / "1" / name).exists()


@gloo
def test_every_process_reads_its_own_frames_of_every_batch(together: Path) -> None:
    first, second = told(together, "reads")
    stream = ShuffledBatches(15, CONFIG.batch_size, CONFIG.seed)
    batches = [stream.at(step).tolist() for step in range(CONFIG.steps)]
    assert first == [batch[:2] for batch in batches]
    assert second == [batch[2:] for batch in batches]


@gloo
def test_a_signal_to_one_process_stops_all_at_one_step_and_one_alone_goes_on(together: Path, tmp_path: Path) -> None:
    endings = told(together, "stopped")
    assert [status for status, _ in endings] == [143, 143]
    assert all(f"stopped at step {STOPPED + 1} of {CONFIG.steps}" in sentence for _, sentence in endings)
    files = files_in(together / "stopped")
    assert files.saved_step() == STOPPED + 1
    resumed, whole = citris_nf_task(CONFIG), citris_nf_task(CONFIG)
    measures = train(resumed, CONFIG, files, Display(), resume=True)
    assert measures == pytest.approx(train(whole, CONFIG, files_in(tmp_path), Display()), abs=CLOSE)
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value, rtol=CLOSE, atol=CLOSE, msg=key)


@gloo
def test_a_batch_with_fewer_samples_than_processes_is_refused(together: Path) -> None:
    says = "a batch of 1 frames is too small for 2 processes; start fewer with --nproc-per-node, or give a larger "
    assert told(together, "refused") == [says + "--batch-size"] * SIZE


@gloo
def test_what_the_first_process_says_all_hear(together: Path) -> None:
    assert told(together, "first's") == [["ψ and more", ""]] * SIZE


def test_one_process_agrees_with_itself() -> None:
    assert ALONE.first
    assert ALONE.from_first("ψ") == "ψ"
    assert ALONE.agree(3, 0) == [3, 0]
    with ALONE.in_turn(), pytest.raises(RuntimeError, match="gloo"), ALONE.together():
        raise RuntimeError("an error of its own, of gloo or not")


@pytest.fixture
def own_signals() -> Iterator[None]:
    """What a process that ends does with signals, it takes back for the tests that follow."""
    earlier = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, earlier)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize(
    ("saved", "says"),
    [
        (0, "another of the 3 processes has ended; run the same command again"),
        (7, "the state of step 7 is kept in .*m.state.safetensors: run the same command with --resume to continue"),
    ],
)
def test_a_lost_process_becomes_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: int, says: str
) -> None:
    monkeypatch.setattr(RunFiles, "saved_step", lambda files: saved)
    processes = Processes(1, 3)
    with pytest.raises(LostProcessError, match=says), processes.together(files_in(tmp_path)):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1")
    with pytest.raises(LostProcessError, match=says), processes.together(files_in(tmp_path)):
        raise LostProcessError("another of the 3 processes has ended")
    with pytest.raises(RuntimeError, match="shapes"), processes.together(files_in(tmp_path)):
        raise RuntimeError("shapes do not fit")


def start_as(monkeypatch: pytest.MonkeyPatch, rank: int, size: int) -> None:
    """Let this process believe that torchrun started it."""
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, str(rank))
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, str(size))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")


def test_before_processes_meet_the_first_of_each_machine_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_to_fail()
    start_as(monkeypatch, 1, 2)
    assert not first_to_fail()


@pytest.mark.usefixtures("own_signals")
def test_of_processes_that_fail_one_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_store", torch.distributed.HashStore())
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert [first_to_fail() for _ in range(3)] == [True, False, False]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN  # torchrun ends the others as soon as one has ended


def test_every_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert own_device("cuda") == torch.device("cuda")
    assert taken == []
    start_as(monkeypatch, 1, 2)
    assert own_device("cpu") == torch.device("cpu")
    assert own_device("auto") == own_device("cuda") == torch.device("cuda:1")
    assert taken == [torch.device("cuda:1")] * 2
    with pytest.raises(InputError, match="--device cuda:0: several processes train on the CPU or on a GPU each"):
        own_device("cuda:0")
    start_as(monkeypatch, 1, 3)
    with pytest.raises(InputError, match="3 processes were started and this machine has 2 CUDA devices"):
        own_device("auto")
