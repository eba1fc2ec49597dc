"""From a preset and what was asked for to a training that is settled; from a trained network to its model file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic

from torch import nn

from citris_cli.artifacts.files import atomic_write
from citris_cli.artifacts.models import ModelFile, provenance, read_model, write_model
from citris_cli.core.priors import find_prior
from citris_cli.core.reference import ReferenceLatents
from citris_cli.data.frames import Frames
from citris_cli.data.variables import Variables
from citris_cli.errors import CitrisError, InputError
from citris_cli.kinds import Kind, config_to_json
from citris_cli.loading import IN_MEMORY, LoadedModel, load_model, model_config, model_tensors
from citris_cli.training.encodings import weights_sha256
from citris_cli.training.files import AUTOENCODER, RunFiles
from citris_cli.training.loop import train
from citris_cli.training.place import free_path
from citris_cli.training.processes import restarted
from citris_cli.training.record import too_few
from citris_cli.training.request import OnProgress, Place, Progress
from citris_cli.training.resuming import resumed
from citris_cli.training.session import AnySession
from citris_cli.training.settling import ModelT, Settling, TrainingT, with_prior
from citris_cli.training.task import Task
from citris_cli.wording import counted


@dataclass(frozen=True)
class Plan(Generic[ModelT, TrainingT]):
    """One training, settled: what model, how trained, where written.

    Attributes:
        kind: of the model.
        model: its configuration.
        training: how it is trained.
        files: where it is written; their settings tell a later run what this one is.
        resume: whether it goes on with what lies there.
        done: whether it is resumed and a run of these very settings had come to its end.
        seen: of the files when it was settled.
        told: what else the model's provenance tells, by name.
    """

    kind: Kind
    model: ModelT
    training: TrainingT
    files: RunFiles
    resume: bool = False
    done: bool = False
    seen: tuple[object, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What it is going to do, for JSON."""
        return {
            "kind": self.kind.name,
            "model": config_to_json(self.model),
            "training": dataclasses.asdict(self.training),
            "output": None if self.files.model is None else str(self.files.model),
        }

    @property
    def autoencoder_sha256(self) -> str:
        """Hash of the autoencoder that it trains on; "" if that is trained first, or there is none."""
        return str(self.files.settings.get(AUTOENCODER, ""))

    def on_autoencoder(self, sha256: str) -> Plan[ModelT, TrainingT]:
        """The same training, which tells of its autoencoder."""
        files = dataclasses.replace(self.files, settings={**self.files.settings, AUTOENCODER: sha256})
        return dataclasses.replace(self, files=files)

    @contextmanager
    def held(self, session: AnySession) -> Iterator[None]:
        """Keep other trainings away from its files inside the ``with`` block.

        Raises:
            InputError: another training writes there, or has since this one was settled.
        """
        with self.files.locked(session.note):
            if self.files.on_disk and self.files.seen() != self.seen:
                where = self.files.model or self.files.state
                raise InputError(f"{where}: another training run has just written there; run the command again")
            yield

    def finished(self, session: AnySession) -> LoadedModel | None:
        """The model, where there is nothing left to train."""
        if not self.done or self.files.model is None:
            return None
        session.note(f"{self.files.model} is finished already")
        return load_model(self.files.model, session.device)

    def train(self, session: AnySession, task: Task, title: str, reads: Sequence[Frames]) -> dict[str, float]:
        """Train; the last validation's measures. See :func:`citris_cli.training.loop.train`.

        Args:
            session: where the data came from.
            task: the model with its batches.
            title: of the training.
            reads: frames that the task reads.
        """
        if few := too_few(task):
            session.note(few)
        asked = self.training.batch_size
        if asked > task.samples and session.request.changes.get("batch_size") == asked:
            session.note(
                f"--batch-size {asked}: there {'is' if task.samples == 1 else 'are'} only "
                f"{counted(task.samples, task.unit.removesuffix('s'))}, so every batch holds all of them"
            )
        display = _Told(session.request.on_progress, title, self.training.steps, task.unit)
        with session.processes.together(self.files):
            return train(
                task,
                self.training,
                self.files,
                display,
                resume=self.resume,
                save_every=session.request.save_every,
                stop=session.stop,
                processes=session.processes,
                reads=reads,
            )

    def write(
        self,
        session: AnySession,
        network: nn.Module,
        measures: Mapping[str, Any],
        variables: Variables | None = None,
        reference: ReferenceLatents | None = None,
    ) -> LoadedModel:
        """Write the trained model with all that is known of it, and then the state from which it can be made longer.

        Args:
            session: where the data came from.
            network: the trained model, which is put into evaluation mode.
            measures: of the model, for its provenance.
            variables: what its latents or its outputs stand for.
            reference: latents of training frames that it keeps.
        """
        data, files = session.data, self.files
        for change in session.changes():
            session.note(f"{change} while the model was trained; it was trained on the data as they were before")
        origin = provenance(session.request.command, self.training.seed, data.sha256, measures)
        origin["settings"] = dict(files.settings)
        origin["dataset"] = data.name
        origin["columns"] = data.columns.to_json()
        for part in self.kind.inside:
            origin[f"{part}_sha256"] = weights_sha256(getattr(network, part).state_dict())
        origin |= self.told
        if files.on_disk:
            described = None if variables is None else variables.to_json()
            tensors = model_tensors(network, reference)
            contents = ModelFile(self.kind.name, model_config(network), described, origin, tensors)
            write_model(files.model, contents, named=files.model == session.request.output)
            self._write_state(session)
        return LoadedModel(self.kind.name, network.eval(), variables, files.model or IN_MEMORY, origin, reference)

    def adopt(self, session: AnySession, made: Path, told: Mapping[str, Any]) -> LoadedModel:
        """Write the model of another training, to which this one has come, with its log and pictures.

        Args:
            session: where the data came from.
            made: the model's file.
            told: what its provenance tells besides.
        """
        files, theirs = self.files, RunFiles.beside(made)
        if files.on_disk:
            model = read_model(made)
            for mine, other in ((files.metrics, theirs.metrics), (files.pictures, theirs.pictures)):
                if other.exists():
                    content = other.read_bytes()
                    atomic_write(mine, lambda file, content=content: file.write(content))  # type: ignore[misc]
            origin = {**model.provenance, "settings": dict(files.settings), **self.told, **told}
            contents = dataclasses.replace(model, provenance=origin)
            write_model(files.model, contents, named=files.model == session.request.output)
            files.keep_final(files.mark(self.training.steps))
            self._write_state(session)
        session.processes.wait()
        if files.model is not None:
            return load_model(files.model, session.device)
        return dataclasses.replace(load_model(made, session.device), path=IN_MEMORY)

    def _write_state(self, session: AnySession) -> None:
        """What a longer training of a model that is written needs; without it the model is finished all the same."""
        files = self.files
        if files.model is None and not files.state.with_name(files.state.name.replace(".state.", ".")).exists():
            files.remove_state()  # the model went to standard output, and nothing of it stays here
            return
        try:
            files.save_final()
        except CitrisError as error:
            files.remove_state()  # an older one would be of an unfinished training, which this is not
            session.note(
                f"{files.model or 'the model'} is finished; its last state could not be kept, so --resume cannot "
                f"extend the training run ({error})"
            )


