"""Numbers with their nouns; names from files in messages."""

from __future__ import annotations

import pytest

from citris_cli.wording import MOST_SAID, counted, enumerated, legible, shortened, visible


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (11300, "11,300 frames")]
)
def test_a_number_with_its_noun(number: int, text: str) -> None:
    assert counted(number, "frame") == text


def test_text_of_a_file_as_a_message_can_show_it() -> None:
    assert legible("flow.flows.0.bias") == "flow.flows.0.bias"
    assert legible("a\x1b[31m\nb") == r"a\x1b[31m\nb"
    assert legible("x" * 90) == "x" * 80 + "…"
    assert len(legible("\u202e" * 90)) <= 90


def test_what_does_not_print_is_shown_as_its_escape() -> None:
    plain = "dé 日本 ψ ± … 🙂 \\x1b"
    assert visible(plain) == plain
    assert visible("a\x1b\x00\n\r\t\x7f\x9b") == r"a\x1b\x00\n\r\t\x7f\x9b"
    assert visible("\u202a\u202e\u2066\u2069\u200b\ufeff\u2028") == r"\u202a\u202e\u2066\u2069\u200b\ufeff\u2028"
    assert visible("\udcff") == r"\xff"
    assert all(visible(chr(code)).isprintable() for code in range(0x11000))
    assert visible(visible("\x1b")) == visible("\x1b")


def test_a_long_sentence_keeps_its_beginning_and_what_to_do() -> None:
    advice = "; name the file that you want"
    for told in ("d.npz: " + "x" * 7000, "d" * 4000 + ".npz: key 'images' is wrong", "a; b" * 2000):
        said = shortened(told + advice)
        assert len(said) <= MOST_SAID + 3
        assert said.startswith(told[:50])
        assert said.endswith(told[-50:] + advice)
    assert shortened("x" * MOST_SAID) == "x" * MOST_SAID
    assert len(shortened("x; " + "y" * 9000)) <= MOST_SAID + 3  # a semicolon in a name
    command = "; run " + "citris train-nf --hidden 64 " * 20
    assert shortened("d" * 500 + command).endswith(command)


def test_a_list_of_names_ends() -> None:
    assert enumerated([]) == "none"
    assert enumerated(["x"]) == "x"
    assert enumerated("xyz") == "x, y, z"
    assert enumerated(f"name_{number}" for number in range(5000)).endswith(" and 4,973 more")
    assert enumerated(["k" * 7000, "x"], most=10) == "k" * 80 + "… and 1 more"
    assert enumerated([f"variable_{number}" for number in range(12)]).count(",") == 11
