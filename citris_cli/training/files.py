"""The files of a training run: its resumable state, its metrics and, at the end, its model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from citris_cli.artifacts.files import atomic_write
from citris_cli.artifacts.locks import HeldError, held
from citris_cli.artifacts.models import ModelFile, read_model, read_model_header, write_model
from citris_cli.errors import CitrisError, InputError
from citris_cli.training.encodings import weights_sha256

STATE_KIND = "training_state"
#: In a run's settings, the hash of the weights of the autoencoder that it is trained on.
AUTOENCODER = "autoencoder_sha256"
#: Settings that not every file tells of: an autoencoder may be trained only later, and earlier versions named neither.
_UNTOLD = (AUTOENCODER, "variables")


def same_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether settings are those of one run; what either does not tell of (:data:`_UNTOLD`) does not count."""
    untold = [name for name in _UNTOLD if name not in one or name not in other]
    first, second = ({name: value for name, value in each.items() if name not in untold} for each in (one, other))
    return first == second


@dataclass(frozen=True)
class RunFiles:
    """Where one training keeps what it writes.

    Attributes:
        model: the finished model, or None for standard output or for nowhere.
        stem: path without suffix, beside which ``.state.safetensors``, ``.metrics.jsonl`` and others lie; None: nothing
            is written, and what has to be kept while the training goes on is kept in memory.
        settings: what the run is (model, training, data), stored in the state and compared when resuming.
        writes: whether anything is written; of several processes that train together, only the first one does.
    """

    model: Path | None
    stem: Path | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    writes: bool = True
    _in_memory: dict[str, ModelFile] = field(default_factory=dict)

    @classmethod
    def beside(cls, model: Path, to_stdout: bool = False, writes: bool = True) -> RunFiles:
        """The files of a training that lie beside its model, which itself may go to standard output."""
        stem = model.with_name(model.name.removesuffix(".safetensors"))
        return cls(None if to_stdout else model, stem, writes=writes)

    @property
    def state(self) -> Path:
        """Resumable state of an unfinished training."""
        return self._beside(".state.safetensors")

    @property
    def best(self) -> Path:
        """Weights of the best validation so far, for a training that keeps the best."""
        return self._beside(".best.safetensors")

    @property
    def metrics(self) -> Path:
        """One JSON object a line: step, losses, rate, learning rate, measures."""
        return self._beside(".metrics.jsonl")

    @property
    def lock(self) -> Path:
        """Is there, and locked, while a training goes on; hidden, with the number of the process that holds it."""
        state = self.state
        return state.with_name(f".{state.name.removesuffix('.state.safetensors')}.lock")

    @property
    def pictures(self) -> Path:
        """Reconstructions beside originals, as of the last validation."""
        return self._beside(".reconstructions.png")

    @property
    def paths(self) -> list[Path]:
        """All files that a training may write here."""
        beside = [self.state, self.best, self.metrics, self.lock, self.pictures]
        return beside if self.model is None else [self.model, *beside]

    def _beside(self, suffix: str) -> Path:
        if self.stem is None:
            raise InputError("this training run writes no files; give it an output path")
        return self.stem.with_name(self.stem.name + suffix)

    @property
    def on_disk(self) -> bool:
        """Whether this process writes, to a place that there is."""
        return self.writes and self.stem is not None

    def kept(self) -> str:
        """Part of a sentence: what is there to go back to."""
        if self.stem is None:
            return "nothing is kept without an output path"
        return f"the last good state is kept in {self.state}" if self.state.exists() else "no state had been saved yet"

    @contextmanager
    def locked(self, note: Callable[[str], object]) -> Iterator[None]:
        """Keep other trainings away from these files inside the ``with`` block; the lock ends with this process.

        Args:
            note: is told where the file system has no locks.

        Raises:
            InputError: another training writes here now.
        """
        if not self.on_disk:
            yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self.lock))
            except HeldError as error:
                by = f" by process {error.process}" if error.process else ""
                raise InputError(
                    f"{self.model or self.state}: is being trained{by}; wait until that has ended, or name another "
                    "file with -o"
                ) from None
            except (OSError, NotImplementedError) as error:
                reason = (getattr(error, "strerror", None) or str(error)).lower()
                note(f"{self.lock}: cannot be locked ({reason}); make sure that no other training run writes there")
            yield

    def seen(self) -> tuple[object, ...]:
        """Changes whenever the model or the state that lie here do."""
        found = []
        for path in () if self.stem is None else (self.model, self.state):
            with suppress(OSError, AttributeError):
                about = path.stat()  # type: ignore[union-attr]
                found.append((path, about.st_ino, about.st_size, about.st_mtime_ns))
        return tuple(found)

    def saved_settings(self) -> dict[str, Any] | None:
        """Settings of the training whose state lies here, unfinished or at its end, or None.

        Raises:
            InputError: the file is there but is not a training state.
        """
        if self.stem is None or not self.state.exists():
            return None
        header = read_model_header(self.state)
        settings = header.config.get("settings")
        if header.kind != STATE_KIND or not isinstance(settings, dict):
            raise InputError(
                f"{self.state}: a file of kind {header.kind} that does not hold the state of a training run; move it "
                "away and run again"
            )
        part = "model.autoencoder."
        if AUTOENCODER not in settings and any(name.startswith(part) for name in header.tensors):
            # Of an earlier version: its weights tell.
            tensors = read_model(self.state).tensors
            weights = {name[len(part) :]: value for name, value in tensors.items() if name.startswith(part)}
            settings = {**settings, AUTOENCODER: weights_sha256(weights)}
        return settings

    def saved_step(self) -> int:
        """Steps that the training whose state lies here had taken; 0 if there is no state.

        Raises:
            InputError: the file is there but is none of ours, or damaged.
        """
        if self.stem is None or not self.state.exists():
            return 0
        step = read_model_header(self.state).config.get("step")
        return step if isinstance(step, int) else 0  # load_state refuses what is no number

    def state_of(
        self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> ModelFile:
        """A copy, on the CPU, of everything that the step after ``step`` steps depends on."""
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
        tensors["generator"] = generator.get_state()
        return ModelFile(STATE_KIND, {"step": step, "settings": dict(self.settings)}, None, {}, _detached(tensors))

    def mark(self, step: int) -> ModelFile:
        """A state that holds no weights: of a training whose parts lie elsewhere, that was begun or is at its end."""
        return ModelFile(STATE_KIND, {"step": step, "settings": dict(self.settings)}, None, {}, {})

    def save_state(self, state: ModelFile) -> None:
        """Write a state of :meth:`state_of`, atomically."""
        if self.on_disk:
            write_model(self.state, state)

    def keep_final(self, state: ModelFile) -> None:
        """Hold the state after the last step until :meth:`save_final`: the smaller model is written first."""
        if self.on_disk:
            self._in_memory["final"] = state

    def save_final(self) -> None:
        """Write the state after the last step, if one is held, from which the training can be made longer.

        Raises:
            CitrisError: it cannot be written.
        """
        if "final" in self._in_memory:
            self.save_state(self._in_memory["final"])
            del self._in_memory["final"]

    def load_state(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        device: torch.device,
    ) -> int:
        """Restore a saved state in place.

        Returns:
            Steps taken before it was saved; 0 if there is no state, or one that only says that the training has begun
            (nothing is changed then).

        Raises:
            InputError: the state does not fit the model.
        """
        if self.stem is None or not self.state.exists():
            return 0
        state = read_model(self.state)
        if state.config["step"] == 0 and not state.tensors:
            return 0
        weights = {name[len("model.") :]: value for name, value in state.tensors.items() if name.startswith("model.")}
        per_parameter: dict[int, dict[str, Tensor]] = {}
        try:
            for name, value in state.tensors.items():
                if name.startswith("optimizer."):
                    _, index, key = name.split(".")
                    per_parameter.setdefault(int(index), {})[key] = value
            model.load_state_dict(weights)
            optimizer.load_state_dict({"state": per_parameter, "param_groups": optimizer.state_dict()["param_groups"]})
            # A fused optimiser pairs weights with moments by their place in memory, and a file keeps no strides.
            for parameter, values in optimizer.state.items():
                for name, value in values.items():
                    if value.shape == parameter.shape:
                        values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            generator.set_state(state.tensors["generator"])
            return int(state.config["step"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.state}: does not fit this model; remove it, or resume with the options it was started with"
            ) from error

    def save_best(self, step: int, measures: Mapping[str, float], model: nn.Module) -> None:
        """Write the weights that gave the best validation so far, atomically."""
        if not self.writes:
            return
        config = {"step": step, "measures": dict(measures), "settings": dict(self.settings)}
        best = ModelFile(STATE_KIND, config, None, {}, _detached(model.state_dict()))
        if self.stem is None:
            self._in_memory["best"] = best
        else:
            write_model(self.best, best)

    def best_measures(self, step: int) -> dict[str, float]:
        """Measures of the best validation of this training among its first ``step`` steps; empty if there is none.

        Raises:
            InputError: its weights, which are needed at the end, are damaged.
        """
        if self.stem is None or step == 0 or not self.best.exists():
            return {}
        try:
            best = read_model(self.best)
        except InputError as error:
            raise InputError(
                f"{error}, or remove {self.best.name} to go on without the best validation so far"
            ) from error
        # How it is trained may change when it is resumed.
        if not same_run(_but_training(best.config.get("settings", {})), _but_training(self.settings)):
            return {}
        # One of a step that will be taken again is found again when it is.
        return best.config.get("measures", {}) if best.config.get("step", step + 1) <= step else {}

    def load_best(self, model: nn.Module) -> int:
        """Give the model the weights of the best validation; the step that they are of."""
        best = self._in_memory["best"] if self.stem is None else read_model(self.best)
        model.load_state_dict(best.tensors)
        return int(best.config["step"])

    def start_metrics(self, step: int) -> None:
        """Keep the metrics of steps up to ``step`` (a resumed run) and drop those of steps that will be taken again.

        Raises:
            CitrisError: the file cannot be read or written.
        """
        if not self.on_disk:
            return
        kept = []
        if step > 0 and self.metrics.exists():
            with self._open_metrics("r") as file:
                lines = file.read().splitlines()
            for line in lines:
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
                except (ValueError, KeyError, TypeError):
                    continue  # the line at which the run was killed
        atomic_write(self.metrics, lambda file: file.write("".join(kept).encode()))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line of metrics; values that are not finite become null.

        Raises:
            CitrisError: the file cannot be written, as when the disk is full.
        """
        if not self.on_disk:
            return
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self._open_metrics("a") as file:
            file.write(json.dumps({"step": step, **finite}) + "\n")

    def end_diverged(self, step: int, what: str) -> None:
        """Leave nothing of a training that diverged that could pass for one that went well.

        Its log ends with a line that says so, which a training that goes on from an earlier state drops; and the best
        weights stay only beside a state that they belong to.

        Args:
            step: at which that was found.
            what: was found.
        """
        if not self.on_disk:
            return
        with suppress(CitrisError), self._open_metrics("a") as file:  # it has failed in any case, and says so
            file.write(json.dumps({"step": step, "diverged": what}) + "\n")
        if not self.state.exists():
            self.best.unlink(missing_ok=True)

    @contextmanager
    def _open_metrics(self, mode: str) -> Iterator[IO[str]]:
        try:
            with self.metrics.open(mode, errors="replace") as file:
                yield file
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CitrisError(
                f"{self.metrics}: the metrics of the training run cannot be written there ({reason}); free some space "
                "or make the file writable, then run the same command with --resume"
            ) from error

    def remove_state(self) -> None:
        """Remove the state, which is none to go back to any more."""
        if self.on_disk:
            self.state.unlink(missing_ok=True)
            self.best.unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove what an earlier training left here, whatever it is; but for the lock."""
        if self.on_disk:
            for path in self.paths:
                if path != self.lock:
                    path.unlink(missing_ok=True)


def _but_training(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "training"}


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # A copy: safetensors refuses tensors that share memory, as tied or expanded ones do.
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
