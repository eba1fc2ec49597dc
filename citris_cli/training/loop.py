"""The training loop of every model: batch, loss, backward, clip, step; measure, save, stop.

It can be killed at any moment: the state on disk is whole or absent, and a resumed run takes the very steps that an
uninterrupted one takes, because batches depend on the step alone and the noise generator's state is saved.
Several processes may go through it together (:mod:`citris_cli.training.processes`); what one of them decides by its
clock or by a signal, all agree on first, so that they take every turn at the same step.
The state on disk is also good: it is written only after its weights have given the next batch a finite loss. It is of
this training: what an earlier one left is removed when a new one begins.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from citris_cli.artifacts.models import ModelFile
from citris_cli.errors import InputError, InterruptedRunError, TrainingDivergedError
from citris_cli.training.devices import compute_in
from citris_cli.training.files import RunFiles
from citris_cli.training.processes import ALONE, BatchLoss, Processes
from citris_cli.training.schedule import warmup_cosine

#: A loss this many times larger than at the start of the training will not come back.
DIVERGED = 1e3


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        steps: optimiser steps.
        batch_size: frames (autoencoder), pairs of frames (CITRIS-NF) or windows of frames (CITRIS-VAE) a step.
        lr: learning rate at the top of the schedule.
        warmup: steps of linear warm-up.
        clip: bound on the norm of the gradient.
        seed: of weights, batches and noise.
        precision: float32, tf32 or bf16.
    """

    steps: int
    batch_size: int
    lr: float
    clip: float
    warmup: int = 100
    seed: int = 0
    precision: str = "float32"


