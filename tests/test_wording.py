"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from citris_cli.wording import counted, legible


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (11300, "11,300 frames")]
)
def test_a_number_with_its_noun(number: int, text: str) -> None:
    assert counted(number, "frame") == text


def test_text_of_a_file_as_a_message_can_show_it() -> None:
    assert legible("flow.flows.0.bias") == "flow.flows.0.bias"
    assert legible("a\x1b[31m\nb") == "a?[31m?b"
    assert legible("x" * 90) == "x" * 80 + "…"
