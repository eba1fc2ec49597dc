"""What is known of a training on its way: losses at short intervals, measures at long ones, whether it goes well."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from citris_cli.data.identifiability import few_samples
from citris_cli.errors import TrainingDivergedError
from citris_cli.training.config import TrainingConfig
from citris_cli.training.files import RunFiles
from citris_cli.training.processes import Processes
from citris_cli.training.task import Task

#: A loss this many times larger than at the start of the training will not come back.
DIVERGED = 1e3
#: Up to so many steps, every one of them is logged; in longer trainings so many lines, but one for 50 steps at least.
LINES, STEPS_A_LINE = 100, 50
VALIDATIONS = 10


def too_few(task: Task) -> str:
    """A clause on how few samples there are and how many are needed; "" where there are enough."""
    return few_samples(task.samples, task.unit.removesuffix("s"))


def _advice(task: Task, config: TrainingConfig) -> str:
    """What to do where a training diverged. On a single sample every one does, whatever its rate."""
    few = too_few(task)
    if task.samples == 1:
        return few
    slower = f"try a learning rate below {config.lr:g} with --lr"
    return f"{slower}; besides, {few}" if few else slower


class ProgressDisplay(Protocol):
    """Where the loop reports to."""

    def update(self, step: int, rate_per_second: float, losses: dict[str, float]) -> None:
        """Steps done, frames or pairs a second, current losses."""


class Record:
    """Reads losses and measures when it is time, refuses those of a training that diverged, logs and shows them.

    Args:
        task: the model and its measures.
        config: how it is trained.
        files: where the log and the best model go.
        display: shows progress.
        processes: that train together; the first of them measures.
        whole: makes of losses of this process's share of a batch those of the whole batch.
        step: steps taken before.
    """

    def __init__(
        self,
        task: Task,
        config: TrainingConfig,
        files: RunFiles,
        display: ProgressDisplay,
        processes: Processes,
        whole: Callable[[Tensor], Tensor],
        step: int,
    ) -> None:
        self._task = task
        self._steps = config.steps
        self._files = files
        self._display = display
        self._processes = processes
        self._log_every = max(1, min(STEPS_A_LINE, config.steps // LINES))
        self._validate_every = max(self._log_every, math.ceil(config.steps / VALIDATIONS))
        self._window = LossWindow(next(task.model.parameters()).device, whole)
        self._sound = Soundness(files, _advice(task, config))
        self._best = BestModel(task, files, step)
        self._measures: dict[str, float] = {}

    def add(self, losses: dict[str, Tensor]) -> None:
        """Take one step's scalar losses, without waiting for the device."""
        self._window.add(losses)

    def check(self, step: int, loss: Tensor | None, tensors: Iterable[Tensor]) -> None:
        """Refuse a loss and tensors of a training that diverged; see :meth:`Soundness.check`."""
        self._sound.check(step, {} if loss is None else {"loss": float(loss)}, tensors)

    def tell(self, step: int, lr: float, at_once: bool) -> None:
        """After a step, log and show its losses and measure the model, each if it is time.

        Args:
            step: steps taken.
            lr: learning rate of the last of them.
            at_once: log the losses in any case.

        Raises:
            TrainingDivergedError: see :meth:`Soundness.check`.
            CitrisError: the log or the best model cannot be written.
        """
        last = step == self._steps
        if step % self._log_every == 0 or last or at_once:
            losses, rate = self._window.read(self._task.batch_size)
            self._sound.check(step, losses)
            self._files.log(step, {**losses, "lr": lr, "per_second": rate})
            self._display.update(step, rate, losses)
        if step % self._validate_every == 0 or last:
            if self._processes.first:
                self._task.settle()
                self._measures = self._task.validate()
                self._sound.check(step, self._measures)
                self._files.log(step, self._measures)
                self._best.offer(step, self._measures)
            self._processes.wait()
            self._window.restart_clock()

    def best_measures(self) -> dict[str, float]:
        """The last validation's measures; for a task with a criterion the best's, whose weights the model is given."""
        if not self._measures:  # of a training that was resumed at its end
            self._task.settle()
            self._measures = self._task.validate()
        return self._best.restore(self._measures)


class BestModel:
    """Keeps the weights of the best validation, for a task that has a criterion; for others it does nothing.

    Args:
        task: the model, and the measure that tells which is best.
        files: where the best weights are kept while the training goes on.
        step: steps taken before; the best of these is known from the files.
    """

    def __init__(self, task: Task, files: RunFiles, step: int) -> None:
        self._task = task
        self._files = files
        self._measures = files.best_measures(step) if task.criterion is not None else {}

    def offer(self, step: int, measures: Mapping[str, float]) -> None:
        """Keep the model as it is if its measures are better than any before."""
        criterion = self._task.criterion
        if criterion is None or criterion not in measures:
            return
        if not self._measures or measures[criterion] > self._measures[criterion]:
            self._measures = dict(measures)
            self._files.save_best(step, measures, self._task.model)

    def restore(self, measures: dict[str, float]) -> dict[str, float]:
        """Give the model its best weights; their measures, with the step that they are of."""
        if not self._measures:
            return measures
        return {**self._measures, "best_step": self._files.load_best(self._task.model)}


class Soundness:
    """Tells a training that diverged, by what has been read from the device anyway.

    Args:
        files: where the log and the last good state are.
        advice: what to do then, in a clause.
    """

    def __init__(self, files: RunFiles, advice: str) -> None:
        self._files = files
        self._advice = advice
        self._scale: float | None = None

    def check(self, step: int, values: Mapping[str, float], tensors: Iterable[Tensor] = ()) -> None:
        """Refuse numbers and tensors that are not finite, and a loss far above the first one.

        Args:
            step: steps taken, for the message.
            values: losses or measures by name.
            tensors: weights and all that is kept with them.

        Raises:
            TrainingDivergedError: the training cannot go on from here.
        """
        bad = next((f"{name} {value:.3g}" for name, value in values.items() if not math.isfinite(value)), None)
        loss = values.get("loss")
        if bad is None and loss is not None:
            self._scale = self._scale or abs(loss) + 1
            bad = f"loss {loss:.3g}" if loss > DIVERGED * self._scale else None
        if bad is None and not all(bool(value.isfinite().all()) for value in tensors):
            bad = "weights that are not finite"
        if bad is None:
            return
        self._files.end_diverged(step, bad)
        raise TrainingDivergedError(f"training diverged at step {step} ({bad}); {self._files.kept()}: {self._advice}")


class LossWindow:
    """Sums of named losses on the device since they were last read, so that a step does not wait for the device.

    Args:
        device: where they are.
        whole: makes of losses of this process's share of a batch those of the whole batch.
    """

    def __init__(self, device: torch.device, whole: Callable[[Tensor], Tensor] = lambda losses: losses) -> None:
        self.device = device
        self._whole = whole
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave the time until now (a validation) out of the next rate."""
        self._since = time.monotonic()
        self._timed = 0

    def add(self, losses: dict[str, Tensor]) -> None:
        """Add one step's scalar losses."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps += 1
        self._timed += 1

    def read(self, batch_size: int) -> tuple[dict[str, float], float]:
        """Mean of every loss since the last reading, and items a second; then starts anew."""
        names = list(self._sums)
        means = self._whole(torch.stack([self._sums[name].float() for name in names]) / self._steps).tolist()
        rate = self._timed * batch_size / max(1e-9, time.monotonic() - self._since)
        self._sums.clear()
        self._steps = 0
        self.restart_clock()
        return dict(zip(names, means, strict=True)), rate
