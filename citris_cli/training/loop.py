"""The training loop of every model: batch, loss, backward, clip, step; measure, save, stop.

It can be killed at any moment: the state on disk is whole or absent, and a resumed run takes the very steps that an
uninterrupted one takes, because batches depend on the step alone and the noise generator's state is saved.
Several processes may go through it together (:mod:`citris_cli.training.processes`); what one of them decides by its
clock or by a signal, all agree on first, so that they take every turn at the same step.
The state on disk is also good: it is written only after its weights have given the next batch a finite loss, and is of
steps that all saw the same data. It is of this training: what an earlier one left is removed when a new one begins.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType

import torch

from citris_cli.artifacts.files import discard_unfinished
from citris_cli.artifacts.models import ModelFile
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.data.frames import Frames
from citris_cli.errors import ChangedDataError, CitrisError, InputError, InterruptedRunError
from citris_cli.system import closed_terminal_signal
from citris_cli.training.config import TrainingConfig
from citris_cli.training.devices import apart_from_other_work
from citris_cli.training.files import RunFiles
from citris_cli.training.processes import ALONE, BatchLoss, Processes
from citris_cli.training.record import ProgressDisplay, Record
from citris_cli.training.schedule import rates_at
from citris_cli.training.steps import steps_of
from citris_cli.training.task import Task


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
    reads: Sequence[Frames] = (),
) -> dict[str, float]:
    """Train ``task.model`` for ``config.steps`` steps; ``files`` hold the final state, for the caller to save.

    Args:
        task: the model with its batches.
        config: how to train.
        files: where state and metrics go.
        display: shows progress.
        resume: continue from the state in ``files`` if there is one.
        save_every: seconds between saved states.
        stop: remembers a signal, also for the caller, whom it tells of one that came too late to stop before the last
            step.
        processes: that train this model together, each with a task of its own and the same arguments.
        reads: frames that the task reads, perhaps in files that are mapped: no state is saved of steps that saw others.

    Returns:
        The last validation's measures; in all processes but the first, nothing.

    Raises:
        InterruptedRunError: a signal (:func:`that_stop`) came; the state is saved.
        TrainingDivergedError: a loss, a measure or a weight is not finite, or the loss exploded; the last good state
            is kept.
        InputError: the state does not fit, or a batch is too small for the processes.
        ChangedDataError: a file that is read was cut short or overwritten; the last good state is kept.
        CitrisError: the state or the metrics cannot be written.
    """
    device = next(task.model.parameters()).device
    groups = task.parameter_groups()
    optimizer = ClippedAdamW(groups, config.clip)
    generator = torch.Generator(device=device).manual_seed(config.seed)
    step, batch_loss = _begin(task, files, optimizer, generator, processes, resume)
    record = Record(task, config, files, display, processes, batch_loss.whole, step)
    states = States(files, config, save_every, processes)
    resumed_at = step
    steps = steps_of(task, batch_loss, optimizer, generator, config)
    stop = stop or StopRequest()
    with stop.listening(), apart_from_other_work(device), _changes_told(files):
        while step < config.steps:
            rates = rates_at(step, groups, config)
            losses = steps.take(step, rates)
            if states.copied is not None:
                # The state after the step before is good: its weights have given this batch a finite loss.
                record.check(step + 1, batch_loss.whole(losses["loss"]), states.copied.tensors.values())
                states.write(step, states.copied, stop)
            record.add(losses)
            step += 1

            saving = states.due(stop)
            record.tell(step, rates[0], at_once=saving)
            if saving:
                _require_unchanged(reads)
                states.copy(files.state_of(step, task.model, optimizer, generator))
        record.check(step, None, task.model.state_dict().values())
        _require_unchanged(reads)
        if step > resumed_at and files.on_disk:
            files.keep_final(states.copied or files.state_of(step, task.model, optimizer, generator))
        stop.signal_number = processes.agree(stop.signal_number or 0)[0] or None
        return record.best_measures() if processes.first else {}


def _require_unchanged(reads: Sequence[Frames]) -> None:
    for frames in reads:
        frames.require_unchanged()


@contextmanager
def _changes_told(files: RunFiles) -> Iterator[None]:
    """Say of data that change under a training what is left of it."""
    try:
        yield
    except ChangedDataError as error:
        again = "with --resume, or" if files.stem is not None and files.state.exists() else "again, or"
        raise ChangedDataError(
            error.change,
            f"{files.kept()}: restore the data and run the same command {again} start over with other data",
        ) from None


def that_stop() -> list[signal.Signals]:
    """The signals at which a training saves its state and ends: Ctrl-C, SIGTERM, and SIGHUP unless it is ignored.

    The last comes when the terminal is closed, where a system knows it; ``nohup`` ignores it.
    """
    closing = closed_terminal_signal()
    ignored = closing is None or signal.getsignal(closing) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored or closing is None else [closing])]


@contextmanager
def _handled(handle: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Call a function at these signals inside the ``with`` block; earlier handlers come back after it."""
    earlier = {number: signal.signal(number, handle) for number in that_stop()}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _end_at_once(number: int, frame: FrameType | None = None) -> None:
    """End the process by a signal that came a second time, without a file that is half written."""
    discard_unfinished()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


