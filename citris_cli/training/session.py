"""What every training begins with: options checked, processes met, data loaded, before time is spent."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from citris_cli.artifacts.endings import require_ending
from citris_cli.artifacts.files import check_writable
from citris_cli.artifacts.overwriting import Read, files_read, require_not_read
from citris_cli.artifacts.runs import run_folder
from citris_cli.data.datasets import (
    IndependentData,
    SequenceData,
    TripletData,
    load_held_out,
    load_labelled,
    load_sequences,
)
from citris_cli.data.grouping import merge_columns
from citris_cli.data.sources import Data
from citris_cli.data.truth import check_true_values
from citris_cli.data.variables import Variables
from citris_cli.errors import InputError
from citris_cli.evaluation.validation import Validation
from citris_cli.kinds import Kind
from citris_cli.system import is_stream, name_as_utf8, name_of_utf8
from citris_cli.training.devices import keep_freed_memory, resolve_precision
from citris_cli.training.files import RunFiles
from citris_cli.training.loop import StopRequest
from citris_cli.training.processes import ALONE, Processes, join, own_device, restarted
from citris_cli.training.request import Place, Request

DataT = TypeVar("DataT", bound=SequenceData | IndependentData)


@dataclass(frozen=True)
class Session(Generic[DataT]):
    """One training's data, where it computes, who takes part, whether it has to stop.

    Attributes:
        request: what was asked for.
        data: frames to train on.
        held_out: independent frames that the dataset brings for validation, or None.
        device: of this process.
        stop: remembers a signal.
        processes: that train together.
        validation: what was given with ``val``, in the process that measures; None in the others, and without it.
        validation_sha256: its hash, in all processes; "" without it.
        said: all notes so far.
    """

    request: Request
    data: DataT
    held_out: IndependentData | None
    device: torch.device
    stop: StopRequest = field(default_factory=StopRequest)
    processes: Processes = ALONE
    validation: Validation | None = None
    validation_sha256: str = ""
    said: set[str] = field(default_factory=set)

    def note(self, text: str) -> None:
        """A sentence that the user may want to know."""
        self.said.add(text)
        self.request.on_note(text)

    def note_once(self, text: str) -> None:
        """The same, unless it has been said."""
        if text not in self.said:
            self.note(text)

    def labelled(self) -> IndependentData | None:
        """Independent frames with ground truth, given with ``val`` or brought by the dataset."""
        data = self.validation.independent if self.validation is not None else self.held_out
        return data if data is not None and data.truth is not None and data.factors is not None else None

    def measured_on(self) -> list[IndependentData | TripletData]:
        """What a causal model is measured on, in the process that does so."""
        given = () if self.validation is None else (self.validation.independent, self.validation.triplets)
        return [data for data in dict.fromkeys((self.labelled(), *given)) if data is not None]

    def changes(self) -> tuple[str, ...]:
        """What became of the files of data since they were opened, a clause each."""
        read = (self.data, *([] if self.held_out is None else [self.held_out]), *self.measured_on())
        return tuple(dict.fromkeys(change for data in read for change in data.changes()))

    def base(self, kind: Kind, output: Path | Place | None, variety: str = "") -> Path | None:
        """Where a model was asked to go, or goes by default; None for nowhere.

        Args:
            kind: of the model.
            output: where it was asked to go.
            variety: what sets a training apart from the usual one on the same data, whose model it must not replace.
        """
        return self.place(kind, variety) if isinstance(output, Place) else output

    def files(self, path: Path | None, output: Path | Place | None) -> RunFiles:
        """What a training writes beside its model; checked to be writable.

        Args:
            path: of the model; None for nowhere.
            output: where it was asked to go: perhaps to standard output.
        """
        if path is None:
            return RunFiles(None, None, writes=self.processes.first)
        files = RunFiles.beside(path, to_stdout=output is Place.STDOUT, writes=self.processes.first)
        for one in files.paths:
            check_writable(one, named=one == output)
        self.require_not_read(files, _read_by(self.request))
        return files

    def require_not_read(self, files: RunFiles, read: Read) -> None:
        """Refuse files of a training that are read for it.

        Args:
            files: that are going to be written.
            read: see :func:`citris_cli.artifacts.overwriting.files_read`.

        Raises:
            InputError: one of them is.
        """
        for one in files.paths:
            require_not_read(one, read, named=one == self.request.output)

    def place(self, kind: Kind, variety: str = "") -> Path:
        """Where a model lies under ``runs/`` if nobody says where."""
        name = self.data.name
        if variety:
            name += "-" + name_of_utf8(re.sub(r"[^\w.-]+", "-", name_as_utf8(variety))[: max(35, 99 - len(name))])
        return run_folder(name, self.data.sha256) / kind.file_name


AnySession = Session[SequenceData] | Session[IndependentData]


def open_session(request: Request, load: Callable[[Sequence[Data], Variables | None], DataT]) -> Session[DataT]:
    """Check everything that can be wrong before time is spent; load the data.

    Args:
        request: what is asked for.
        load: reads the training data: where they are, and the variables that were named.

    Raises:
        InputError: whatever is wrong with the request or the data.
    """
    if request.resume and request.output is None:
        raise InputError("a training run that writes no files cannot be resumed; give it an output path")
    if restarted() and request.output is not None:
        request = replace(request, resume=True)
    keep_freed_memory()
    device = own_device(request.device)
    precision = request.changes.get("precision")
    resolve_precision("auto" if precision is None else precision, device)
    processes = join(device)
    if isinstance(request.output, Path):
        _check_place(request, request.output)
    data = load(request.data, request.variables)
    held_out = load_held_out(request.data, data, request.variables)
    # What writes nothing has nothing to save before it ends.
    listens = request.output is not None and threading.current_thread() is threading.main_thread()
    session = Session(request, data, held_out, device, request.stop or StopRequest(listens), processes)
    for note in dict.fromkeys((*data.notes, *(held_out.notes if held_out is not None else ()))):
        session.note(note)
    return session


def _check_place(request: Request, output: Path) -> None:
    """Refuse a place that was named and cannot be that of a model, before its data are read."""
    check_writable(output, named=True)
    if is_stream(output):
        raise InputError(
            f"-o {output}: is not a regular file, and a training run keeps its log and its state beside the model; "
            "use -o - and redirect standard output there"
        )
    require_not_read(output, _read_by(request), named=True)
    require_ending(output, ".safetensors", "models")


def _read_by(request: Request) -> Read:
    """The files that a training reads."""
    models = {"--ae": request.ae, "--teacher": request.teacher}
    paths = {name: one if one is None or isinstance(one, Path) else one.path for name, one in models.items()}
    val = request.val if isinstance(request.val, Path) else None
    data = [one for one in request.data if isinstance(one, Path)]
    read = {name: path for option, one in paths.items() for name, path in files_read(option, one).items()}
    return {**read, **files_read("--val", val), **files_read("DATA", *data)}


def open_labelled(request: Request) -> Session[IndependentData]:
    """A session of a model that learns true values from labelled frames.

    Raises:
        InputError: as :func:`open_session`; values that are not of their factors' kinds.
    """
    session = open_session(request, load_labelled)
    _check_labels(session)
    return session


def open_frames(request: Request) -> Session[SequenceData]:
    """A session of a model that learns from the frames of sequences alone.

    Raises:
        InputError: as :func:`open_session`.
    """
    return open_session(request, partial(load_sequences, lead=request.targets_lead))


def open_sequences(request: Request) -> Session[SequenceData]:
    """A session of a model that learns from sequences with intervention targets, and what it is validated on.

    Raises:
        InputError: as :func:`open_session`; the validation data do not fit.
    """

    def load(paths: Sequence[Data], names: Variables | None) -> SequenceData:
        found = load_sequences(paths, names, lead=request.targets_lead)
        return found if request.group is None else merge_columns(found, request.group)

    session: Session[SequenceData] = open_session(request, load)
    if request.val is None:
        _check_labels(session)
        return session
    data, validation = session.data, None
    if session.processes.first:
        names, columns = request.variables, data.columns
        width, channels = data.frames.width, data.frames.channels
        validation = Validation.load(request.val, data.variables, width, names, columns, channels=channels)
        for note in validation.notes:
            session.note(note)
    digest = session.processes.from_first(validation.sha256 if validation is not None else "")
    return replace(session, validation=validation, validation_sha256=digest)


def _check_labels(session: Session[Any]) -> None:
    """Refuse true values in other units than are taken for granted, before time is spent; say what looks like it."""
    for data in (session.data, session.held_out):
        # Those of the sequences that a causal model is trained on are never looked at.
        if isinstance(data, IndependentData):
            for note in check_true_values(data):
                session.note(note)
