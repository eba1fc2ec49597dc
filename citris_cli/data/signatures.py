"""What a file is by its first bytes, whatever its name ends in; and what to do with one that is not what was wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

#: As many first bytes as are looked at.
LOOKED_AT = 512

#: What a file is opened as: arrays, a picture, a model of ours, a published checkpoint, or what becomes a dataset.
Wanted: TypeAlias = Literal["data", "picture", "model", "checkpoint", "recording"]


@dataclass(frozen=True)
class FileType:
    """What a file is.

    Attributes:
        name: with its article, such as "a PNG picture"; "" of a file that is empty.
        family: what can be done with it; the same for all films, say.
    """

    name: str
    family: str

    @property
    def kind(self) -> str:
        """The name without its article: "PNG picture"."""
        return re.sub("^an? ", "", self.name) or "empty file"


def _starts(*options: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(options)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda start: start[:4] == b"RIFF" and start[8:12] == form


def _media(*brands: bytes) -> Callable[[bytes], bool]:
    """Files of ISO's base format (MP4, QuickTime, HEIF, AVIF), which name their brand."""
    return lambda start: start[4:8] == b"ftyp" and start[8:12] in brands


def _is_bmp(start: bytes) -> bool:
    return start[:2] == b"BM" and start[6:10] == bytes(4)  # two letters alone may begin a text


def _is_netpbm(start: bytes) -> bool:
    return re.match(rb"P[1-7][\s#]", start) is not None


def _is_mp4(start: bytes) -> bool:
    return start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")


def _is_mpeg(start: bytes) -> bool:
    stream = start[:4] in (b"\0\0\1\xba", b"\0\0\1\xb3")
    return stream or (len(start) > 376 and start[0] == start[188] == start[376] == 0x47)


def _is_safetensors(start: bytes) -> bool:
    # The length of the header in 8 bytes, little-endian and at most 100,000,000, then the header, which is JSON.
    return len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= 100_000_000


