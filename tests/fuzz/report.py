"""What a run found: counts by kind and outcome, and every distinct failure once with how to repeat it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.known import KNOWN, Known

#: Order of the columns.
OUTCOMES = ("refused", "failed", "read", "believed", "hung")


@dataclass
class Report:
    """Collects what came of commands.

    Attributes:
        counts: by kind and outcome.
        failures: how to repeat the first of each distinct failure, and how often it was met.
        known: how often each known failure was met.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: dict[str, tuple[str, int]] = field(default_factory=dict)
    known: Counter[Known] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def add(self, kind: str, outcome: str, where: str, command: str, problems: list[str], repeat: str) -> None:
        """Count a command and its failures.

        Args:
            kind: of the file, or the command that was killed.
            outcome: one word.
            where: KIND/MUTATION, or COMMAND/EVENT.
            command: the command that failed, by its name.
            problems: sentences; the same failure is the same sentence.
            repeat: arguments that repeat it.
        """
        self.counts[kind, outcome] += 1
        for problem in problems:
            covering = [known for known in KNOWN if known.covers(f"{where}: {command}: {problem}")]
            self.known.update(covering[:1])
            if covering:
                self.counts[kind, "known"] += 1
            else:
                self.counts[kind, "failing"] += 1
                failure = f"{kind}: {command}: {problem}"
                first, count = self.failures.get(failure, (repeat, 0))
                self.failures[failure] = (first, count + 1)

    def tell(self, unneeded: list[Known]) -> int:
        """Print everything; the exit status, 1 if something failed that is not known."""
        columns = [*OUTCOMES, *sorted({outcome for _, outcome in self.counts} - {*OUTCOMES, "known", "failing"})]
        columns += ["known", "failing"]
        kinds = list(dict.fromkeys(kind for kind, _ in self.counts))
        width = max(map(len, [*kinds, "together"]))
        print(" " * width, *(f"{column:>10}" for column in columns))
        for kind in kinds:
            print(f"{kind:{width}}", *(f"{self.counts[kind, column]:10}" for column in columns))
        together = [sum(self.counts[kind, column] for kind in kinds) for column in columns]
        print(f"{'together':{width}}", *(f"{count:10}" for count in together))
        print(f"{time.monotonic() - self.started:.0f} s")
        for known, count in self.known.items():
            print(f"known, {count} times: {known.why}")
        for known in unneeded:
            print(f"no longer needed in tests/fuzz/known.py: {known.pattern!r} ({known.why})")
        for failure, (repeat, count) in self.failures.items():
            print(f"FAILED {failure}\n       {count} times; python -m tests.fuzz {repeat}")
        return 1 if self.failures else 0
