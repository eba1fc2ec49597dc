"""What a training is asked for: data, a place, settings; and how it tells of its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from citris_cli.training.config import TrainingConfig

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.data.sources import Data
    from citris_cli.data.variables import Variables
    from citris_cli.loading import LoadedModel
    from citris_cli.training.loop import StopRequest


class Place(Enum):
    """Where a model goes that is given no path.

    Attributes:
        RUNS: to ``runs/<dataset>/<kind>.safetensors`` under the current folder.
        STDOUT: to standard output; what else a training writes goes to the place of ``RUNS``.
    """

    RUNS = "runs"
    STDOUT = "-"


class Progress(NamedTuple):
    """How far a training run is.

    Attributes:
        title: of the training run: a command may train an autoencoder first.
        step: steps taken.
        total: steps of the whole run.
        per_second: samples per second.
        unit: what a sample is: frames, pairs or windows.
        losses: means since the last call, by name; empty at the start.
        group: runs with the same group run side by side; "" for a run on its own.
    """

    title: str
    step: int
    total: int
    per_second: float
    unit: str
    losses: Mapping[str, float]
    group: str = ""


OnProgress = Callable[[Progress], None]
#: Takes a path, originals and reconstructions, uint8 [n, W, W, C] each.
OnPictures = Callable[[Path, "np.ndarray[Any, Any]", "np.ndarray[Any, Any]"], None]
OnNote = Callable[[str], None]


def ignore(told: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Request:
    """A training, as it is asked for.

    Attributes:
        data: files, directories or arrays, see :mod:`citris_cli.data.datasets`.
        output: where the model goes; None for nowhere: nothing is written.
        preset: name of the settings to begin with.
        model: configuration of the model, instead of the preset's; what follows from the data is filled in.
        training: how to train, instead of the preset's.
        changes: single settings by name, of the model, its prior or the training, which count more than both.
        variables: names and kinds of the data's columns, or None for the file's own.
        targets_lead: ``in`` or ``out``, of data with as many rows of targets as frames; None for what the data look
            like, see :func:`citris_cli.data.datasets.load_sequences`.
        group: columns that are one variable, see :func:`citris_cli.data.grouping.merge_columns`, or None.
        ae: autoencoder of a CITRIS-NF: its file, or the model itself; None for the one of this dataset under ``runs/``,
            else one is trained first.
        teacher: CITRIS-NF whose autoencoder is trained further, taught by what its variables do next; None for none.
        val: held-out data by which the best model is kept, or None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:i`` or ``mps``.
        rounds: how many flows are trained, each but the first on an autoencoder that the one before has taught.
        restarts: how many times a model with causal latents is trained, each with the next seed; the best is kept, see
            :mod:`citris_cli.training.restarts`.
        resume: go on with the training whose state lies there: an unfinished one, or with more steps a finished one.
        overwrite: replace what lies at ``output``, whatever it is; else a model made with other settings stays, and
            the new one goes beside it under ``runs/`` or is refused.
        check: whether to look for what is wrong with sequences first, see
            :func:`citris_cli.evaluation.data_check.check.quick_check`.
        save_every: seconds between saved states.
        command: how it was asked for, for the model's provenance.
        on_progress: is called at the start, and with every line of the log.
        on_note: is called with a sentence that the user may want to know.
        on_pictures: is called at every validation of a model of images, to show reconstructions; None for none.
        stop: ends it in the place of signals, which are left alone; None where signals do.
    """

    data: Sequence[Data]
    output: Path | Place | None = None
    preset: str = "small"
    model: Any = None
    training: TrainingConfig | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    variables: Variables | None = None
    targets_lead: str | None = None
    group: str | None = None
    ae: Path | LoadedModel | None = None
    teacher: Path | LoadedModel | None = None
    val: Data | None = None
    device: str = "auto"
    rounds: int = 1
    restarts: int = 1
    resume: bool = False
    overwrite: bool = False
    check: bool = True
    save_every: float = 30.0
    command: Sequence[str] = ()
    on_progress: OnProgress = ignore
    on_note: OnNote = ignore
    on_pictures: OnPictures | None = None
    stop: StopRequest | None = None
