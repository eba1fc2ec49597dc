import io
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from citris_cli.data import npz
from citris_cli.data.npz import mappings, open_npz, release_pages, require_unchanged
from citris_cli.errors import ChangedDataError, InputError
from tests.data.memory import grown_by, needs_proc
from tests.permissions import permissions_count

ARRAYS = {
    "bytes": np.arange(30, dtype=np.uint8).reshape(5, 2, 3),
    "floats": np.linspace(0, 1, 7, dtype=np.float32),
    "big_endian": np.arange(6, dtype=">i4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "scalar": np.array(3),
    "none": np.zeros((0, 4), dtype=np.int16),
    "text": np.array(["a", "bcd"]),
    "raw": np.array([b"a", b"bcd"]),
}


def npy(header: bytes, data: bytes, version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def header(shape: str, descr: str = "'|u1'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()


def archive(path: Path, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


def refused(path: Path, name: str | None = None) -> str:
    with pytest.raises(InputError) as caught, open_npz(path) as file:
        file.array(name or file.names[0])
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", list(ARRAYS))
def test_arrays_come_back_equal_and_native(tmp_path: Path, compressed: bool, name: str) -> None:
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, **ARRAYS)
    with open_npz(path) as file:
        assert file.names == tuple(ARRAYS)
        assert file.shape(name) == ARRAYS[name].shape
        assert file.dtype(name) == ARRAYS[name].dtype
        array = file.array(name)
    np.testing.assert_array_equal(array, ARRAYS[name])
    assert array.dtype.isnative
    assert array.flags.c_contiguous


def test_only_uncompressed_members_of_files_are_mapped(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **ARRAYS)
    np.savez_compressed(tmp_path / "b.npz", **ARRAYS)
    with open_npz(tmp_path / "a.npz") as stored, open_npz(tmp_path / "b.npz") as packed:
        assert stored.is_mapped("bytes")
        assert not packed.is_mapped("bytes")
        assert not stored.is_mapped("fortran")
        mapped = stored.array("bytes")
        assert release_pages(mapped)
        assert not release_pages(packed.array("bytes"))
        assert not mapped.flags.writeable
    # Overwriting the file in place shows through a mapping and never through a copy.
    contents = (tmp_path / "a.npz").read_bytes()
    at = contents.index(ARRAYS["bytes"].tobytes())
    with (tmp_path / "a.npz").open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")
    assert mapped[0, 0, 0] == 255
    with pytest.raises(ChangedDataError, match=r"a.npz: was overwritten while it was read; restore it and run"):
        require_unchanged(mappings([mapped])[0])


def test_a_mapped_file_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, one=np.arange(9000), other=np.arange(9000))
    contents = path.read_bytes()
    with open_npz(path) as file:
        assert file.identity.change() == ""
        one, other = file.array("one"), file.array("other")
        (watched,) = mappings([one, one[3:], np.arange(3)])
        later = mappings([other])[0]
    require_unchanged(watched)
    # Another array beside them, and the same contents once more: nothing that was read has changed.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.npy", b"")
    require_unchanged(watched)
    path.write_bytes(contents)
    require_unchanged(watched)
    # What only one of them lies in is none of the other's.
    with path.open("r+b") as file:
        file.seek(contents.index(np.arange(9000).tobytes()) + 100)
        file.write(b"x")
    require_unchanged(later)
    with pytest.raises(ChangedDataError, match="overwritten"):
        require_unchanged(watched)
    # What is mapped of a file that another one takes the place of stays as it is.
    replaced = tmp_path / "b.npz"
    np.savez(replaced, one=np.arange(9000))
    with open_npz(replaced) as file:
        (watched,) = mappings([file.array("one")])
        identity = file.identity
    path.replace(replaced)
    require_unchanged(watched)
    assert identity.change() == "was replaced"
    replaced.unlink()
    require_unchanged(watched)
    assert identity.change() == "was removed"


@pytest.mark.skipif(os.name != "posix", reason="what is mapped cannot be cut short on this system")
def test_a_mapped_file_that_is_cut_short_is_found_before_it_is_touched(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=np.arange(9000), other=np.arange(9000))
    with open_npz(tmp_path / "a.npz") as file:
        one, other = mappings([file.array("one")])[0], mappings([file.array("other")])[0]
    os.truncate(tmp_path / "a.npz", 80_000)
    require_unchanged(one)
    with pytest.raises(ChangedDataError, match=r"a.npz: was cut short while it was read"):
        require_unchanged(other)
    assert npz.cut_short() == [str(tmp_path / "a.npz")]
    np.save(tmp_path / "a.npy", np.arange(9000))
    (given,) = mappings([np.load(tmp_path / "a.npy", mmap_mode="r")])
    require_unchanged(given)
    os.truncate(tmp_path / "a.npy", 10_000)
    with pytest.raises(ChangedDataError, match=r"the mapped file of the given arrays was cut short"):
        require_unchanged(given)


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "missing.npz")
    assert "directory" in refused(tmp_path)
    (tmp_path / "empty.npz").touch()
    assert "empty" in refused(tmp_path / "empty.npz")
    (tmp_path / "noise.npz").write_bytes(np.random.default_rng(0).bytes(600))
    assert "neither an .npz file nor any other kind of file" in refused(tmp_path / "noise.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert ".npy" in refused(tmp_path / "one.npy")
    assert "citris pack" in refused(tmp_path / "one.npy")
    assert "no arrays" in refused(archive(tmp_path / "none.npz"))
    assert "not a numpy array" in refused(archive(tmp_path / "other.npz", a=b"plain text, no array"))
    os.mkfifo(tmp_path / "pipe.npz")
    assert "not a regular file" in refused(tmp_path / "pipe.npz")
    np.savez(tmp_path / "a.npz", a=np.zeros(2))
    with pytest.raises(InputError, match="no key 'z'; the file has a"), open_npz(tmp_path / "a.npz") as file:
        file.array("z")


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    (tmp_path / "a.npz").chmod(0)
    with permissions_count():
        assert "permissions" in refused(tmp_path / "a.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_anywhere_is_refused(tmp_path: Path, compressed: bool) -> None:
    whole = _saved(compressed, frames=np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8))
    for length in (1, 3, 30, 100, 200, 2000, len(whole) - 30, len(whole) - 1):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        refused(tmp_path / "cut.npz")
    # The middle missing, with the directory of the archive in place.
    (tmp_path / "cut.npz").write_bytes(whole[:300] + whole[1300:])
    refused(tmp_path / "cut.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_bit_is_noticed(tmp_path: Path, compressed: bool) -> None:
    whole = bytearray(_saved(compressed, frames=np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)))
    whole[2500] ^= 1
    (tmp_path / "a.npz").write_bytes(whole)
    assert "damaged" in refused(tmp_path / "a.npz")


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    np.savez(tmp_path / "a.npz", keys=np.array([_Payload(proof)], dtype=object), ok=np.zeros(2))
    assert "pickled Python objects" in refused(tmp_path / "a.npz", "keys")
    archive(tmp_path / "b.npz", a=pickle.dumps(_Payload(proof)))
    refused(tmp_path / "b.npz")
    assert not proof.exists()
    # The other arrays of such a file are still of use.
    with open_npz(tmp_path / "a.npz") as file:
        assert file.array("ok").shape == (2,)
    np.load(tmp_path / "a.npz", allow_pickle=True)["keys"]
    assert proof.exists(), "the payload must be able to work, or this test proves nothing"


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    "text",
    [
        header("(1000000, 1000000)"),
        header("(3,)"),
        header("(-4, -1)"),
        header("(4.0,)"),
        header(f"({2**62}, 4, 0)"),
        header(f"({2**64 + 4},)"),
        header("(4,)", "[('a', 'u1')]"),
        header("(4,)", "'|O'"),
        header("(4,)", "'nonsense'"),
        header("__import__('os')"),
        b"{" * 5000,
        b"\xff\xfe",
        b"",
    ],
    ids=range(13),
)
def test_lying_headers_are_refused(tmp_path: Path, compression: int, text: bytes) -> None:
    refused(archive(tmp_path / "a.npz", compression, a=npy(text, b"abcd")))


def test_a_header_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    long = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"abcd"
    assert "header of 4294967295 bytes" in refused(archive(tmp_path / "a.npz", a=long))


def test_doubled_names_and_strange_compression_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", npy(header("(1,)"), b"a"))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.npy", npy(header("(1,)"), b"b"))
    assert "twice" in refused(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as file:
        file.writestr("a.npy", npy(header("(1,)"), b"a"))
        file.writestr("a", npy(header("(1,)"), b"b"))
    assert "twice" in refused(tmp_path / "c.npz")
    archive(tmp_path / "b.npz", zipfile.ZIP_BZIP2, a=npy(header("(4,)"), b"abcd"))
    assert "compressed" in refused(tmp_path / "b.npz")


def test_members_that_are_no_arrays_are_left_alone_unless_asked_for(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("notes/", "")
        file.writestr("README", "how it was recorded")
        file.writestr("notes/log.txt", "nothing")
        file.writestr("images.npy", npy(header("(4,)"), b"abcd"))
        file.writestr("bare", npy(header("(2,)"), b"ef"))  # an array without the ending
        file.writestr("targets", "0 1 0")
        for hidden in ("__MACOSX/._images.npy", "._images.npy", ".DS_Store"):
            file.writestr(hidden, b"\0\5\x16\7")
    with open_npz(tmp_path / "a.npz") as file:
        assert file.names == ("images", "bare")
        assert [file.array(name).tobytes() for name in file.names] == [b"abcd", b"ef"]
        assert "._images" not in file
        # Whoever wants the targets is told what they are.
        assert "targets" in file
    assert "key 'targets' is not a numpy array" in refused(tmp_path / "a.npz", "targets")
    assert "no key '._images'; the file has images, bare" in refused(tmp_path / "a.npz", "._images")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as file:
        file.writestr("README", "how it was recorded")
    assert "the file holds no arrays, only README; save" in refused(tmp_path / "b.npz", "README")


def test_a_member_that_cannot_be_opened_is_no_array_but_one_of_an_arrays_name_is_told_of(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", zipfile.ZIP_BZIP2, a=npy(header("(4,)"), b"abcd"))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("README", "text", zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"README", b"READM\xff", 1))  # its own header says another name
    with open_npz(path) as file:
        assert file.names == ("a",)
    assert "key 'a' is compressed" in refused(path, "a")


def test_every_version_of_the_header_is_read(tmp_path: Path) -> None:
    for version in ((1, 0), (2, 0), (3, 0)):
        stream = io.BytesIO()
        np.lib.format.write_array(stream, ARRAYS["fortran"], version=version)
        with open_npz(archive(tmp_path / "a.npz", a=stream.getvalue())) as file:
            np.testing.assert_array_equal(file.array("a"), ARRAYS["fortran"])
    assert "header of" in refused(archive(tmp_path / "a.npz", a=npy(header("(4,)"), b"abcd", version=4)))
    # What version 3 was made for is refused as every type with fields is.
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.zeros(2, [("höhe", "f4")]), version=(3, 0))
    assert "never read" in refused(archive(tmp_path / "a.npz", a=stream.getvalue()))


def test_more_than_the_memory_is_refused_before_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10_000, dtype=np.uint8))
    np.savez(tmp_path / "b.npz", a=np.zeros(10_000, dtype=np.uint8))
    monkeypatch.setattr(npz, "available_memory", lambda: 9_999)
    assert "memory" in refused(tmp_path / "a.npz")
    with open_npz(tmp_path / "b.npz") as file:
        assert file.array("a").shape == (10_000,)


