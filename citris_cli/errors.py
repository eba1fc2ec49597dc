"""The exceptions that the command layer turns into one sentence and an exit status.

A message says what is wrong, where (file, key, shape) and what to do, in one line without a final newline.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class CitrisError(Exception):
    """Something that the user should read as one sentence.

    Attributes:
        exit_status: the process's exit status: 1, the work failed.
    """

    exit_status: int = 1


class InputError(CitrisError):
    """Bad usage or bad input: exit status 2, nothing was written."""

    exit_status = 2


class ChangedDataError(CitrisError):
    """A file of data has become another one while it was being read.

    Args:
        change: what happened to which file, in a clause.
        then: what came of it and what to do.

    Attributes:
        change: the same.
    """

    def __init__(self, change: str, then: str = "restore it and run the command again") -> None:
        super().__init__(f"{change}; {then}")
        self.change = change


class TrainingDivergedError(CitrisError):
    """The loss or the weights are no longer finite, or have grown beyond any use."""


class LostProcessError(CitrisError):
    """Of several processes that train together, another one has ended."""


class InterruptedRunError(CitrisError):
    """A signal ended a training run after its state was saved.

    Args:
        message: the sentence for the user, with the command that resumes.
        signal_number: SIGHUP (1), SIGINT (2) or SIGTERM (15); the exit status is 128 + that number.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_status = 128 + signal_number


def permission_sentence(error: PermissionError) -> str:
    """What a user should read where the system forbids to look at a path that nobody expected to be forbidden."""
    return f"{error.filename}: permission denied; check the permissions of it and of the folders that it lies in"


@contextmanager
def permissions_told() -> Iterator[None]:
    """A block, or as a decorator a function, in which such a refusal of the system is an :class:`InputError`."""
    try:
        yield
    except PermissionError as error:
        if error.filename is None:
            raise
        raise InputError(permission_sentence(error)) from error
