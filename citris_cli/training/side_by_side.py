"""Trainings that go on side by side, each in a process of its own, and what they tell.

Signals are the first process's alone: what a terminal or a batch system sends to all would end a training twice. It
tells the others to stop, and they stop as well if it is no longer there; their states are saved in either case.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

import torch

from citris_cli.errors import CitrisError, InputError, InterruptedRunError, TrainingDivergedError
from citris_cli.loading import LoadedModel
from citris_cli.system import signals_held_back
from citris_cli.training.loop import StopRequest, that_stop
from citris_cli.training.request import Request
from citris_cli.training.session import AnySession
from citris_cli.wording import reason

#: Seconds between two looks whether a signal came.
_PATIENCE = 0.2
#: How processes start: each with an interpreter of its own, as every system can.
START: Final = "spawn"

Train = Callable[[Request], LoadedModel]


def train_side_by_side(
    session: AnySession, train: Train, requests: Sequence[tuple[str, Request]], jobs: int, threads: int
) -> dict[str, CitrisError]:
    """Train what is asked for; where a signal comes, all trainings save their states and end.

    Args:
        session: is told of their progress, and whether a signal came.
        train: what each request is given to, a function that another process can import.
        requests: each with a name.
        jobs: most at a time.
        threads: of each.

    Returns:
        What ended those that did not come to their end, by name.
    """
    waiting, running = list(requests), dict[Connection, tuple[str, BaseProcess]]()
    failed: dict[str, CitrisError] = {}
    stopping = False
    try:
        with session.stop.listening():
            while running or (waiting and session.stop.signal_number is None):
                while waiting and len(running) < jobs and session.stop.signal_number is None:
                    name, request = waiting.pop(0)
                    connection, process = _started(train, request, threads)
                    running[connection] = name, process
                if session.stop.signal_number is not None and not stopping:
                    stopping = True
                    for connection in running:
                        with suppress(OSError):
                            connection.send(session.stop.signal_number)
                ready = wait(list(running), _PATIENCE)
                for connection in [one for one in running if one in ready]:
                    name, process = running[connection]
                    what, told = _heard(connection)
                    if what == "progress":
                        title = told.title
                        session.request.on_progress(told._replace(title=f"{title}, {name}", group=title))
                    elif what == "note":
                        if told not in session.said:
                            session.said.add(told)
                            session.note(f"{name}: {told}")
                    else:
                        del running[connection]
                        connection.close()
                        process.join()
                        if isinstance(told, CitrisError):
                            failed[name] = told
                        elif what == "lost":
                            failed[name] = CitrisError(_death(process.exitcode))
    finally:
        for connection, (_, process) in running.items():
            connection.close()  # which tells them to stop
            process.join()
    return failed


def _started(train: Train, request: Request, threads: int) -> tuple[Connection, BaseProcess]:
    """A process that trains, and the connection to it."""
    ours, theirs = multiprocessing.Pipe()
    nobody = dataclasses.replace(request, on_progress=_ignore, on_note=_ignore, stop=None)
    process = multiprocessing.get_context(START).Process(target=_train, args=(train, nobody, threads, theirs))
    with signals_held_back():
        process.start()
    theirs.close()
    return ours, process


def _heard(connection: Connection) -> tuple[str, Any]:
    """The next that a process tells; that it was lost, if it has ended without a word."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        return "lost", None


def _death(status: int | None) -> str:
    if status is not None and status < 0:
        with suppress(ValueError):
            return f"its process was ended by {signal.Signals(-status).name}, perhaps because memory ran out"
    return f"its process ended with status {status}"


def _train(train: Train, request: Request, threads: int, connection: Connection) -> None:
    """What each process does."""
    for number in that_stop():
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    stop = StopRequest(listens=False)
    threading.Thread(target=_heed, args=(connection, stop), daemon=True).start()

    def tell(what: str, told: Any) -> None:
        with suppress(OSError):  # nobody is there any more; the training stops because of that
            connection.send((what, told))

    try:
        train(
            dataclasses.replace(
                request,
                stop=stop,
                on_progress=lambda progress: tell("progress", progress),
                on_note=lambda note: tell("note", note),
            )
        )
        tell("ended", None)
    except InterruptedRunError:
        tell("stopped", None)
    except (InputError, TrainingDivergedError) as error:
        tell("failed", type(error)(str(error)))
    except CitrisError as error:
        tell("failed", CitrisError(str(error)))
    except Exception as error:
        tell("failed", CitrisError(f"unexpected {type(error).__name__}: {reason(error)}"))


def _heed(connection: Connection, stop: StopRequest) -> None:
    """Wait until the training has to stop: the first process says so, or is no longer there."""
    number = int(signal.SIGTERM)
    with suppress(EOFError, OSError):
        number = connection.recv()
    stop.signal_number = number


def _ignore(told: object) -> None:
    """Stands for what the other process puts in its place."""
