"""What a file is by its first bytes, whatever its name ends in; and what to do with one that holds no arrays."""

from __future__ import annotations

from collections.abc import Callable

#: As many first bytes as are looked at.
LOOKED_AT = 512

_SAVE = "save frames and interventions as .npz with np.savez"
_EMPTY = "the file is empty; save frames and interventions with np.savez"
_NPY = "this is a single .npy array; save frames and interventions together as .npz with np.savez"
_HDF5 = f"this is an HDF5 file; read its arrays with h5py and {_SAVE}"
_MATLAB = f"this is a MATLAB file; read its arrays with scipy.io.loadmat or h5py and {_SAVE}"
_PICKLE = f"this is a pickle, which could run anything when it is read and never is; {_SAVE}"
_PACKED = "this is a compressed archive; unpack it and name the .npz files in it"
_MODEL = "this is a safetensors model and no data; name it with --model, and here an .npz file with frames"
_TEXT = f"this is text, such as CSV or JSON, and holds no frames; {_SAVE}"


def _picture(kind: str) -> str:
    return (
        f"this is a {kind} picture; a dataset has many frames and their interventions, {_SAVE}, "
        "or give 'citris encode' the picture under its own ending"
    )


def _film(kind: str) -> str:
    return (
        f"this is a film ({kind}); read its frames with imageio.v3.imread and save them with the interventions as .npz"
    )


def _starts(*options: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(options)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda start: start[:4] == b"RIFF" and start[8:12] == form


def _is_bmp(start: bytes) -> bool:
    return start[:2] == b"BM" and start[6:10] == bytes(4)  # two letters alone may begin a text


def _is_still_picture(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"mif1", b"avif")


def _is_mp4(start: bytes) -> bool:
    return start[4:8] in (b"ftyp", b"moov", b"mdat")


def _is_safetensors(start: bytes) -> bool:
    # The length of the header in 8 bytes, little-endian and at most 100,000,000, then the header, which is JSON.
    return len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= 100_000_000


def _is_pickle(start: bytes) -> bool:
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A character that the end of what was read cuts in two is no reason to call it no text.
        if error.start < len(start) - 3:
            return False
        text = start[: error.start].decode("utf-8-sig")
    return bool(text) and all(character.isprintable() or character in "\t\r\n\f" for character in text)


#: Tests of the first bytes and what is said of a file that passes one; the first that passes counts.
_KNOWN: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda start: not start, _EMPTY),
    (_starts(b"\x93NUMPY"), _NPY),
    (_starts(b"\x89HDF\r\n\x1a\n"), _HDF5),
    (_starts(b"MATLAB "), _MATLAB),
    (_starts(b"\x89PNG\r\n\x1a\n"), _picture("PNG")),
    (_starts(b"\xff\xd8\xff"), _picture("JPEG")),
    (_starts(b"GIF87a", b"GIF89a"), _picture("GIF")),
    (_starts(b"II*\0", b"MM\0*"), _picture("TIFF")),
    (_riff(b"WEBP"), _picture("WebP")),
    (_is_bmp, _picture("BMP")),
    (_is_still_picture, _picture("HEIF")),
    (_riff(b"AVI "), _film("AVI")),
    (_starts(b"\x1a\x45\xdf\xa3"), _film("WebM or Matroska")),
    (_starts(b"OggS"), _film("Ogg")),
    (_is_mp4, _film("MP4")),
    (_is_safetensors, _MODEL),
    (_is_pickle, _PICKLE),
    (_starts(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf"), _PACKED),
    (_is_text, _TEXT),
)


def refusal(start: bytes) -> str | None:
    """Why a file is no ``.npz``, and what to do instead: the end of a sentence, or None where nothing else is known.

    None is no promise: a damaged or an unknown file shows itself when it is read.

    Args:
        start: the first :data:`LOOKED_AT` bytes of the file, or all of a shorter one.
    """
    return next((sentence for test, sentence in _KNOWN if test(start)), None)
