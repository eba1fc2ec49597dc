"""Commands that are killed at each of their file events: every file is whole or absent, and running again mends all.

An event is a file opened to be written, flushed, renamed or removed, a folder made: all that Python tells of such. The
command is ended just before it, as SIGKILL or a power cut would, with nothing of its own cleaned up. Where a file is
flushed or a line appended, it is also ended with half of the file, or of its last line, written.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.cases import TINY, Command, few_samples, make_samples
from tests.fuzz.checks import files_of, numbers
from tests.fuzz.known import KNOWN
from tests.fuzz.report import Report
from tests.fuzz.run import Done, citris, forked, fresh

#: Status of a command that was killed.
KILLED = 9
#: Of a training that goes on, beside what it leaves in the end.
_OF_A_TRAINING = (".state.safetensors", ".best.safetensors")


@dataclass(frozen=True)
class Killed:
    """A command that writes files.

    Attributes:
        command: as it is called, in ``work``; samples lie in ``../in``.
        resumes: whether it is run again with ``--resume``.
        together: names of files that are one result, first the one that vouches for the others: where it is, they are.
    """

    command: Command
    resumes: bool = False
    together: tuple[str, ...] = ()


def _training(name: str, data: str, *options: str) -> Killed:
    settings = (*TINY[name], "--steps", "3", "--save-every", "0")
    return Killed((name, f"../in/{data}", *settings, *options), resumes=True)


_OUT = ("-o", "m.safetensors")
_NF = ("-m", "../in/nf.safetensors")
_SPLITS = ("train", "val", "test", "val_indep", "test_indep", "val_triplets", "test_triplets")
COMMANDS: dict[str, Killed] = {
    "train-ae": _training("train-ae", "boxes/train.npz", *_OUT),
    "train-nf": _training("train-nf", "boxes/train.npz", "--ae", "../in/ae.safetensors", *_OUT),
    "train-nf-val": _training(
        "train-nf", "boxes/train.npz", "--ae", "../in/ae.safetensors", "--val", "../in/boxes", *_OUT
    ),
    "train-nf-alone": _training("train-nf", "boxes/train.npz"),
    "train-vae": _training("train-vae", "boxes/train.npz", *_OUT),
    "train-causal-encoder": _training("train-causal-encoder", "boxes/val_indep.npz", *_OUT),
    "simulate": Killed(
        ("simulate", "ball-in-boxes", "-o", "d", "--frames", "12"), together=tuple(f"d/{s}.npz" for s in _SPLITS)
    ),
    "encode": Killed(("encode", "../in/boxes/val_indep.npz", *_NF)),
    "intervene-png": Killed(("intervene", "../in/frame.png", "--var", "box", "-n", "2", *_NF)),
    "intervene-npz": Killed(("intervene", "../in/frame.png", "--var", "box", "-n", "2", *_NF, "-o", "new/x.npz")),
    "eval-triplets": Killed(
        ("eval-triplets", "../in/boxes/val_triplets.npz", *_NF, "-o", "t.json"), together=("t.json", "t.png")
    ),
    "eval-correlation": Killed(
        ("eval-correlation", "../in/boxes/val_indep.npz", *_NF, "-o", "c.json"), together=("c.json", "c.html")
    ),
    "animate-gif": Killed(("animate-latents", "../in/boxes/train.npz", "--frames", "3", *_NF)),
    "animate-html": Killed(("animate-latents", "../in/boxes/train.npz", "--frames", "3", *_NF, "-o", "a.html")),
    "rollout": Killed(("rollout", "../in/boxes/train.npz#1", "--steps", "3", *_NF)),
    "import-checkpoint": Killed(("import-checkpoint", "../in/nf.ckpt")),
    "export": Killed(("export", "../in/nf.safetensors", "-o", "p.safetensors")),
}


def kill(given: argparse.Namespace, root: Path) -> int:
    """Kill the commands that were asked for at their events, and tell what came of it.

    Args:
        given: see ``python -m tests.fuzz --help``.
        root: an empty folder.

    Returns:
        The exit status.
    """
    samples, report = make_samples(root), Report()
    command, _, event = (given.case or "").partition("/")
    if command and command not in COMMANDS:
        raise SystemExit(f"--case {command}: no such command; there are {', '.join(COMMANDS)}")
    with_name = partial(_Killer, samples=samples, folder=root / "case", verbose=given.verbose)
    names = [command] if command else list(COMMANDS)
    points = _some(names, with_name, given) if given.cases else _all(names, with_name, int(event) if event else None)
    with suppress(KeyboardInterrupt):  # what was found until then is told
        for killer, number in points:
            problems = list(killer.kill(number))
            where, repeat = f"{killer.name}/{killer.events[number]}", f"--kill --case {killer.name}/{number}"
            report.add(killer.name, "killed", where, "kill", problems, repeat)
    everything = not (command or given.cases)
    return report.tell([known for known in KNOWN if everything and not known.case and not report.known[known]])


def _all(names: list[str], killer: Callable[[str], _Killer], only: int | None) -> Iterator[tuple[_Killer, int]]:
    """Every event of commands, or one of them."""
    for one in map(killer, names):
        yield from ((one, number) for number in range(len(one.events)) if only in (None, number))


def _some(
    names: list[str], killer: Callable[[str], _Killer], given: argparse.Namespace
) -> Iterator[tuple[_Killer, int]]:
    """So many events of so many commands, drawn with the seed."""
    rng, made = Random(f"points {given.seed}"), cache(killer)
    for _ in range(given.cases):
        one = made(rng.choice(names))
        yield one, rng.randrange(len(one.events))


class _Killer:
    """Kills one command.

    Attributes:
        name: its key in :data:`COMMANDS`.
        events: what it does to files when it is not killed, in order.
    """

    def __init__(self, name: str, samples: Path, folder: Path, verbose: bool) -> None:
        self.name, self._killed, self._samples, self._folder = name, COMMANDS[name], samples, folder
        self._work, self._verbose = folder / "work", verbose
        self._lay_out()
        log = folder / "events"
        done = self._run(lambda: _count(folder, log))
        self.events = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        if done.status != 0 or not self.events:
            raise RuntimeError(f"citris {' '.join(self._killed.command)}: {done.stderr.decode()}")
        self._numbers, self._files, self._log = numbers(done, self._work), set(files_of(folder)), _logged(self._work)

    def kill(self, number: int) -> Iterator[str]:
        """Kill it before an event, look at what is there, run it again; what is wrong, as sentences."""
        self._lay_out()
        before = files_of(self._folder)
        done = self._run(lambda: _count(self._folder, None, number))
        if done.status != KILLED:
            yield f"was not killed, but ended with status {done.status}"
            return
        yield from self._half_done(before)
        done = self._run(few_samples, *(["--resume"] if self._killed.resumes else []))
        if done.status == 2 and b"has been started" in done.stderr:  # killed before its first state: nothing to resume
            done = self._run(few_samples)
        if self._verbose:
            print(f"{self.name}/{number} {self.events[number]}\n{done.stderr.decode()}")
        if done.status != 0:
            yield f"run again, it ends with status {done.status}: {done.stderr.decode().splitlines()[-1:]}"
            return
        found = numbers(done, self._work)
        different = sorted(name for name, value in self._numbers.items() if found.get(name) != value)
        if different:
            yield f"run again, it makes something else: {different[0]}"
        if _logged(self._work) != self._log:
            yield "run again, its log is another"
        after = set(files_of(self._folder))
        # A lock stays where its process was killed; the next training takes it.
        left = {name for name in after - self._files if not name.endswith(".lock")}
        if hidden := sorted(name for name in left if Path(name).name.startswith(".")):
            yield f"run again, a temporary file stays in {Path(hidden[0]).parts[0]}"
        if others := sorted(name for name in left if not Path(name).name.startswith(".")):
            yield f"run again, there is one file more: {others[0]}"
        if missing := sorted(self._files - after):
            yield f"run again, a file is missing: {missing[0]}"

    def _half_done(self, before: dict[str, Any]) -> Iterator[str]:
        """What is wrong with the files that it left."""
        for name, status in files_of(self._folder).items():
            path = self._folder / name
            if any(part.startswith(".") for part in Path(name).parts) or before.get(name) == status:
                continue
            if name not in self._files and not name.endswith(_OF_A_TRAINING):
                yield f"killed, it leaves {path.name}, which is none of its files"
            if path.suffix in (".safetensors", ".npz"):
                told = forked(citris("info", path), self._work)
                if told.status != 0:
                    yield f"killed, it leaves half of {path.name}: {told.stderr.decode().splitlines()[-1:]}"
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
        there = [(self._work / name).exists() for name in self._killed.together]
        if there and there[0] and not all(there):
            yield "killed, it leaves some of the files that belong together"

    def _lay_out(self) -> None:
        fresh(self._folder)
        self._work.mkdir()
        shutil.copytree(self._samples, self._folder / "in", ignore=shutil.ignore_patterns("encodings-*", "run", "val"))

    def _run(self, before: Callable[[], object], *more: str) -> Done:
        return forked(citris(*self._killed.command, *more, before=before), self._work)


def _logged(work: Path) -> list[dict[str, Any]]:
    """The lines of a training's logs, without what differs from run to run."""
    lines = [json.loads(line) for path in sorted(work.rglob("*.jsonl")) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "per_second"} for line in lines]


