"""Words of notes and messages."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 frame``, ``0 frames``, ``1,200 frames``.

    Args:
        number: how many, not negative.
        noun: in the singular; its plural is made with an s.
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def legible(text: str, most: int = 80) -> str:
    """Text that a file holds as a message can show it: one line, nothing that a terminal would act on, not endless.

    Args:
        text: whatever it is.
        most: characters that are kept of it.
    """
    kept = "".join(character if character.isprintable() else "?" for character in text[:most])
    return kept + ("…" if len(text) > most else "")


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
