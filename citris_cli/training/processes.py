"""Several processes that train one model: each computes its share of every batch, and the first writes and speaks.

``torchrun --standalone --nproc-per-node 4 -m citris_cli train-nf data.npz`` starts them. All hold the whole model and
take the steps that one process alone would take: a batch stays as large as it was and holds the same samples, noise
and batch statistics are the whole batch's (:mod:`citris_cli.core.ops.shares`), and PyTorch's DistributedDataParallel
adds up the gradients. What differs is the order in which numbers are added. So all have the same weights at any time, a
state that the first saves is that of all, and as many processes as one likes can go on from it.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from citris_cli.core.ops import shares
from citris_cli.core.ops.shares import Share
from citris_cli.devices import select_device
from citris_cli.errors import InputError, LostProcessError
from citris_cli.training.files import RunFiles
from citris_cli.training.task import Schedule, Task

#: How long a process waits for another. A validation may take hours; one that died is noticed without this, by the
#: connection that it had, or by torchrun, which then ends all.
PATIENCE = timedelta(days=7)

#: Where the processes find each other; they also leave word there of a failure.
_store: distributed.Store | None = None


@dataclass(frozen=True)
class Processes:
    """The processes that train one model, as one of them sees them; by default it is alone.

    Attributes:
        rank: this one's number, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, measures and speaks."""
        return self.rank == 0

    def agree(self, *values: int) -> list[int]:
        """The largest of what the processes give, value by value; all of them have to ask. It also makes them wait.

        The values go from host to host, so that nothing waits for what an accelerator computes.
        """
        if self.size == 1:
            return list(values)
        largest = torch.tensor(values)
        with self.together():
            distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return largest.tolist()

    def from_first(self, text: str) -> str:
        """What the first process gives, in all of them; all have to ask, and what the others give does not count."""
        told = text.encode() if self.first else b""
        (length,) = self.agree(len(told))
        return bytes(self.agree(*told.ljust(length, b"\0"))).decode()

    def wait(self) -> None:
        """Until all processes are here."""
        self.agree(0)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process goes through the ``with`` block, then the others, who find what it has written."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    @contextmanager
    def together(self, files: RunFiles | None = None) -> Iterator[None]:
        """What all processes do; that one of them is no longer there becomes a sentence.

        Args:
            files: of the training, for the sentence.

        Raises:
            LostProcessError: another process has ended.
        """
        try:
            yield
        except (RuntimeError, LostProcessError) as error:
            if self.size == 1 or not (isinstance(error, LostProcessError) or _tells_of_loss(error)):
                raise
            _end_undisturbed()
            step = files.saved_step() if files is not None else 0
            kept = f"the state of step {step} is kept in {files.state}: " if files is not None and step else ""
            resume = "with --resume to continue" if step else "again"
            raise LostProcessError(
                f"another of the {self.size} processes has ended; {kept}run the same command {resume}"
            ) from error


#: A process that trains by itself.
ALONE = Processes()


def own_device(name: str) -> torch.device:
    """The device of this process, for a name that :func:`~citris_cli.devices.select_device` knows.

    Of several processes that torchrun started, each takes the CUDA device of its number on this machine.

    Raises:
        InputError: as there; or a device that several processes cannot use.
    """
    device = select_device(name)
    if _started() == 1 or device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise InputError(f"--device {name}: several processes train on the CPU or on a GPU each; use cpu or cuda")
    here, devices = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if here > devices:
        raise InputError(
            f"--device {name}: {here} processes were started and this machine has {devices} CUDA devices; "
            f"give torchrun --nproc-per-node {devices}, or use --device cpu"
        )
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def join(device: torch.device) -> Processes:
    """Meet the other processes that torchrun started, if it did; all but the first are silent from then on.

    Args:
        device: this process's.

    Raises:
        InputError: this PyTorch lets processes not speak to each other.
    """
    global _store
    if _started() == 1:
        return ALONE
    if not distributed.is_available() or not distributed.is_gloo_available():
        raise InputError("this PyTorch was built without torch.distributed and gloo; train in one process")
    store, rank, size = next(distributed.rendezvous("env://", timeout=PATIENCE))
    # torchrun may keep its store when it starts all again, and with it where the processes before these were to meet.
    _store = distributed.PrefixStore(f"citris-{_attempt()}", store)
    # What the processes agree on is on the host, with gloo, wherever they compute.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=PATIENCE)
    atexit.register(_leave)
    if rank > 0 and "--debug" not in sys.argv:
        sys.stdout = sys.stderr = open(os.devnull, "w", errors="replace")  # noqa: SIM115 - for the rest of the process
    return Processes(rank, size)


