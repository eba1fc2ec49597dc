"""Commands that a signal ends."""

import os
import signal

import pytest

from citris_cli.commands.interruption import ends_clean
from citris_cli.errors import InterruptedRunError


@pytest.mark.skipif(os.name != "posix", reason="needs signals as POSIX has them")
def test_an_error_of_who_was_closing_something_does_not_take_the_place_of_the_signal() -> None:
    def closed() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise ValueError("cannot be closed while it is written to")

    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(InterruptedRunError, match="interrupted, and nothing was written; again") as raised,
        ends_clean("again"),
    ):
        closed()
    assert raised.value.exit_status == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_error_without_a_signal_is_itself() -> None:
    with pytest.raises(ValueError, match=r"^as"), ends_clean("again"):
        raise ValueError("as it is")
