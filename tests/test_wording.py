"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from citris_cli.wording import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (11300, "11,300 frames")]
)
def test_a_number_with_its_noun(number: int, text: str) -> None:
    assert counted(number, "frame") == text
