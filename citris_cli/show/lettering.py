"""Text in pictures: in a font that has its letters, and spelled out where no installed font has them.

Pillow brings a font for ASCII. Names of variables may be in any script, and what a font lacks it draws as a box.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: A character that never is one, so that every font draws for it what it draws for those that it lacks.
_NONE = "\uffff"
#: Files that are looked at, and words in the names of those that are looked at first: common fonts of many scripts.
_MOST = 1000
_FIRST = (
    "dejavusans",
    "notosans",
    "notosanscjk",
    "arial",
    "cjk",
    "wqy",
    "fallback",
    "msyh",
    "yugoth",
    "malgun",
    "pingfang",
)
#: Words in the names of those that are not looked at: other styles of a family, and fonts of boxes for every letter.
_NOT = ("bold", "italic", "oblique", "light", "thin", "black", "condensed", "mono", "lastresort", "blank", "emoji")
#: Names of which a note tells.
_TOLD = 3


@cache
def lettered(text: str, size: int) -> tuple[str, Font]:
    """What to draw for a text, and the font that has its letters.

    Args:
        text: one line.
        size: of the font, in pixels.

    Returns:
        The text and a font that has all of it: Pillow's own, else an installed one. If there is none, the font that
        lacks the least, and in the text for a letter that it lacks the plain one (é: e) or its number (``\\u706f``).
    """
    text = unicodedata.normalize("NFC", text)
    own = ImageFont.load_default(size)
    if text.isascii():
        return text, own
    letters = frozenset(text)
    path, lacking = _best(letters)
    font = own if path is None else ImageFont.truetype(path, size)
    return "".join(_spelled(letter) if letter in lacking else letter for letter in text), font


def spelling_note(texts: Iterable[str], size: int) -> str | None:
    """A sentence on what is spelled out in a picture as no font has its letters; None if all are drawn as they are.

    Args:
        texts: that the picture shows.
        size: of its font, in pixels.
    """
    drawn = {text: lettered(text, size)[0] for text in dict.fromkeys(texts)}
    other = {text: shown for text, shown in drawn.items() if unicodedata.normalize("NFC", text) != shown}
    if not other:
        return None
    told = ", ".join(f"{text} is drawn as {shown}" for text, shown in list(other.items())[:_TOLD])
    more = f" and {len(other) - _TOLD} more" if len(other) > _TOLD else ""
    return f"no installed font has all letters of the names, so {told}{more}; install one that has them, such as Noto"


def _spelled(letter: str) -> str:
    plain = "".join(part for part in unicodedata.normalize("NFD", letter) if not unicodedata.combining(part))
    if plain.isascii():
        return plain
    return f"\\u{ord(letter):04x}" if ord(letter) <= 0xFFFF else f"\\U{ord(letter):08x}"


@cache
def _best(letters: frozenset[str]) -> tuple[str | None, frozenset[str]]:
    """The font with most of some letters, None for Pillow's own, and those that it lacks."""
    best: tuple[str | None, frozenset[str]] = None, _lacking(None, letters)
    for path in _installed():
        if not best[1]:
            break
        lacking = _lacking(path, letters)
        if len(lacking) < len(best[1]):
            best = path, lacking
    return best


def _lacking(path: str | None, letters: frozenset[str]) -> frozenset[str]:
    """The letters that a font has not; all of them if it cannot be used."""
    try:
        font = _small(path)
        none = _drawn(font, _NONE)
        return frozenset(one for one in letters if one != " " and _drawn(font, one) in (none, None))
    except (OSError, ValueError):  # damaged, or of one size that is another
        return letters


@cache
def _small(path: str | None) -> Font:
    """A font in a size that is quick to draw and tells letters apart, each for itself."""
    if path is None:
        return ImageFont.load_default(12)
    return ImageFont.truetype(path, 12, layout_engine=ImageFont.Layout.BASIC)


def _drawn(font: Font, letter: str) -> tuple[tuple[int, int], bytes] | None:
    """What a font draws for a letter; None if that is nothing."""
    mask = font.getmask(letter)
    content = bytes(mask)
    return (mask.size, content) if any(content) else None


@cache
def _installed() -> tuple[str, ...]:
    """Files of fonts on this machine, common ones first."""
    found = []
    for folder in font_folders():
        for place, _, files in os.walk(folder):
            found += [os.path.join(place, name) for name in files if name.lower().endswith((".ttf", ".ttc", ".otf"))]
    names = {path: os.path.basename(path).lower().replace("-", "").replace("_", "") for path in found}
    usable = [path for path, name in names.items() if not any(word in name for word in _NOT)]

    def rank(path: str) -> tuple[int, str]:
        known = [number for number, word in enumerate(_FIRST) if word in names[path]]
        return min(known, default=len(_FIRST)), names[path]

    return tuple(sorted(usable, key=rank)[:_MOST])


def font_folders() -> Iterator[Path]:
    """Where fonts are installed: for this user and for all, on Linux, macOS and Windows."""
    home = Path(os.path.expanduser("~"))
    shared = os.environ.get("XDG_DATA_DIRS", "").split(os.pathsep)
    for data in (os.environ.get("XDG_DATA_HOME") or home / ".local/share", *shared, "/usr/local/share", "/usr/share"):
        if data:
            yield Path(data) / "fonts"
    yield from (home / ".fonts", home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts"))
    if windows := os.environ.get("WINDIR"):
        yield Path(windows) / "Fonts"
    if local := os.environ.get("LOCALAPPDATA"):
        yield Path(local) / "Microsoft/Windows/Fonts"