class Task(Protocol):
    """What the loop needs to know of a training: the model, its optimiser groups, its loss and its measures."""

    unit: str
    #: Samples a step, fewer than was asked for where there are not so many.
    batch_size: int
    #: The measure by which the best model is kept (more is better), or None where the last one is.
    criterion: str | None

    @property
    def model(self) -> nn.Module:
        """The model in training, on its device."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups, each with ``params`` and ``lr`` (the top of its schedule)."""

    def begin(self, generator: torch.Generator) -> None:
        """Whatever the first batch sets, before step 0 of a training that is not resumed."""

    def loss(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss of the step's batch and its named parts, detached scalars."""

    def validate(self) -> dict[str, float]:
        """Measures of the model as it is; changes neither its mode nor any random state."""


class ProgressDisplay(Protocol):
    """Where the loop reports to; see :class:`citris_cli.show.console.Progress`."""

    def update(self, step: int, rate_per_second: float, losses: dict[str, float]) -> None:
        """Steps done, frames or pairs a second, current losses."""


class StopRequest:
    """Remembers SIGINT and SIGTERM so that the loop can save before it ends; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Handle both signals inside the ``with`` block; earlier handlers come back after it."""
        earlier = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self.signal_number is not None:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.signal_number = number


def train(
    task: Task,
    config: TrainingConfig,
    files: RunFiles,
    display: ProgressDisplay,
    *,
    resume: bool = False,
    save_every: float = 30.0,
    stop: StopRequest | None = None,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Train ``task.model`` for ``config.steps`` steps; the final state is saved, for the caller to remove.

    Args:
        task: the model with its batches.
        config: how to train.
        files: where state and metrics go.
        display: shows progress.
        resume: continue from the state in ``files`` if there is one.
        save_every: seconds between saved states.
        stop: remembers a signal; the caller's own tells it of one that came too late to stop before the last step.
        processes: that train this model together, each with a task of its own and the same arguments.

    Returns:
        The last validation's measures; in all processes but the first, nothing.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM came; the state is saved.
        TrainingDivergedError: a loss, a measure or a weight is not finite, or the loss exploded; the last good state
            is kept.
        InputError: the state does not fit, or a batch is too small for the processes.
        CitrisError: the state or the metrics cannot be written.
    """
    device = next(task.model.parameters()).device
    optimizer = torch.optim.AdamW(task.parameter_groups(), weight_decay=0.0, fused=device.type != "mps")
    rates = [group["lr"] for group in optimizer.param_groups]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    generator = torch.Generator(device=device).manual_seed(config.seed)
    step = files.load_state(task.model, optimizer, generator, device) if resume else 0
    if processes.agree(step) != [step]:  # and from here on, no process looks for what an earlier training left
        raise InputError(f"{files.state}: not all processes can read it; keep it where all of them find it")
    batch_loss = BatchLoss(task, processes)
    files.start_metrics(step)
    if step == 0:
        batch_loss.begin(generator)
    if not resume:
        files.remove_state()  # that of an earlier training is none to go back to from this one
    task.model.train()

    log_every = max(1, min(50, config.steps // 100))
    validate_every = max(log_every, math.ceil(config.steps / 10))
    window = LossWindow(device, batch_loss.whole)
    sound = Soundness(files, config)
    state: ModelFile | None = None
    measures: dict[str, float] = {}
    best = BestModel(task, files, step)
    resumed_at = step
    saved_at = time.monotonic()
    with (stop or StopRequest()).listening() as stop:
        while step < config.steps:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * warmup_cosine(step, config.warmup, config.steps)
            with compute_in(config.precision, device):
                loss, parts = batch_loss.of(step, generator)
            if state is not None:
                sound.check(step + 1, {"loss": float(batch_loss.whole(loss.detach()))}, state.tensors.values())
                files.save_state(state)
                state = None
                (number,) = processes.agree(stop.signal_number or 0)
                if number:
                    raise _interrupted(step, number, files, config)
            optimizer.zero_grad(set_to_none=True)
            batch_loss.backward(loss)
            norm = nn.utils.clip_grad_norm_(parameters, config.clip)
            optimizer.step()
            window.add({"loss": loss.detach(), **parts, "gradient_norm": norm})
            step += 1

            saving = any(processes.agree(stop.signal_number or 0, time.monotonic() - saved_at > save_every))
            if step % log_every == 0 or step == config.steps or saving:
                losses, rate = window.read(task.batch_size)
                sound.check(step, losses)
                files.log(step, {**losses, "lr": optimizer.param_groups[0]["lr"], "per_second": rate})
                display.update(step, rate, losses)
            if step % validate_every == 0 or step == config.steps:
                if processes.first:
                    measures = task.validate()
                    sound.check(step, measures)
                    files.log(step, measures)
                    best.offer(step, measures)
                processes.wait()
                window.restart_clock()
            if saving:
                # Copied now, before the next loss moves random state and batch statistics; written when it is known.
                state = files.state_of(step, task.model, optimizer, generator)
                saved_at = time.monotonic()
        sound.check(step, {}, task.model.state_dict().values())
        if step > resumed_at:
            # What the caller does with the model may take a while, and no step should be taken twice for it.
            files.save_state(state or files.state_of(step, task.model, optimizer, generator))
        stop.signal_number = processes.agree(stop.signal_number or 0)[0] or None
        return best.restore(measures or task.validate()) if processes.first else {}


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


@contextmanager
def finishing(files: RunFiles, stop: StopRequest | None = None) -> Iterator[None]:
    """What is done with a trained model after its last step: a signal ends it, saying that no step is lost.

    Args:
        files: where the final state is.
        stop: may remember a signal that came in the last step; it counts as well, where the block takes long.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM came inside the ``with`` block.
    """

    def end(number: int, frame: object = None) -> None:
        raise InterruptedRunError(
            f"stopped after the last step, before the model was written; the state is saved in {files.state}: "
            "run the same command with --resume to finish without training again",
            number,
        )

    if stop is not None and stop.signal_number is not None:
        end(stop.signal_number)
    earlier = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


class Soundness:
    """Tells a training that diverged, by what has been read from the device anyway.

    Args:
        files: where the last good state is, for the message.
        config: how the model is trained.
    """

    def __init__(self, files: RunFiles, config: TrainingConfig) -> None:
        self._files = files
        self._config = config
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
        path = self._files.state
        kept = f"the last good state is kept in {path}" if path.exists() else "no state had been saved yet"
        raise TrainingDivergedError(
            f"training diverged at step {step} ({bad}); {kept}: try a learning rate below {self._config.lr:g} with --lr"
        )


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


def _interrupted(step: int, number: int, files: RunFiles, config: TrainingConfig) -> InterruptedRunError:
    return InterruptedRunError(
        f"stopped at step {step} of {config.steps}; the state is saved in {files.state}: "
        "run the same command with --resume to go on",
        number,
    )
