"""The command line itself: quick help, plain usage errors, and options that are the configuration's fields."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from citris_cli import __version__
from citris_cli.app import app, main
from citris_cli.commands.train_ae import train_ae
from citris_cli.commands.train_causal_encoder import train_causal_encoder
from citris_cli.commands.train_nf import train_nf
from citris_cli.commands.train_vae import train_vae
from citris_cli.core.config import (
    PRIOR_CONFIGS,
    AutoencoderConfig,
    CausalEncoderConfig,
    CausalLatentsConfig,
    CitrisNFConfig,
    CitrisVAEConfig,
)
from citris_cli.training.config import (
    AutoencoderTrainingConfig,
    CausalTrainingConfig,
    TrainingConfig,
    VAETrainingConfig,
)
from tests.end_to_end.conftest import Citris, complete, run_citris
from tests.end_to_end.test_bad_input import check_refusal

COMMANDS = [
    "check",
    "train-ae",
    "train-nf",
    "train-vae",
    "train-causal-encoder",
    "encode",
    "intervene",
    "models",
    "rollout",
    "eval-rollout",
    "explore",
    "eval-triplets",
    "eval-correlation",
    "graph",
    "animate-latents",
    "import-checkpoint",
    "export",
    "info",
    "simulate",
    "simulate ball-in-boxes",
    "simulate pong",
]

#: Runs command lines, one an argument, and tells last which heavy packages that has imported.
SEVERAL = """
import sys
from citris_cli.app import main

