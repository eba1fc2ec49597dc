"""A command in a process of its own, forked from this one: quick to start, and whatever becomes of it stays there.

The process that forks must have one thread and must never have trained; ``python -m tests.fuzz`` is one.
"""

from __future__ import annotations

import io
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path

#: Address space that a command may take beyond what this process has: a bomb must not take the machine along.
MOST_MEMORY = 2 << 30
#: Seconds after which a command hangs.
LONGEST = 60.0


@dataclass(frozen=True)
class Done:
    """What came of a command.

    Attributes:
        status: its exit status; minus the signal's number if one ended it, None if it hung.
        stdout, stderr: what it said.
        memory: bytes that its largest resident size was above this process's.
        seconds: how long it took.
    """

    status: int | None
    stdout: bytes
    stderr: bytes
    memory: int
    seconds: float


def forked(work: Callable[[], object], cwd: Path, stdin: bytes = b"") -> Done:
    """Call a function in a forked process whose current, home and temporary folders are its own.

    Args:
        work: ends with its return (status 0) or SystemExit; what else it raises is printed, with status 70.
        cwd: its current folder; beside it lie ``home`` and ``tmp``, which are made.
        stdin: its standard input.
    """
    for name in ("home", "tmp"):
        (cwd.parent / name).mkdir(exist_ok=True)
    with ExitStack() as stack:
        given, output, error = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        sys.stdout.flush()
        sys.stderr.flush()
        started, before = time.monotonic(), _resident()
        child = os.fork()
        if child == 0:
            _become([file.fileno() for file in (given, output, error)], cwd)
            _end(work)
        status, memory = _wait(child, started + LONGEST)
        seconds = time.monotonic() - started
        output.seek(0)
        error.seek(0)
        return Done(status, output.read(), error.read(), max(0, memory - before), seconds)


def citris(*arguments: object, before: Callable[[], object] | None = None) -> Callable[[], None]:
    """A command as :func:`forked` calls it; ``before`` is called first, to change what it does."""

    def work() -> None:
        from citris_cli.app import main

        if before is not None:
            before()
        sys.argv = ["citris", *map(str, arguments)]
        main()

    return work


def warm_up() -> None:
    """Import all that commands import, once, so that forked ones need not."""
    import importlib
    import pkgutil

    import torch
    from PIL import Image

    import citris_cli

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(citris_cli.__path__, "citris_cli."):
        if not module.name.endswith(("._kernels", ".__main__", ".norm_silu_triton")):
            importlib.import_module(module.name)
    for name in ("torch._dynamo", "imageio.v3", "scipy.optimize", "scipy.stats", "rich.progress", "safetensors.numpy"):
        importlib.import_module(name)
    Image.init()
    # What Typer imports only when it reads a command line.
    with redirect_stderr(io.StringIO()), suppress(SystemExit):
        citris("info", "there is no such file")()


def fresh(folder: Path) -> Path:
    """An empty folder in the place of whatever lies there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _become(descriptors: Sequence[int], cwd: Path) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", closefd=False) for number, mode in enumerate("rww")
    )
    os.chdir(cwd)
    os.environ.update(COLUMNS="200", HOME=str(cwd.parent / "home"), TMPDIR=str(cwd.parent / "tmp"))
    os.environ.pop("CITRIS_MODEL", None)
    tempfile.tempdir = os.environ["TMPDIR"]  # Python itself would try it out with a file
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MOST_MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end(work: Callable[[], object]) -> None:
    """Call it and end the process, leaving alone what this process's parent has registered for its own end."""
    status = 0
    try:
        work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
        status = 70
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


def _wait(child: int, deadline: float) -> tuple[int | None, int]:
    """Exit status (None if it had to be killed) and largest resident size in bytes of a child process."""
    handle = os.pidfd_open(child)
    try:
        hung = not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]
    finally:
        os.close(handle)
    if hung:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return None if hung else os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