def _leave() -> None:
    """Leave the group, and end its threads with it.

    What a training leaves in reference cycles would keep the group alive beyond Python's own end, and a thread of it
    that then lets go of a Python object aborts the process.
    """
    gc.collect()
    distributed.destroy_process_group()


def first_to_fail() -> bool:
    """Whether a process that fails tells why: the first of all to ask, since the others fail alike or because of it."""
    if _store is None:  # they have not met yet: what is wrong with the command line, all of them find
        return os.environ.get("LOCAL_RANK", "0") == "0"
    _end_undisturbed()
    sys.stderr = sys.__stderr__
    with suppress(RuntimeError):
        return _store.add("citris/failed", 1) == 1
    return True


class BatchLoss:
    """The loss of a task's batches, and its gradients, to which every process contributes its share.

    Args:
        task: the model, on this process's device, and its batches.
        processes: that compute them.

    Raises:
        InputError: a batch has fewer samples than there are processes.
    """

    def __init__(self, task: Task, processes: Processes) -> None:
        self._task = task
        self._processes = processes
        self._share: Share | None = None
        self._loss: nn.Module | None = None
        if processes.size == 1:
            return
        try:
            self._share = Share.of(task.batch_size, processes.rank, processes.size)
        except ValueError as error:
            raise InputError(
                f"a batch of {task.batch_size} {task.unit} is too small for {processes.size} processes; "
                "start fewer with --nproc-per-node, or give a larger --batch-size"
            ) from error
        self._loss = DistributedDataParallel(_Loss(task))

    @property
    def shared(self) -> bool:
        """Whether several processes contribute."""
        return self._loss is not None

    def begin(self, generator: torch.Generator) -> None:
        """Whatever the first batch sets; see :meth:`Task.begin`."""
        with shares.computing(self._share):
            self._task.begin(generator)

    def of(self, step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of this process's share of a step's batch, and its parts; see :meth:`Task.loss`."""
        if self._loss is None:
            return self._task.loss(self._task.batch(step), self._task.schedule(step), generator)
        with shares.computing(self._share):
            return self._loss(self._task.batch(step), self._task.schedule(step), generator)

    def backward(self, loss: Tensor) -> None:
        """Give the weights the gradients of the whole batch's loss."""
        if self._share is not None:
            # The gradients are averaged over processes, whose shares may not be equally large.
            loss = loss * (self._share.weight * self._processes.size)
        loss.backward()

    def whole(self, values: Tensor) -> Tensor:
        """What values are over the whole batch that are means over this process's share, or the same in all."""
        if self._share is None:
            return values
        with shares.computing(self._share):
            return shares.total(values * self._share.weight)


class _Loss(nn.Module):
    """A task's loss as a module, which is what DistributedDataParallel takes.

    It shows the weights that learn and no buffer, for these follow from whole batches in every process alike:
    there is nothing to broadcast.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weight for weight in task.model.parameters() if weight.requires_grad)
        self._task = task

    def forward(
        self, batch: Sequence[Tensor], schedule: Schedule, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self._task.loss(batch, schedule, generator)


def _started() -> int:
    """How many processes torchrun started, this one among them; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def restarted() -> bool:
    """Whether torchrun (``--max-restarts``) has started this process again, since one was lost."""
    return _started() > 1 and _attempt() != "0"


def _attempt() -> str:
    """How often torchrun has started these processes again."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")


def _end_undisturbed() -> None:
    """Let this process, which is about to end, say why before torchrun, which ends all when one has ended, ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _tells_of_loss(error: BaseException) -> bool:
    """Whether an error comes from the connection to another process."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)
