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
    Known(
        r"^train-nf-alone/.*something else: runs/boxes/ae\.state\.safetensors",
        "between an autoencoder's model and its last state, a kill leaves an earlier one, from which the same comes",
    ),
)