class _Told:
    """Tells whoever listens of a training's progress."""

    def __init__(self, on_progress: OnProgress, title: str, total: int, unit: str) -> None:
        self._tell, self._title, self._total, self._unit = on_progress, title, total, unit
        self.update(0, 0.0, {})

    def update(self, step: int, rate_per_second: float, losses: Mapping[str, float]) -> None:
        """Steps done, samples a second, current losses."""
        self._tell(Progress(self._title, step, self._total, rate_per_second, self._unit, losses))


def make_plan(
    session: AnySession,
    kind: Kind,
    preset: tuple[ModelT, TrainingT],
    changes: Mapping[str, Any],
    output: Path | Place | None,
    learned: Mapping[str, str] | None = None,
    may_begin: bool = False,
    on_any: bool = False,
) -> Plan[ModelT, TrainingT]:
    """The preset, or the earlier run's settings when resuming, with the changes that were asked for.

    Args:
        session: data and device.
        kind: of the model.
        preset: how the model is built and trained unless a change says otherwise.
        changes: single settings by name.
        output: where the model goes.
        learned: what else makes the run what it is, by name (:data:`.resuming.LEARNED`); what is "" is left out.
        may_begin: whether it begins anew where there is nothing to resume.
        on_any: whether what is resumed goes on with the autoencoder that it was begun on, whatever ``learned`` says.

    Raises:
        InputError: no such setting, a value that it cannot have; another training lies where it should go, or there is
            none to resume.
    """
    learned = {name: told for name, told in (learned or {}).items() if told}
    model, training = with_prior(kind, preset, changes, session.request.preset)
    # The device's own, unless an earlier training or a change says otherwise.
    configs = model, dataclasses.replace(training, precision="auto")
    begin = Settling(session, kind, changes, learned, configs, on_any)
    base = session.base(kind, output, _variety(changes, kind, learned))
    if base is None:
        return _begun(begin, session.files(None, output))
    if session.request.resume:
        try:
            earlier = resumed(begin, base, output)
        except InputError:
            if not restarted():
                raise
            earlier = None
        if earlier is not None:
            own = earlier.model, earlier.training, earlier.files
            return Plan(kind, *own, resume=True, done=earlier.done, seen=earlier.seen)
        if not may_begin and not restarted():
            raise InputError(
                f"--resume: no training run of {kind.title} has been started in {base}; leave the option out to start "
                "one"
            )
    settings = begin.settings(*begin.settled())
    overwrite, piped = session.request.overwrite, output is Place.STDOUT
    path = free_path(base, isinstance(output, Path), kind, settings, overwrite, session.note, piped)
    return _begun(begin, session.files(path, output))


def _begun(begin: Settling[ModelT, TrainingT], files: RunFiles) -> Plan[ModelT, TrainingT]:
    """The plan of a training that begins, written to these files."""
    model, training = begin.settled()
    files = dataclasses.replace(files, settings=begin.settings(model, training))
    return Plan(begin.kind, model, training, files, seen=files.seen())


def _variety(changes: Mapping[str, Any], kind: Kind, learned: Mapping[str, str]) -> str:
    """What sets the training apart: columns that were merged, and a prior that makes another model of it."""
    parts = [group.partition("=")[0] for group in learned.get("groups", "").split(",") if group]
    name = changes.get("prior")
    if name is not None and find_prior(name, kind.name).title is not None:
        parts.append(name)
    return "-".join(parts)