def _count(folder: Path, log: Path | None, last: int | None = None) -> None:
    """In a forked process: count file events below a folder.

    Args:
        folder: others are not looked at.
        log: takes a line for each, or None.
        last: the event before which the process ends, or None.
    """
    few_samples()
    lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log is not None else None
    count, appended = 0, ""
    top = os.path.realpath(folder)

    def happens(name: str, path: str, half: Callable[[], object] | None = None) -> None:
        nonlocal count, appended
        if appended:  # since the last event, a line was written to it
            line, appended = appended, ""
            happens("half a line of", line, lambda: _cut_last_line(line))
        if count == last:
            if half is not None:
                half()
            os._exit(KILLED)
        count += 1
        if lines is not None:
            os.write(lines, f"{name} {os.path.basename(path)}\n".encode())

    def within(path: Any) -> str | None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return None
        absolute = os.path.abspath(os.fsdecode(path))
        return absolute if absolute.startswith(top + os.sep) and absolute != str(log) else None

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal appended
        if event == "open":
            path, flags = within(arguments[0]), arguments[2] or 0
            if path is None or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
            happens("open", path)
            if flags & os.O_APPEND:
                appended = path
        elif event in _EVENTS and (path := within(arguments[_EVENTS[event]])) is not None:
            happens(event.removeprefix("os."), path)

    flush = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            happens("half of", path, lambda: os.truncate(path, status.st_size // 2))
        happens("flush", path)
        flush(descriptor)

    os.fsync = fsync
    sys.addaudithook(hook)


#: Which argument of an event names the file.
_EVENTS = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.chmod": 0, "os.link": 1, "os.symlink": 1}


def _cut_last_line(path: str) -> None:
    size = os.path.getsize(path) if os.path.exists(path) else 0
    if size:
        os.truncate(path, size - min(size, 9))
