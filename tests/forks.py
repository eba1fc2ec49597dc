"""Commands in processes of their own that need not import PyTorch, which takes seconds: forks of one that has.

All else is as if Python were started: such a process has its own standard streams, folder, environment and signals,
and ends as an interpreter ends. Where a system cannot do this, Python is started.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import runpy
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

#: Of Linux's prctl: whose parents have ended become this process's children, so that it can wait for them.
_SET_CHILD_SUBREAPER = 36
#: Places of what :class:`subprocess.Popen` hands on to where a process is started: both ends of three streams, of which
#: the process gets one each.
_ARGUMENTS, _FOLDER, _ENVIRONMENT, _ENDS, _SESSION = 0, 5, 6, slice(10, 16), 21
_THEIRS = (0, 3, 5)
_ROOT = Path(__file__).parents[1]


def started(*arguments: object, module: str = "citris_cli", **options: Any) -> subprocess.Popen:
    """A module with some arguments, with one thread; options as of :class:`subprocess.Popen`."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    line = [sys.executable, "-m", module, *map(str, arguments)]
    process = _Fork if sys.platform == "linux" else subprocess.Popen
    return process(line, env=variables, **options)


def two_together(*arguments: object, **options: Any) -> list[subprocess.Popen]:
    """:func:`started` twice, as torchrun would start two processes that train together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared["TORCHELASTIC_RUN_ID"] = "tests"
    return [started(*arguments, env={**shared, "RANK": rank, "LOCAL_RANK": rank}, **options) for rank in ("0", "1")]


class _Fork(subprocess.Popen):
    """A process that the server forks, in place of one that is executed."""

    def _execute_child(self, *told: Any) -> None:
        message = {
            "line": [os.fspath(one) for one in told[_ARGUMENTS]][2:],
            "folder": os.fspath(told[_FOLDER] or os.getcwd()),
            "environment": dict(told[_ENVIRONMENT]),
            "session": bool(told[_SESSION]),
        }
        ends = told[_ENDS]
        given = [stream if ends[place] == -1 else ends[place] for stream, place in enumerate(_THEIRS)]
        connection, _ = _server()
        content = json.dumps(message).encode()
        socket.send_fds(connection, [len(content).to_bytes(8, "big")], given)
        connection.sendall(content)
        self.pid = int.from_bytes(connection.recv(9, socket.MSG_WAITALL)[:8], "big")
        self._child_created = True
        self._close_pipe_fds(*ends)


@cache
def _server() -> tuple[socket.socket, subprocess.Popen]:
    """A connection to the process that forks, which ends with this one."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
            cwd=_ROOT,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return ours, process


def _forked(connection: socket.socket) -> list[str]:
    """Fork for whoever asks: the module and its arguments, in each of the processes."""
    while True:
        size, given, *_ = socket.recv_fds(connection, 8, len(_THEIRS))
        if not size:
            os._exit(0)
        told = json.loads(connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            connection.sendall(b".")  # not before: until now, nobody could wait for the process
            for one in given:
                os.close(one)
            continue
        pid = os.fork()
        if pid:  # ends, so that the process is a child of the one that asked
            connection.sendall(pid.to_bytes(8, "big"))
            os._exit(0)
        connection.close()
        for stream, one in enumerate(given):
            os.dup2(one, stream)
            os.close(one)
        # As Python opens them.
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
        if told["session"]:
            os.setsid()
        os.chdir(told["folder"])
        os.environ.clear()
        os.environ.update(told["environment"])
        line: list[str] = told["line"]
        return line


def _serve() -> None:
    import citris_cli.app
    import citris_cli.training.run  # noqa: F401 - and PyTorch with it

    gc.freeze()  # so that no fork looks through what was imported
    module, *sys.argv[1:] = _forked(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _serve()
