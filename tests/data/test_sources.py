"""Inputs that are opened: a file is recognised by its content, and arrays in memory are read like those of a file."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save as safetensors_bytes

from citris_cli.artifacts.checkpoints import read_checkpoint
from citris_cli.artifacts.models import read_model_header
from citris_cli.data import sources
from citris_cli.data.images import look_at
from citris_cli.data.npz import release_pages
from citris_cli.data.signatures import refusal
from citris_cli.data.sources import ArraySource, Source, open_source
from citris_cli.errors import InputError
from citris_cli.show.page import beginning
from tests.data.conftest import save

PICTURE = np.zeros((8, 8, 3), np.uint8)
ARRAYS: dict[str, np.ndarray] = {
    "bytes": np.arange(30, dtype=np.uint8).reshape(5, 2, 3),
    "floats": np.linspace(0, 1, 7, dtype=np.float32),
    "big_endian": np.arange(6, dtype=">i4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "backwards": np.arange(12)[::-1],
    "scalar": np.array(3),
    "none": np.zeros((0, 4), dtype=np.int16),
    "text": np.array(["a", "bcd"]),
    "raw": np.array([b"a", b"bcd"]),
}


def saved(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, kind)
    return stream.getvalue()


def film(extension: str) -> bytes:
    pytest.importorskip("imageio_ffmpeg")
    return imageio.imwrite("<bytes>", np.zeros((2, 16, 16, 3), np.uint8), extension=extension, plugin="FFMPEG")


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


def checkpoint() -> bytes:
    stream = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, stream)
    return stream.getvalue()


def packed() -> bytes:
    import gzip

    return gzip.compress(b"x" * 100)


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, b"<xml/>")
    return stream.getvalue()


def tarred() -> bytes:
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.npz"))
    return stream.getvalue()


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"
#: What a file may be, all under the name of an .npz; what is said that it is, and what to do.
OTHER_FILES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "nothing": (lambda: b"", "the file is empty", "np.savez"),
    "a single array": (npy, "a single .npy array", "citris pack"),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file", "citris pack"),
    "MATLAB": (lambda: b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\1IM", "a MATLAB file", "loadmat"),
    "PNG": (lambda: saved("PNG"), "a PNG picture", "citris encode"),
    "JPEG": (lambda: saved("JPEG"), "a JPEG picture", "citris encode"),
    "GIF": (lambda: saved("GIF"), "a GIF picture", "citris encode"),
    "BMP": (lambda: saved("BMP"), "a BMP picture", "citris encode"),
    "TIFF": (lambda: saved("TIFF"), "a TIFF picture", "citris encode"),
    "WebP": (lambda: saved("WEBP"), "a WebP picture", "citris encode"),
    "MP4": (lambda: film(".mp4"), "a film (MP4)", "citris pack"),
    "WebM": (lambda: film(".mkv"), "a film (WebM or Matroska)", "citris pack"),
    "AVI": (lambda: film(".avi"), "a film (AVI)", "citris pack"),
    "a model": (lambda: safetensors_bytes({"w": np.zeros(2, np.float32)}), "a safetensors model", "--model"),
    "a checkpoint": (checkpoint, "a PyTorch checkpoint", "citris import-checkpoint"),
    "a pickle": (lambda: pickle.dumps({"images": PICTURE}), "a pickle", "np.savez"),
    "an archive": (packed, "a compressed archive", "unpack"),
    "CSV": (lambda: b"x,y\n0.5,1\n" * 200, "a table in text (CSV)", "citris pack"),
    "QuickTime": (lambda: b"\0\0\0\x14ftypqt  " + bytes(40), "a film (QuickTime)", "citris pack"),
    "AVIF": (lambda: b"\0\0\0\x1cftypavif" + bytes(40), "an AVIF picture", "np.savez"),
    "Parquet": (lambda: b"PAR1" + bytes(40), "a Parquet table", "np.savez"),
    "Excel": (lambda: zipped("[Content_Types].xml", "xl/workbook.xml"), "an office document", "np.savez"),
    "tar": (tarred, "a tar archive", "unpack"),
    "a Git LFS pointer": (lambda: LFS.encode(), "a Git LFS pointer and not the file itself", "git lfs pull"),
    "a git-annex pointer": (lambda: b"/annex/objects/SHA256E-s1--a.npz\n", "a git-annex pointer", "git annex get"),
    "a page": (
        lambda: ("\ufeff\n<!DOCTYPE html><html><title>No" + "ä" * 600).encode(),
        "an HTML page",
        "download",
    ),
    "a page of citris": (lambda: beginning("citris: correlation", "").encode(), "a page that citris made", "a browser"),
    "its check": (lambda: beginning("d: citris check", "").encode(), "a page that citris made", "a browser"),
    "a report": (
        lambda: b'{\n  "model": "nf.safetensors",\n  "model_sha256": "1f",\n',
        "a report that citris wrote",
        "an editor",
    ),
    "its log": (lambda: b'{"step": 40, "loss": 16.2}\n', "a log of a training run", "an editor"),
    "a page in Latin-1": (lambda: "<html><title>Zugriff gestört".encode("latin-1"), "an HTML page", "download"),
    "an XML error": (lambda: b'<?xml version="1.0"?>\n<Error><Code>AccessDenied', "an error message", "download"),
    "JSON": (lambda: b'{"images": [[0, 1]]}', "a JSON document", "np.savez"),
    "text": (lambda: b"What I did,\nand why.\n\n", "this is text", "np.savez"),
    "text with umlauts": (lambda: ("ä" * 600).encode(), "text", "np.savez"),
    "text with a byte order mark": (lambda: "\ufeffx;y\n1;2\n".encode(), "text", "citris pack"),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_what_is_no_npz_is_said_to_be_what_it_is(tmp_path: Path, case: str) -> None:
    make, what, instead = OTHER_FILES[case]
    path = tmp_path / "data.npz"
    path.write_bytes(make())
    with pytest.raises(InputError) as caught:
        open_source(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert what in message
    assert instead in message.split(what)[1]
    assert "\n" not in message


@pytest.mark.parametrize("case", OTHER_FILES)
def test_so_is_what_is_no_picture_no_model_and_no_checkpoint(tmp_path: Path, case: str) -> None:
    make, what, _ = OTHER_FILES[case]
    path = tmp_path / "file"
    path.write_bytes(make())
    readers = {
        " picture": lambda: look_at(path, "file"),
        "safetensors": lambda: read_model_header(path),
        " checkpoint": lambda: read_checkpoint(path),
    }
    what = what.removesuffix(" and not the file itself").removeprefix("this is ").removeprefix("a ")
    for it_is, read in readers.items():
        if it_is in what and "AVIF" not in what:
            continue
        if (it_is, case) == (" checkpoint", "a model"):
            what = "none with published names"
        with pytest.raises(InputError) as caught:
            read()
        message = str(caught.value)
        assert what in message
        assert "\n" not in message
        assert "damaged" not in message
        if case in ("a Git LFS pointer", "a page", "an XML error"):
            assert OTHER_FILES[case][2] in message  # what to do is the same, whatever was to be read


@pytest.mark.parametrize("cut", range(4))
def test_text_is_known_wherever_the_look_at_it_ends(cut: int) -> None:
    assert "text" in (refusal(("x" * cut + "€" * 600).encode()[:512]) or "")


def test_the_ending_of_a_name_means_nothing(tmp_path: Path) -> None:
    for name in ("data.png", "data", "data.mp4", "data.csv"):
        np.savez(tmp_path / "a.npz", images=PICTURE)
        (tmp_path / "a.npz").rename(tmp_path / name)
        with open_source(tmp_path / name) as source:
            np.testing.assert_array_equal(source.array("images"), PICTURE)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_no_other_kind_of_file(compression: int) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("a.npy", npy())
    assert refusal(stream.getvalue()[:512]) is None
    assert refusal(np.random.default_rng(0).bytes(512)) is None


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_in_memory_read_like_those_of_a_file(tmp_path: Path, name: str) -> None:
    opened: list[Source] = [open_source(save(tmp_path / "a.npz", **ARRAYS)), open_source(ARRAYS)]
    for source in opened:
        with source:
            assert source.names == tuple(ARRAYS)
            assert name in source
            assert "other" not in source
            assert source.shape(name) == ARRAYS[name].shape
            assert source.dtype(name) == ARRAYS[name].dtype
            array = source.array(name)
            pieces = list(source.pieces(name, 2 * array[:1].nbytes if array.ndim else 1))
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.flags.c_contiguous
        assert array.dtype.isnative
        assert array.ndim == ARRAYS[name].ndim
        if array.ndim and len(array):
            assert max(map(len, pieces)) == 2
            np.testing.assert_array_equal(np.concatenate(pieces), array)
            assert all(piece.dtype.isnative and piece.flags.c_contiguous for piece in pieces)
        else:
            assert pieces == []
        with pytest.raises(InputError, match="there is no key 'other'"):
            source.shape("other")


def test_arrays_are_not_copied_if_they_need_not_be() -> None:
    source = ArraySource(ARRAYS)
    assert np.shares_memory(source.array("bytes"), ARRAYS["bytes"])
    assert not np.shares_memory(source.array("fortran"), ARRAYS["fortran"])
    assert not source.is_mapped("bytes")


def test_a_copy_that_would_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("citris_cli.data.npz.available_memory", lambda: 10)
    source = ArraySource(ARRAYS)
    assert source.array("bytes").nbytes > 10
    with pytest.raises(InputError, match=r"the given arrays: key 'fortran' needs .* of memory"):
        source.array("fortran")


def test_lists_and_tensors_are_arrays_too() -> None:
    source = open_source({"keys": ["x", "theta"], "targets": [[0, 1], [1, 0]], "images": torch.ones(2, 3)})
    assert source.array("keys").tolist() == ["x", "theta"]
    assert source.shape("targets") == (2, 2)
    assert source.array("images").dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        (
            {"images": np.array([{}, None])},
            "the given arrays: key 'images' holds pickled Python objects, which are never",
        ),
        (
            {"images": None},
            "key 'images' is None, which numpy cannot convert to numbers; give a numpy array, a torch tensor",
        ),
        ({"images": np.zeros(2, "M8[s]")}, "key 'images' holds values of type datetime64"),
        ({"images": [[1, 2], [3]]}, "key 'images': numpy cannot make an array of it (setting an array element"),
        (
            {"images": torch.ones(2, device="meta")},
            "key 'images': numpy cannot make an array of it (Cannot copy out of meta",
        ),
        (
            {"images": [np.zeros(2), torch.ones(3)]},
            "key 'images' lists arrays of the shapes [2] and [3]; they need one",
        ),
        ({}, "the given arrays: no arrays are given; give at least images and interventions"),
        ({3: [1, 2]}, "the key 3 is not text"),
    ],
)
def test_what_is_no_array_is_refused(arrays: Any, says: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(arrays)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hash_of_arrays_knows_values_names_types_and_shapes_and_nothing_else() -> None:
    def hashed(arrays: dict[str, Any]) -> str:
        digest = hashlib.sha256()
        ArraySource(arrays).update(digest)
        return digest.hexdigest()

    first = np.arange(12, dtype=np.int32).reshape(3, 4)
    arrays = {"a": first, "b": np.array(1.5), "c": np.zeros((0, 2))}
    same = [
        {name: arrays[name] for name in reversed(arrays)},
        arrays | {"a": first.astype(">i4")},
        arrays | {"a": np.asfortranarray(first)},
        arrays | {"a": np.concatenate([first, first], axis=1)[:, :4]},
    ]
    assert {hashed(other) for other in same} == {hashed(arrays)}
    others = [
        arrays | {"a": first.reshape(4, 3)},
        arrays | {"a": first.astype(np.uint32)},
        arrays | {"a": first + (np.arange(12).reshape(3, 4) == 11)},
        arrays | {"b": np.array(1.25)},
        arrays | {"c": np.zeros((0, 3))},
        {("d" if name == "c" else name): value for name, value in arrays.items()},
    ]
    assert len({hashed(other) for other in (arrays, *others)}) == len(others) + 1


def test_a_hash_of_arrays_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = hashlib.sha256(), hashlib.sha256()
    ArraySource(ARRAYS).update(whole)
    monkeypatch.setattr(sources, "_PIECE", 8)
    ArraySource(ARRAYS).update(parts)
    assert whole.digest() == parts.digest()


def test_only_what_nobody_writes_to_counts_as_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(5000))
    read, written = (np.load(tmp_path / "a.npy", mmap_mode=mode) for mode in ("r", "c"))
    source = ArraySource({"read": read, "written": written, "transposed": read.reshape(50, 100).T})
    assert [source.is_mapped(name) for name in source.names] == [True, False, False]
    # Pages of a private mapping hold what their file does not: given back, they would lose it.
    written[7] = 3
    assert not release_pages(written)
    assert source.array("written")[7] == 3
    assert release_pages(read)
    assert source.array("read")[7] == 7