class StopRequest:
    """Remembers a signal so that the loop can save before it ends; a second one ends the process at once.

    Args:
        listens: whether it takes the signals over; if not, they are handled as they were.
    """

    def __init__(self, listens: bool = True) -> None:
        self.signal_number: int | None = None
        self.listens = listens

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Handle the signals of :func:`that_stop` inside the ``with`` block."""
        with _handled(self._handle) if self.listens else nullcontext():
            yield self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            _end_at_once(number)
        self.signal_number = number


def _begin(
    task: Task,
    files: RunFiles,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    processes: Processes,
    resume: bool,
) -> tuple[int, BatchLoss]:
    """Go on from the state in ``files`` if that is wanted and there is one, else begin anew.

    Returns:
        Steps taken so far, and what computes the loss of the batches to come.
    """
    step = files.load_state(task.model, optimizer, generator, generator.device) if resume else 0
    if processes.agree(step) != [step]:  # and from here on, no process looks for what an earlier training left
        raise InputError(f"{files.state}: not all processes can read it; keep it where all of them find it")
    batch_loss = BatchLoss(task, processes)
    files.start_metrics(step)
    if step == 0:
        batch_loss.begin(generator)
    if not resume:
        files.remove_state()  # that of an earlier training is none to go back to from this one
    task.model.train()
    return step, batch_loss


class States:
    """The states that a training saves: when it is time, and when a signal came.

    One is copied after a step and written when the next step has shown that its weights give a batch a finite loss.

    Args:
        files: where they are written.
        config: how the model is trained.
        every: seconds from one to the next.
        processes: that train together; they agree on when.
    """

    def __init__(self, files: RunFiles, config: TrainingConfig, every: float, processes: Processes) -> None:
        self.copied: ModelFile | None = None
        self._files = files
        self._config = config
        self._every = every
        self._processes = processes
        self._copied_at = time.monotonic()

    def due(self, stop: StopRequest) -> bool:
        """Whether the state after this step is one to save."""
        over = time.monotonic() - self._copied_at > self._every
        return any(self._processes.agree(stop.signal_number or 0, over))

    def copy(self, state: ModelFile) -> None:
        """Keep a copy of a state to be written in the next step."""
        self.copied = state
        self._copied_at = time.monotonic()

    def write(self, step: int, state: ModelFile, stop: StopRequest) -> None:
        """Write a state, which is known to be good, and end where a signal came.

        Raises:
            InterruptedRunError: a signal came, to any of the processes.
        """
        self._files.save_state(state)
        self.copied = None
        (number,) = self._processes.agree(stop.signal_number or 0)
        if number:
            raise InterruptedRunError(
                f"stopped at step {step} of {self._config.steps}; the state is saved in {self._files.state}: run the "
                "same command with --resume to continue",
                number,
            )


@contextmanager
def finishing(files: RunFiles, stop: StopRequest, at_once: bool = False) -> Iterator[None]:
    """What is done with a trained model after its last step: whatever ends it, no step is lost.

    Args:
        files: they hold the final state, which is saved if the block comes to no end.
        stop: the training's own; where it listens to no signals, this does not either.
        at_once: whether a signal that came in the last step ends it as well, as where the block takes long.

    Raises:
        InterruptedRunError: a signal (:func:`that_stop`) came inside the ``with`` block.
        ChangedDataError: data that are still needed changed.
    """
    came: list[int] = []

    def end(number: int, frame: FrameType | None = None) -> None:
        came.append(number)
        raise InterruptedRunError("", number)

    try:
        with _handled(end) if stop.listens else nullcontext():
            if at_once and stop.listens and stop.signal_number is not None:
                end(stop.signal_number)
            yield
    except BaseException:
        not_saved = ""
        with _handled(_end_at_once) if stop.listens else nullcontext():
            try:
                files.save_final()
            except CitrisError as error:
                not_saved = str(error)
        if not came:
            with _changes_told(files):
                raise
        kept = (
            f"its state could not be saved: {not_saved}"
            if not_saved
            else f"the state is saved in {files.state}: "
            "run the same command with --resume to finish without training again"
        )
        raise InterruptedRunError(
            f"stopped after the last step, before the model was written; {kept}", came[0]
        ) from None
