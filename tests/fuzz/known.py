"""What fails today and is going to be mended: the list gets shorter, and whatever is not on it fails the tests."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A failure that is known.

    Attributes:
        pattern: found in ``KIND/MUTATION: COMMAND: PROBLEM`` of each such failure.
        why: one sentence.
        case: KIND/MUTATION of an example; "" of the commands that are killed, all of which are examples.
        seed: of the example.
    """

    pattern: str
    why: str
    case: str = ""
    seed: int = 0

    def covers(self, failure: str) -> bool:
        """Whether a failure is one of these."""
        return re.search(self.pattern, failure) is not None


KNOWN: tuple[Known, ...] = (
    Known(r"run again, a temporary file stays", "temporary files of killed commands are swept by nobody"),
    Known(
        r"^(simulate|eval-triplets|eval-correlation)/.*some of the files that belong together",
        "files that are one result are written one after the other",
    ),
    Known(
        r"^train-\S+/remove \S+\.(best|state)\.safetensors: .*one file more",
        "a training that is killed after its model was written is finished, and its state stays",
    ),
)
