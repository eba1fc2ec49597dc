"""Words of notes and messages."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 frame``, ``0 frames``, ``1,200 frames``.

    Args:
        number: how many, not negative.
        noun: in the singular; its plural is made with an s.
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
