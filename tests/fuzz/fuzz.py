"""Bad files into every command that reads such files."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.fuzz import checks, places
from tests.fuzz.cases import KINDS, Case, Command, arguments, every_pair, make_samples, place, replaced
from tests.fuzz.checks import Good, Seen
from tests.fuzz.known import KNOWN, Known
from tests.fuzz.places import PLACES
from tests.fuzz.report import Report
from tests.fuzz.run import Done, citris, forked


def fuzz(given: argparse.Namespace, root: Path) -> int:
    """Run the cases that were asked for, each with all commands of its kind, and tell what came of it.

    Args:
        given: see ``python -m tests.fuzz --help``.
        root: an empty folder.

    Returns:
        The exit status.
    """
    pairs = chosen(given)
    fuzzer, report = _Fuzzer(root, given), Report()
    deadline = None if given.minutes is None else time.monotonic() + 60 * given.minutes
    with suppress(KeyboardInterrupt):  # what was found until then is told
        for case in itertools.islice(_cases(given, pairs), given.cases):
            if deadline is not None and time.monotonic() > deadline:
                break
            fuzzer.run(case, report)
    # Of a run of its own choice, what is known and was not met is looked for.
    missed = [] if given.case or given.cases else [known for known in KNOWN if known.case and not report.known[known]]
    return report.tell([known for known in missed if not fuzzer.shows(known)])


def every_case() -> list[tuple[str, str]]:
    """Every kind of file with every mutation of it, and every place."""
    return [*every_pair(), *((places.NAME, name) for name in PLACES)]


def chosen(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Those of :func:`every_case` that were asked for.

    Raises:
        SystemExit: there are none.
    """
    pairs = [pair for pair in every_case() if not given.case or given.case in (*pair, "/".join(pair))]
    if not pairs:
        raise SystemExit(f"--case {given.case}: no such kind of file or mutation")
    return pairs


def _cases(given: argparse.Namespace, pairs: list[tuple[str, str]]) -> Iterator[Case]:
    """The cases in an order that is the seed's; without end if there is a time or a number to end them."""
    rounds = itertools.count(given.seed) if given.minutes or given.cases else [given.seed]
    for seed in rounds:
        for kind, mutation in Random(f"order {seed}").sample(pairs, len(pairs)):
            yield Case(kind, mutation, seed)


class _Fuzzer:
    """Runs cases in a folder of its own."""

    def __init__(self, root: Path, given: argparse.Namespace) -> None:
        self.samples = make_samples(root)
        self.folder = root / "case"
        self.verbose = given.verbose
        self._good: dict[tuple[str, Command], Good] = {}

    def run(self, case: Case, report: Report) -> None:
        """Give the case's file to every command of its kind."""
        if case.kind == places.NAME:
            self._run_place(case, report)
            return
        kind = KINDS[case.kind]
        content = case.content(self.samples)
        if content == (self.samples / kind.sample).read_bytes():
            return
        for command in kind.commands:
            good = self._unharmed(case.kind, command)
            done, seen = self._run(case.kind, command, content)
            problems = checks.problems(done, seen, len(content), good, checks.memory_of_pixels(content))
            outcome = checks.outcome(done)
            if outcome == "read" and kind.digest:
                found = checks.numbers(done, self.folder / "work")
                if any(found.get(name) != value for name, value in good.numbers.items()):
                    outcome = "believed"
                    problems.append("damage is believed")
            self._report(case, command, done, outcome, problems, report)

    def shows(self, known: Known) -> bool:
        """Whether the example of a known failure still fails so."""
        kind, _, mutation = known.case.partition("/")
        report = Report()
        self.run(Case(kind, mutation, known.seed), report)
        return bool(report.known[known])

    def _run_place(self, case: Case, report: Report) -> None:
        """Run a command whose files are good and whose places are not."""
        place = PLACES[case.mutation]
        places.lay_out(place, self.samples, self.folder)
        seen = Seen.of(self.folder, self.samples, set())
        done = forked(citris(*place.command), self.folder / "work")
        found = checks.problems(done, seen, 0, Good(1 << 30))
        if "-o" not in place.command:
            found += checks.outside_runs(seen)
        self._report(case, place.command, done, checks.outcome(done), found, report)

    def _report(
        self, case: Case, command: Command, done: Done, outcome: str, problems: list[str], report: Report
    ) -> None:
        if self.verbose:
            print(f"{case}\n  citris {' '.join(command)}: {outcome}, {done.seconds:.2f} s, {done.memory >> 20} MiB")
            print("  " + done.stderr.decode(errors="replace")[-1000:].rstrip("\n").replace("\n", "\n  "))
            print("  " + "; ".join(problems))
        report.add(case.kind, outcome, f"{case.kind}/{case.mutation}", command[0], problems, str(case))

    def _run(self, name: str, command: Command, content: bytes) -> tuple[Done, Seen]:
        kind = KINDS[name]
        place(kind, content, self.samples, self.folder)
        seen = Seen.of(self.folder, self.samples, replaced(kind, self.samples))
        return forked(citris(*arguments(command, self.samples)), self.folder / "work"), seen

    def _unharmed(self, name: str, command: Command) -> Good:
        """What the command makes of a good file; what differs between two runs says nothing of damage."""
        if (name, command) not in self._good:
            kind = KINDS[name]
            content = (self.samples / kind.sample).read_bytes()
            found: list[dict[str, str]] = []
            memory = 0
            for _ in range(2 if kind.digest else 1):
                done, seen = self._run(name, command, content)
                wrong = checks.problems(done, seen, len(content), Good(1 << 30))
                if done.status != 0 or wrong:
                    said = done.stderr.decode(errors="replace")
                    raise RuntimeError(f"citris {' '.join(command)}, with a good file: {wrong} {said}")
                memory = max(memory, done.memory)
                found.append(checks.numbers(done, self.folder / "work") if kind.digest else {})
            self._good[name, command] = Good(memory, dict(found[0].items() & found[-1].items()))
        return self._good[name, command]
