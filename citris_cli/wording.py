"""Words of notes and messages."""

from __future__ import annotations

from collections.abc import Iterable

#: Characters of an error, about, and of its last part, that says what to do.
MOST_SAID, MOST_ADVICE = 400, 1000


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 frame``, ``0 frames``, ``1,200 frames``.

    Args:
        number: how many, not negative.
        noun: in the singular; its plural is made with an s.
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size_in_words(size: int) -> str:
    """A number of bytes such as ``12.3 kB``; 1 kB is 1000 bytes."""
    if size < 1000:
        return f"{size} bytes"
    if size < 1000**2:
        return f"{size / 1000:.1f} kB"
    return f"{size / 1000**2:.1f} MB" if size < 1000**3 else f"{size / 1000**3:.1f} GB"


def visible(text: str) -> str:
    """Text in which nothing acts on a terminal or forges a line: what does not print stands as its escape.

    Control characters, line breaks, characters that turn the direction of writing or have no width, and bytes of a
    file's name that are no text become such as ``\\x1b``, ``\\n``, ``\\u202e`` and ``\\xff``.

    Args:
        text: a line, perhaps with names from files; one that this function gave stays as it is.
    """
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # how Python writes a byte of a name that it cannot decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def legible(text: str, most: int = 80) -> str:
    """Text that a file holds as a message can show it: :func:`visible`, and not endless.

    Args:
        text: whatever it is.
        most: characters that are kept of it, about.
    """
    shown: list[str] = []
    length = 0
    for character in text:
        if length >= most:
            return "".join(shown) + "…"
        shown.append(_printable(character))
        length += len(shown[-1])
    return "".join(shown)


def reason(error: Exception, most: int = 120) -> str:
    """What a library says of an error, on one line and :func:`legible`; its kind where it says nothing.

    Args:
        error: whatever was raised.
        most: characters that are kept of it, about.
    """
    return legible(" ".join(str(error).split()) or type(error).__name__, most)


def shortened(sentence: str, most: int = MOST_SAID) -> str:
    """A sentence of about as many characters: of a longer one, the middle of what comes before the advice is left out.

    The advice is what follows the last semicolon: it says what to do, perhaps in a command.

    Args:
        sentence: one line.
        most: characters that it may have.
    """
    if len(sentence) <= most:
        return sentence
    told, mark, advice = sentence.rpartition("; ")
    if not mark or len(advice) > MOST_ADVICE:  # hardly advice, but a semicolon in a name
        told, mark, advice = sentence, "", ""
    room = max(most - len(mark + advice), most // 4)
    if len(told) <= room:
        return sentence
    return f"{told[: room // 2].rstrip()} … {told[len(told) - room // 2 :].lstrip()}{mark}{advice}"


def enumerated(names: Iterable[str], most: int = 240) -> str:
    """Names from a file in a list that ends: ``x, y, z``, or ``x, y and 1,200 more``; ``none`` if there are none.

    Args:
        names: each shown by :func:`legible`.
        most: characters of the list, but for one name at least.
    """
    names = list(names)
    shown: list[str] = []
    length = 0
    for name in names:
        length += len(legible(name)) + 2
        if shown and length > most:
            return f"{', '.join(shown)} and {len(names) - len(shown):,} more"
        shown.append(legible(name))
    return ", ".join(shown) or "none"


def type_of(value: object) -> str:
    """What a value is that a program gave in place of another: ``None``, ``a list``."""
    return "None" if value is None else f"a {type(value).__name__}"


def described_channels(channels: int) -> str:
    """What the channels of a frame are taken for.

    Args:
        channels: C, from 1 on.
    """
    if channels <= 2:
        return "grey" if channels == 1 else "grey and one more"
    return "RGB" if channels == 3 else f"RGB and {channels - 3} more"