def _is_pickle(start: bytes) -> bool:
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _zip(test: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """Zip archives whose first member has a name that passes."""
    return lambda start: start[:4] == b"PK\x03\x04" and test(start[30 : 30 + int.from_bytes(start[26:28], "little")])


def _text(start: bytes) -> str:
    """The file's beginning as text, or "" if it is none."""
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A character that the end of what was read cuts in two is no reason to call it no text.
        if error.start < len(start) - 3:
            return ""
        text = start[: error.start].decode("utf-8-sig")
    return text if all(character.isprintable() or character in "\t\r\n\f" for character in text) else ""


def _markup(*openings: str) -> Callable[[bytes], bool]:
    def test(start: bytes) -> bool:
        # Not asked to be printable as a whole: pages come in many encodings.
        text = start.decode("latin-1").removeprefix("ï»¿").lstrip().lower()
        return text.startswith("<") and any(opening in text for opening in openings)

    return test


def _is_json(start: bytes) -> bool:
    return re.match(r'\s*(\{\s*["}]|\[\s*[\[{"\d\]-])', _text(start)) is not None


def _is_report(start: bytes) -> bool:
    return re.match(r'\s*\{\s*"(model": .*\n?\s*"model_sha256|data": .*\n?\s*"fit)": ', _text(start)) is not None


def _is_log(start: bytes) -> bool:
    return re.match(r'\{"step": \d+, "', _text(start)) is not None


def _is_table(start: bytes) -> bool:
    lines = _text(start).splitlines()[:2]
    counts = [{line.count(separator) for line in lines} for separator in ",;\t"]
    return len(lines) == 2 and any(len(count) == 1 and 0 not in count for count in counts)


#: Tests of the first bytes and what a file is that passes one; the first that passes counts.
_KNOWN: tuple[tuple[Callable[[bytes], bool], FileType], ...] = (
    (lambda start: not start, FileType("", "empty")),
    (_starts(b"version https://git-lfs.github.com/spec/"), FileType("a Git LFS pointer", "pointer")),
    (_starts(b"/annex/objects/"), FileType("a git-annex pointer", "annex pointer")),
    (_starts(b"\x93NUMPY"), FileType("a single .npy array", "npy")),
    (_starts(b"\x89HDF\r\n\x1a\n"), FileType("an HDF5 file", "HDF5")),
    (_starts(b"MATLAB "), FileType("a MATLAB file", "MATLAB")),
    (_starts(b"CDF\x01", b"CDF\x02", b"CDF\x05"), FileType("a NetCDF file", "other arrays")),
    (_starts(b"PAR1"), FileType("a Parquet table", "other arrays")),
    (_starts(b"ARROW1", b"FEA1"), FileType("an Arrow table", "other arrays")),
    (_starts(b"SQLite format 3\0"), FileType("an SQLite database", "other arrays")),
    (_starts(b"\x89PNG\r\n\x1a\n"), FileType("a PNG picture", "picture")),
    (_starts(b"\xff\xd8\xff"), FileType("a JPEG picture", "picture")),
    (_starts(b"GIF87a", b"GIF89a"), FileType("a GIF picture", "picture")),
    (_starts(b"II*\0", b"MM\0*"), FileType("a TIFF picture", "picture")),
    (_riff(b"WEBP"), FileType("a WebP picture", "picture")),
    (_is_bmp, FileType("a BMP picture", "picture")),
    (_is_netpbm, FileType("a PPM picture", "picture")),
    (_media(b"avif", b"avis"), FileType("an AVIF picture", "other picture")),
    (_media(b"heic", b"heix", b"hevc", b"mif1"), FileType("an HEIF picture", "other picture")),
    (_starts(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), FileType("a JPEG 2000 picture", "other picture")),
    (_starts(b"8BPS"), FileType("a Photoshop picture", "other picture")),
    (_starts(b"v/1\x01"), FileType("an OpenEXR picture", "other picture")),
    (_starts(b"%!PS"), FileType("a PostScript file", "other picture")),
    (_starts(b"%PDF-"), FileType("a PDF document", "other picture")),
    (_markup("<svg"), FileType("an SVG drawing", "other picture")),
    (_riff(b"AVI "), FileType("a film (AVI)", "film")),
    (_starts(b"\x1a\x45\xdf\xa3"), FileType("a film (WebM or Matroska)", "film")),
    (_starts(b"OggS"), FileType("a film (Ogg)", "film")),
    (_starts(b"FLV\x01"), FileType("a film (Flash)", "film")),
    (_starts(b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), FileType("a film (Windows Media)", "film")),
    (_media(b"qt  "), FileType("a film (QuickTime)", "film")),
    (_is_mp4, FileType("a film (MP4)", "film")),
    (_is_mpeg, FileType("a film (MPEG)", "film")),
    (_is_safetensors, FileType("a safetensors model", "model")),
    (_is_pickle, FileType("a pickle", "pickle")),
    (_zip(lambda name: name.endswith(b".npy")), FileType("an .npz file of arrays", "npz")),
    (_zip(lambda name: name.endswith(b"data.pkl")), FileType("a PyTorch checkpoint", "checkpoint")),
    (
        _zip(lambda name: name.startswith((b"[Content_Types]", b"_rels/", b"mimetype"))),
        FileType("an office document, such as Excel's", "office"),
    ),
    (_zip(lambda name: True), FileType("a zip archive", "zip")),
    (_starts(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd"),
     FileType("a compressed archive", "packed")),
    (lambda start: start[257:262] == b"ustar", FileType("a tar archive", "packed")),
    (_markup("<title>citris: ", ": citris check</title>", ": causal latents</title>"),
     FileType("a page that citris made", "own page")),
    (_markup("<!doctype html", "<html", "<head", "<body"), FileType("an HTML page", "page")),
    (_markup("<error"), FileType("an error message in XML", "page")),
    (_markup("<?xml"), FileType("an XML document", "text")),
    (_is_report, FileType("a report that citris wrote", "own text")),
    (_is_log, FileType("a log of a training run", "own text")),
    (_is_json, FileType("a JSON document", "text")),
    (_is_table, FileType("a table in text (CSV)", "table")),
    (lambda start: bool(_text(start)), FileType("text", "text")),
)  # fmt: skip

_SAVE = "save frames and interventions as .npz with np.savez"
_PACK = "make one with 'citris pack SOURCE --targets TABLE -o DATA'"
_PICTURE = "give a PNG or JPEG file"
_MODEL = "give a model that a citris command wrote, a .safetensors file"
_CHECKPOINT = "give a published checkpoint, or what 'citris export' wrote"
_AGAIN = {
    "pointer": " and not the file itself; fetch that with 'git lfs pull'",
    "annex pointer": " and not the file itself; fetch that with 'git annex get'",
    "page": ", not the file itself: the download probably failed; open it to see why, and download the file again",
    "own page": " to look at, and nothing else is in it; open it in a browser",
    "own text": ": results, and neither frames nor a model; open it in an editor or any program that reads JSON",
}
#: What is said after what the file is, by family, and "" for every other one.
_INSTEAD: Mapping[Wanted, Mapping[str, str]] = {
    "data": _AGAIN | {
        "empty": f"; {_SAVE}",
        "npy": f", not a dataset; {_PACK}",
        "HDF5": f", not a dataset; {_PACK}",
        "MATLAB": f"; read its arrays with scipy.io.loadmat or h5py and {_SAVE}",
        "picture": f"; a dataset has many frames and their interventions; {_PACK} of a folder of pictures, "
        "or give 'citris encode' the picture under its own ending",
        "film": f", not a dataset; {_PACK}",
        "model": ", not data; name it with --model, and here an .npz file with frames",
        "pickle": f", which could run anything when it is read and never is; {_SAVE}",
        "checkpoint": ", not data; 'citris import-checkpoint' reads it",
        "packed": "; unpack it and name the .npz files in it",
        "table": " and holds no frames; give it to 'citris pack' with --targets, beside the film or the pictures",
        "text": f" and holds no frames; {_SAVE}",
        "": f"; read its arrays with a library of its own and {_SAVE}",
    },
    "picture": _AGAIN | {
        "empty": f"; {_PICTURE}",
        "other picture": ", of a kind that is not read; save it as PNG or JPEG",
        "film": ", not a picture; make a dataset of it with 'citris pack', or save its frames as pictures",
        "packed": "; unpack it first",
        "npz": ", not a picture; give it a name that ends in .npz, and its frames are read",
        "": f", not a picture; {_PICTURE}",
    },
    "recording": _AGAIN | {
        "empty": "; get it again",
        "other picture": ", of a kind that is not read; save it as PNG or JPEG",
        "MATLAB": f"; save it as HDF5 (version 7.3) or read its arrays with scipy.io.loadmat and {_SAVE}",
        "model": ", not a recording",
        "pickle": f", which could run anything when it is read and never is; {_SAVE}",
        "packed": "; unpack it first",
        "table": " and holds no frames; give it with --targets, and here the film or the pictures",
        "text": " and holds no frames; name a film, a folder of pictures, or arrays",
        "": "; name a film, a folder of pictures, or arrays (.npy, .npz, HDF5)",
    },
    "model": _AGAIN | {
        "empty": "; get it again, or train anew",
        "pickle": ", and citris reads models from .safetensors files only; import a published checkpoint with "
        "'citris import-checkpoint'",
        "checkpoint": ", and citris reads models from .safetensors files only; import it with "
        "'citris import-checkpoint'",
        "packed": "; unpack it first",
        "npz": f", and citris reads models from .safetensors files only; {_MODEL}",
        "": f", not a model; {_MODEL}",
    },
    "checkpoint": _AGAIN | {
        "empty": "; get it again",
        "packed": "; unpack it first",
        "npz": f", not a checkpoint; {_CHECKPOINT}",
        "": f", not a checkpoint; {_CHECKPOINT}",
    },
}  # fmt: skip
#: Families that a reader looks at itself.
_TAKEN: Mapping[Wanted, frozenset[str]] = {
    "data": frozenset({"npz", "zip", "checkpoint"}),  # what is in an archive is known once it is open
    "picture": frozenset({"picture"}),
    "recording": frozenset({"npz", "zip", "checkpoint", "npy", "HDF5", "picture", "film"}),
    "model": frozenset({"model"}),
    "checkpoint": frozenset({"checkpoint", "zip", "npz", "model", "pickle"}),
}


def identify(start: bytes) -> FileType | None:
    """What a file is, or None where that is not known.

    Args:
        start: the first :data:`LOOKED_AT` bytes of the file, or all of a shorter one.
    """
    return next((found for test, found in _KNOWN if test(start)), None)


def refusal(start: bytes, wanted: Wanted = "data") -> str | None:
    """Why a file is not what was wanted, and what to do instead: the end of a sentence, or None where none is known.

    None is no promise: a damaged or an unknown file shows itself when it is read.

    Args:
        start: the first :data:`LOOKED_AT` bytes of the file, or all of a shorter one.
        wanted: what it was opened as.
    """
    found = identify(start)
    if found is None or found.family in _TAKEN[wanted]:
        return None
    advice = _INSTEAD[wanted].get(found.family, _INSTEAD[wanted][""])
    return (f"this is {found.name}" if found.name else "the file is empty") + advice


def beginning(path: Path) -> bytes:
    """The first bytes of a file, as :func:`identify` takes them.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return stream.read(LOOKED_AT)
