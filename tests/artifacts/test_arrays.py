import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from citris_cli.artifacts.arrays import npz_bytes, npz_writer
from citris_cli.data.npz import open_npz

ARRAYS = {
    "floats": np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32),
    "names": np.array(["a", "längér"]),
    "scalar": np.int64(3),
    "empty": np.zeros((0, 4), np.uint8),
    "transposed": np.arange(12).reshape(3, 4).T,
}


def test_numpy_reads_back_what_was_written():
    with np.load(io.BytesIO(npz_bytes(ARRAYS)), allow_pickle=False) as read:
        assert set(read.files) == set(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(read[name], array)
            assert read[name].dtype == np.asarray(array).dtype


def test_same_arrays_same_bytes():
    assert npz_bytes(ARRAYS) == npz_bytes(ARRAYS)


def test_our_own_reader_maps_every_member_in_place_and_aligned(tmp_path: Path):
    (tmp_path / "x.npz").write_bytes(npz_bytes(ARRAYS))
    file = open_npz(tmp_path / "x.npz")
    assert file.is_mapped("floats")
    assert file.array("floats").ctypes.data % 64 == 0
    np.testing.assert_array_equal(file.array("floats"), ARRAYS["floats"])


def test_chunks_make_the_same_file_as_the_whole():
    array = np.arange(1000, dtype=np.uint8).reshape(100, 10)
    buffer = io.BytesIO()
    with npz_writer(buffer) as writer:
        writer.add_chunks("a", array.shape, array.dtype, (array[i : i + 7] for i in range(0, 100, 7)))
    assert buffer.getvalue() == npz_bytes({"a": array})
    assert zipfile.ZipFile(buffer).testzip() is None


def test_chunks_that_do_not_fill_the_shape_are_refused():
    with npz_writer(io.BytesIO()) as writer, pytest.raises(ValueError, match="needs 40"):
        writer.add_chunks("a", (40,), np.dtype(np.uint8), [np.zeros(39, np.uint8)])


def test_python_objects_are_refused():
    with pytest.raises(ValueError, match="objects"):
        npz_bytes({"a": np.array([{}], dtype=object)})