@needs_proc
def test_compressed_reading_takes_one_copy_of_memory(tmp_path: Path) -> None:
    size = 200 << 20
    # Drawn on one colour: compressed to a hundredth.
    array = np.zeros((size >> 12, 1 << 12), np.uint8)
    array[:, :32] = np.random.default_rng(0).integers(0, 256, (len(array), 32))
    np.savez_compressed(tmp_path / "a.npz", a=array)
    imports, code = "from citris_cli.data.npz import open_npz", "open_npz(Path(sys.argv[1])).array('a')"
    assert 0.9 * size < grown_by(imports, code, tmp_path / "a.npz") < 1.2 * size


@needs_proc
@pytest.mark.parametrize("array", [np.zeros(1 << 26, np.uint8), np.zeros((1 << 11, 1 << 11), "f8", "F")])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, array: Any) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=array)
    with open_npz(tmp_path / "a.npz") as file:
        for read in (lambda: file.array("a"), lambda: file.require_room("a", kept=8)):
            with pytest.raises(InputError, match=r"key 'a' is .* kB that would take .* MB of memory.* with np\.savez$"):
                read()
    code = "try:\n    open_npz(Path(sys.argv[1])).array('a')\nexcept InputError:\n    pass"
    imports = "from citris_cli.data.npz import open_npz\nfrom citris_cli.errors import InputError"
    assert grown_by(imports, code, tmp_path / "a.npz") < 8 << 20


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_size_that_the_file_cannot_have_is_refused(tmp_path: Path, compression: int) -> None:
    start = npy(header("(1000000000,)"), b"")
    path = archive(tmp_path / "a.npz", compression, a=start + bytes(1000))
    content = path.read_bytes()
    sizes = content.index(b"PK\x01\x02") + 20  # in its own directory: compressed and not
    claimed = (len(start) + 10**9).to_bytes(4, "little") * 2
    path.write_bytes(content[:sizes] + claimed + content[sizes + 8 :])
    expected = "claims shape" if compression == zipfile.ZIP_STORED else "would take 1.0 GB of memory"
    assert expected in refused(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("array", [np.arange(60.0).reshape(10, 3, 2), np.arange(60.0).reshape(2, 3, 10).T])
@pytest.mark.parametrize("descr", ["<f4", ">f8"])
def test_pieces_make_up_the_array(tmp_path: Path, array: Any, compressed: bool, descr: str) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", a=array.astype(descr), s=np.float32(1))
    with open_npz(tmp_path / "a.npz") as file:
        pieces = list(file.pieces("a", 3 * array[0].size * int(descr[-1])))
        assert [len(piece) for piece in pieces] == [3, 3, 3, 1]
        assert all(piece.dtype.isnative for piece in pieces)
        np.testing.assert_array_equal(np.concatenate(pieces), array)
        assert list(file.pieces("s", 4)) == []


def test_pieces_of_a_damaged_member_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(1000) % 7)
    content = bytearray(path.read_bytes())
    content[-1000 + 30 if len(content) > 1000 else len(content) // 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError), open_npz(path) as file:
        list(file.pieces("a", 800))


@pytest.mark.parametrize("compressed", [False, True])
def test_reading_takes_at_most_twice_numpys_time(tmp_path: Path, compressed: bool) -> None:
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, 4 << 20, dtype=np.uint8), 8)
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, a=frames)
    ours, theirs = [], []
    for _ in range(3):
        start = time.perf_counter()
        int(open_npz(path).array("a")[::4096].sum())
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        int(np.load(path)["a"][::4096].sum())
        theirs.append(time.perf_counter() - start)
    assert min(ours) < 2 * min(theirs)


def _saved(compressed: bool = False, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()