for line in sys.argv[1:]:
    sys.argv = ["citris", *line.split()]
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 0, (line, ended.code)
heavy = {"torch", "numpy", "scipy", "PIL", "imageio", "safetensors"} & set(sys.modules)
print("heavy:", *sorted(heavy))
"""


def test_help_and_version_import_nothing_heavy(tmp_path: Path) -> None:
    lines = ["--help", "--version", *(f"{command} --help" for command in COMMANDS)]
    done = subprocess.run([sys.executable, "-c", SEVERAL, *lines], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    text = done.stdout.decode()
    assert text.splitlines()[-1] == "heavy:"
    assert f"citris {__version__}\n" in text
    for command in COMMANDS:
        assert f"Usage: citris {command} " in text


def test_defaults_are_in_the_help(tmp_path: Path, inside: Citris) -> None:
    shown = " ".join(inside("encode", "--help", cwd=tmp_path).stdout.decode().replace("│", " ").split())
    for default in (
        "$CITRIS_MODEL, else the model of the sample frame, else the newest under runs/",
        "runs/<dataset>/",
        "256, fewer above 128 pixels",
        "tf32 on CUDA, else float32",
    ):
        assert f"[default: {default}]" in shown
    assert re.search(r"Usage: citris encode \[OPTIONS\] \{?INPUT\}?(\.\.\.)? ", shown)
    assert "uncompressed so that it can be memory-mapped" in shown


def test_what_a_preset_gives_by_the_width_of_the_frames_is_in_the_help(tmp_path: Path, inside: Citris) -> None:
    shown = " ".join(inside("train-ae", "--help", cwd=tmp_path).stdout.decode().replace("│", " ").split())
    assert "[small: 32, 64 above 32 pixels, 32 above 128 pixels; paper: 64]" in shown
    assert "[small: 1; paper: 2]" in shown


def leaves(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below a command, with its words on the command line."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, one in command.commands.items():
        yield from leaves(one, *path, name)


def test_no_help_loses_a_default_or_dots_its_arguments_twice(tmp_path: Path, inside: Citris) -> None:
    found = 0
    for path, command in leaves(get_command(app)):
        # Wide enough that no text is broken into lines.
        shown = " ".join(inside(*path, "--help", cwd=tmp_path, COLUMNS="600").stdout.decode().split())
        assert f"Usage: citris {' '.join(path)} [OPTIONS]" in shown
        assert "…}..." not in shown
        for parameter in command.params:
            for default in re.findall(r"\[(default: [^\]]*)\]", getattr(parameter, "help", None) or ""):
                assert f"[{default}]" in shown, (path, parameter.name)
                found += 1
    assert found > 10


def test_flags_have_no_type_in_the_help(tmp_path: Path, inside: Citris) -> None:
    """As if a value had to follow ``--json``."""
    for path in ((), ("simulate",), *(path for path, _ in leaves(get_command(app)))):
        shown = inside(*path, "--help", cwd=tmp_path).stdout.decode()
        assert re.search(r"--help +-h +Show this message", shown), path
        assert not re.search(r"<bool>|BOOLEAN", shown), path


def test_paragraphs_of_the_help_are_one_line_each() -> None:
    """Typer ends a line wherever the text does, and wraps it at the terminal's width besides."""
    for path, command in leaves(get_command(app)):
        _, *paragraphs = inspect.cleandoc(command.help).split("\n\n")
        assert not [one for one in paragraphs if "\n" in one], path


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("train", ["train-ae", "train-nf", "train-vae", "train-causal-encoder"]),
        ("train-nf --late", ["--latents"]),
        ("simulate pon", ["pong"]),
    ],
)
def test_the_shell_completes_commands_and_options(tmp_path: Path, line: str, completed: list[str]) -> None:
    assert complete(line, tmp_path) == completed


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
@pytest.mark.parametrize(
    ("streams", "status", "says"),
    [
        ("> /dev/full", 1, "citris: standard output cannot be written (no space left on device); send it elsewhere\n"),
        (">&-", 2, "citris: standard output is closed; send it to a file or to /dev/null\n"),
    ],
)
def test_a_standard_output_that_takes_nothing_is_told(tmp_path: Path, streams: str, status: int, says: str) -> None:
    line = f"{shlex.quote(sys.executable)} -m citris_cli --version {streams}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", says)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (OSError(errno.EIO, "Input/output error"), "standard output cannot be written"),
        (OSError(errno.EIO, "Input/output error", "d.npz"), "unexpected OSError"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "unexpected ConnectionRefusedError"),
    ],
)
def test_only_what_happens_to_a_standard_output_is_told_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, says: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("typer.Typer.__call__", fails)
    monkeypatch.setattr(sys, "argv", ["citris"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith(f"citris: {says}")


@pytest.mark.parametrize("streams", ["2> /dev/full", "2>&-"])
def test_a_failure_has_its_status_though_nobody_hears_of_it(tmp_path: Path, streams: str) -> None:
    line = f"{shlex.quote(sys.executable)} -m citris_cli no-such-command {streams}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize("line", [["encode", "d"], ["simulate", "pong"]])
def test_the_options_of_other_commands_are_not_made(line: list[str]) -> None:
    assert list(get_command(app.narrowed(line)).commands) == line[:1]  # type: ignore[attr-defined]
    for other in ([], ["--help"], ["encod", "d"], ["--version", *line]):
        assert app.narrowed(other) is app


def test_usage_errors_are_one_sentence_that_names_the_help(tmp_path: Path, inside: Citris) -> None:
    check_refusal(inside("trian-nf", "d.npz", cwd=tmp_path), r"No such command 'trian-nf'.* \(see 'citris --help'\)$")
    check_refusal(inside("train-nf", cwd=tmp_path), r"Missing argument 'DATA.*' \(see 'citris train-nf --help'\)$")
    check_refusal(inside("export", "a", "b", cwd=tmp_path), r"\(b\) \(see 'citris export --help'\)$")
    check_refusal(inside("train-ae", "d.npz", "--patch", 5, cwd=tmp_path), "--patch")
    for command in (["train-ae", "d"], ["intervene", "x", "--var", "v"], ["eval-correlation", "d"]):
        check_refusal(inside(*command, "--seed", 2**70, cwd=tmp_path), "Invalid value for '--seed'")
    check_refusal(inside("train-ae", "d.npz", "--steps", "many", cwd=tmp_path), "Invalid value for '--steps'")


@pytest.mark.parametrize("arguments", [[], ["simulate"]])
def test_without_a_command_the_help_is_shown(tmp_path: Path, inside: Citris, arguments: list[str]) -> None:
    done = inside(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: citris" in done.stdout.decode() + done.stderr.decode()
    last = done.stderr.decode().splitlines()[-1]
    assert last == f"citris: no command was given (see '{' '.join(['citris', *arguments])} --help')"


def test_help_names_a_first_command_to_try_that_works(tmp_path: Path, inside: Citris) -> None:
    shown = " ".join(inside("--help", cwd=tmp_path, COLUMNS="120").stdout.decode().split())
    first = shown.split("A first try, with a model that comes with it: citris ")[1].split(" ╭")[0]
    done = inside(*first.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / done.stdout.decode().strip()).is_file()


def test_an_interruption_outside_a_training_is_said(
    tmp_path: Path, inside: Citris, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("citris_cli.commands.info.describe", interrupted)
    check_refusal(inside("info", "x", cwd=tmp_path), "^citris: interrupted$", status=130)


def test_the_traceback_is_shown_only_on_demand(tmp_path: Path, inside: Citris) -> None:
    quiet, loud = inside("info", "none", cwd=tmp_path), run_citris("info", "none", "--debug", cwd=tmp_path)
    check_refusal(quiet, "no such file")
    assert b"Traceback" in loud.stderr
    assert b"InputError" in loud.stderr


#: Parameters of the training commands that are no hyperparameters.
ABOUT_THE_RUN = {
    "data",
    "output",
    "preset",
    "ae",
    "teacher",
    "val",
    "device",
    "variables",
    "targets_lead",
    "group",
    "rounds",
    "restarts",
    "resume",
    "overwrite",
    "save_every",
    "no_check",
    "show_config",
    "as_json",
}
#: Fields that follow from the data, or from a teacher.
FROM_THE_DATA = {
    train_ae: {"width", "image_channels", "grey_latents"},
    train_nf: {"variables"},
    train_vae: {"width", "image_channels", "variables"},
    train_causal_encoder: {"width", "image_channels"},
}


@pytest.mark.parametrize(
    ("command", "configurations"),
    [
        (train_ae, (AutoencoderConfig, AutoencoderTrainingConfig)),
        (train_nf, (CitrisNFConfig, CausalTrainingConfig)),
        (train_vae, (CitrisVAEConfig, VAETrainingConfig)),
        (train_causal_encoder, (CausalEncoderConfig, TrainingConfig)),
    ],
)
def test_options_are_the_fields_of_the_configuration(
    command: Callable[..., None], configurations: tuple[type, ...]
) -> None:
    parameters = inspect.signature(command).parameters
    options = set(parameters) - ABOUT_THE_RUN
    priors = PRIOR_CONFIGS if issubclass(configurations[0], CausalLatentsConfig) else ()
    fields = {field.name for configuration in (*configurations, *priors) for field in dataclasses.fields(configuration)}
    assert options == fields - FROM_THE_DATA[command]
    # What is not given comes from the preset: a default of the option's own would be a second one.
    assert all(parameters[name].default is None for name in options)
