"""Damage and malice: for every form of file, named functions from a good file's bytes to a bad one's.

All that a mutation draws comes from the generator that it is given, so that its seed repeats it.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

Mutation = Callable[[Random, bytes], bytes]
Arrays = dict[str, np.ndarray]

#: Inflated size of what is packed to be far larger than its file. Bounded: the machine that tests has to take it.
BOMB = 256 << 20
#: Text that would show if it were not made harmless: escapes, a forged line, markup of Rich and of HTML.
HOSTILE_TEXTS = (
    "\x1b[31mred\x1b]0;title\x07",
    "name\ncitris: forged line",
    "name\r\nforged line\x00",
    "[bold]forged markup[/bold] [link=http://forged]x[/link] [/nonsense]",
    "<script>forged()</script>",
    "../../escaped",
    "/tmp/escaped",
    "",
    " ",
    "\u202eforged",
    "\ud800",
    "é" * 300,
    "x" * 100_000,
)
# JSON that Python's own writer does not write; these stand in for it and are replaced in the text.
_RAW = {"@infinite@": "1e999", "@digits@": "9" * 5000, "@deep@": "[" * 100_000 + "]" * 100_000}
_HOSTILE_VALUES = (
    None, True, False, 0, 1, -1, 2, 0.5, 2**31, 2**63, 2**64, 10**400, -(10**400), 1e308, -1e-308, float("nan"),
    float("inf"), [], {}, [[]], [[1, 2], [3]], [None], ["x"], {"name": "x"}, {"": {}}, *_RAW, *HOSTILE_TEXTS,
)  # fmt: skip


def hostile_value(rng: Random) -> Any:
    """A value that whoever wrote the file would not have written."""
    return rng.choice(_HOSTILE_VALUES)


def dumps(value: Any) -> str:
    """JSON of any of these values, NaN and worse included."""
    text = json.dumps(value)
    for stand_in, raw in _RAW.items():
        text = text.replace(json.dumps(stand_in), raw)
    return text


# --- bytes, whatever they mean


def flip_bits(rng: Random, content: bytes) -> bytes:
    return _flipped(rng, content, 0, len(content))


def flip_a_bit_of_the_start(rng: Random, content: bytes) -> bytes:
    return _flipped(rng, content, 0, min(len(content), 64), 1)


def flip_a_bit_of_the_end(rng: Random, content: bytes) -> bytes:
    return _flipped(rng, content, max(0, len(content) - 256), len(content), 1)


def truncate(rng: Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))] if content else content


def truncate_a_little(rng: Random, content: bytes) -> bytes:
    return content[: -rng.randint(1, 16)]


def empty(rng: Random, content: bytes) -> bytes:
    return b""


def append(rng: Random, content: bytes) -> bytes:
    return content + rng.randbytes(rng.choice((1, 8, 5000)))


def prepend(rng: Random, content: bytes) -> bytes:
    return rng.randbytes(rng.choice((1, 8, 5000))) + content


def splice(rng: Random, content: bytes) -> bytes:
    """Some bytes replaced by as many from elsewhere in the file."""
    length = rng.randint(1, max(1, min(4096, len(content) // 2)))
    source, target = (rng.randrange(max(1, len(content) - length)) for _ in range(2))
    return content[:target] + content[source : source + length] + content[target + length :]


def cut_out(rng: Random, content: bytes) -> bytes:
    start = rng.randrange(max(1, len(content)))
    return content[:start] + content[start + rng.choice((1, 8, 512)) :]


def zeros(rng: Random, content: bytes) -> bytes:
    """A block of zeros, as a disk leaves it that lost one."""
    start = rng.randrange(max(1, len(content)))
    length = min(rng.choice((16, 512, 4096)), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def noise(rng: Random, content: bytes) -> bytes:
    return rng.randbytes(rng.choice((1, 7, 8, 100, 10_000)))


def _flipped(rng: Random, content: bytes, start: int, end: int, most: int = 16) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.randint(1, most)):
        if end > start:
            changed[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


_BYTES: tuple[Mutation, ...] = (
    flip_bits, flip_a_bit_of_the_start, flip_a_bit_of_the_end, truncate, truncate_a_little, empty, append, prepend,
    splice, cut_out, zeros, noise,
)  # fmt: skip


# --- .npz


def _arrays(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file.items())


def _npz(arrays: Arrays, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def _one(rng: Random, arrays: Arrays, kinds: str = "biufUS") -> str:
    return rng.choice([name for name, array in arrays.items() if array.dtype.kind in kinds] or list(arrays))


def flip_values(rng: Random, content: bytes) -> bytes:
    """Bits of the data, with checksums that fit."""
    arrays = _arrays(content)
    name = _one(rng, arrays, "biuf")
    array = np.array(arrays[name])
    arrays[name] = np.frombuffer(_flipped(rng, array.tobytes(), 0, array.nbytes), array.dtype).reshape(array.shape)
    return _npz(arrays, rng.random() < 0.3)


def unfit_values(rng: Random, content: bytes) -> bytes:
    """NaN, infinities and numbers beyond any range."""
    arrays = _arrays(content)
    name = _one(rng, arrays, "biuf")
    array = arrays[name].astype(rng.choice((np.float32, np.float64, np.float16, np.int64, arrays[name].dtype)))
    if array.size:
        value = rng.choice((np.nan, np.inf, -np.inf, -1, 2, 255, 1e30, -1e300))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array.flat[[rng.randrange(array.size) for _ in range(rng.choice((1, array.size)))]] = (
                value if array.dtype.kind == "f" or (np.isfinite(value) and abs(value) < 2**7) else 99
            )
    arrays[name] = array
    return _npz(arrays)


def other_type(rng: Random, content: bytes) -> bytes:
    arrays = _arrays(content)
    name = _one(rng, arrays)
    types = ("bool", "int8", ">i4", "uint64", "float16", "float64", "longdouble", "complex64", "S3", "U3", "M8[s]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = arrays[name]
        array = np.zeros(array.shape, np.uint8) if array.dtype.kind in "US" else array.astype(np.float64)
        arrays[name] = array.astype(rng.choice(types))
    return _npz(arrays)


def other_shape(rng: Random, content: bytes) -> bytes:
    arrays = _arrays(content)
    name = _one(rng, arrays)
    array = arrays[name]
    changes: tuple[Callable[[], np.ndarray], ...] = (
        lambda: array[:0], lambda: array[:1], lambda: array[..., :0], lambda: array[None], lambda: array.reshape(-1),
        lambda: array[..., None], lambda: np.asfortranarray(array), lambda: np.concatenate([array, array]),
        lambda: array.T, lambda: array.reshape(-1)[0],
    )  # fmt: skip
    arrays[name] = np.asanyarray(rng.choice(changes)())
    return _npz(arrays)


def other_members(rng: Random, content: bytes) -> bytes:
    """An array left out, called otherwise, or under the name of another."""
    arrays = _arrays(content)
    first, second = _one(rng, arrays), _one(rng, arrays)
    change = rng.randrange(4)
    if change == 0:
        del arrays[first]
    elif change == 1:
        arrays[rng.choice(HOSTILE_TEXTS[:6]).replace("/", "-") or "x"] = arrays.pop(first)
    elif change == 2:
        arrays[first], arrays[second] = arrays[second], arrays[first]
    else:
        arrays[rng.choice(("keys", "kinds", "targets", "mask", "latents", "images", "file2"))] = arrays[first]
    return _npz(arrays)


def hostile_names(rng: Random, content: bytes) -> bytes:
    """Names of columns or of inputs that do harm where they are shown; or a great many, or one that is very long."""
    arrays = _arrays(content)
    names = [name for name, array in arrays.items() if array.dtype.kind == "U"]
    name = rng.choice(names or ["keys"])
    count = len(arrays[name]) if name in arrays and arrays[name].ndim else 4
    text = [one.replace("\ud800", "?") for one in HOSTILE_TEXTS if len(one) < 1000]
    arrays[name] = np.array([rng.choice(text) for _ in range(rng.choice((count, count, count, 0, 1, 3000)))], dtype=str)
    return _npz(arrays, compressed=True)


def long_names(rng: Random, content: bytes) -> bytes:
    """An array of text that takes far more memory than its file: every entry is as long as the longest."""
    arrays = _arrays(content)
    name = rng.choice([name for name, array in arrays.items() if array.dtype.kind == "U"] or ["keys"])
    count = max(1, len(arrays[name])) if name in arrays else 4
    arrays[name] = np.zeros(count, dtype=f"U{BOMB // 4 // count}")
    arrays[name][:] = "a"
    return _npz(arrays, compressed=True)


def bomb(rng: Random, content: bytes) -> bytes:
    """An array of zeros that is a thousand times its file."""
    arrays = _arrays(content)
    name = _one(rng, arrays, "biuf")
    array = arrays[name]
    row = max(1, int(np.prod(array.shape[1:])) * array.itemsize)
    arrays[name] = np.zeros((BOMB // row, *array.shape[1:]), array.dtype)
    return _npz(arrays, compressed=True)


def odd_header(rng: Random, content: bytes) -> bytes:
    """The .npy header of a member says something else than its data."""
    headers = (
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999,)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 4294967296, 4294967296)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': True, 'shape': ()}",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '<f4', 'fortran_order': 1, 'shape': [4]}",
        "{'descr': '\x1b[31m', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '<f4', 'shape': (True,)}",
        "[" * 300 + "]" * 300,
        "",
    )

    def change(name: str, member: bytes) -> bytes:
        header = rng.choice(headers).encode()
        return b"\x93NUMPY" + bytes((rng.choice((1, 2, 3, 9)), 0)) + len(header).to_bytes(2, "little") + header

    return _repacked(rng, content, change)


# --- zip archives: .npz and .ckpt


def _repacked(rng: Random, content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The archive with one member changed, stored, with a checksum that fits."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        chosen = rng.choice(source.namelist())
        for name in source.namelist():
            member = source.read(name)
            target.writestr(name, change(name, member) if name == chosen else member)
    return buffer.getvalue()


def members_twice(rng: Random, content: bytes) -> bytes:
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = rng.choice(archive.namelist())
        archive.writestr(name, archive.read(name)[: rng.choice((0, 10, 10**9))])
    return buffer.getvalue()


def odd_member_name(rng: Random, content: bytes) -> bytes:
    """A member more, of a name that nothing has."""
    buffer = io.BytesIO(content)
    names = [*HOSTILE_TEXTS, "folder/", ".npy", "a/b.npy", "C:\\x.npy", "../x.npy"]
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = rng.choice(names).replace("\ud800", "?")[:60_000] + rng.choice(("", ".npy"))
        archive.writestr(info, archive.read(rng.choice(archive.namelist())))
    return buffer.getvalue()


def odd_directory(rng: Random, content: bytes) -> bytes:
    """A field of a member in the archive's directory, or of the directory's end, says something else."""
    changed = bytearray(content)
    starts = _positions(content, b"PK\x01\x02")
    end = content.rfind(b"PK\x05\x06")
    # Offset and size of: flags, method, checksum, sizes, lengths of name, extra and comment, offset of the member.
    fields = ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (42, 4))
    if starts and rng.random() < 0.8:
        at, size = rng.choice(fields)
        at += rng.choice(starts)
    else:
        at, size = rng.choice(((8, 2), (10, 2), (12, 4), (16, 4), (20, 2)))
        at += max(end, 0)
    limit = 256**size
    value = rng.choice((0, 1, 8, 9, 12, 14, 99, limit - 1, limit // 2, rng.randrange(limit)))
    changed[at : at + size] = (value % limit).to_bytes(size, "little")
    return bytes(changed)


def zip_bomb(rng: Random, content: bytes) -> bytes:
    """Members overlap or are packed: what the directory says is far more than the file is."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name), compress_type=zipfile.ZIP_DEFLATED)
        chosen = rng.choice(source.namelist())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with target.open(chosen + rng.choice(("", "x")), "w") as member:
                for _ in range(BOMB >> 24):
                    member.write(bytes(1 << 24))
    return buffer.getvalue()


def _positions(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


_ZIP: tuple[Mutation, ...] = (members_twice, odd_member_name, odd_directory)
_NPZ: tuple[Mutation, ...] = (
    flip_values, unfit_values, other_type, other_shape, other_members, hostile_names, long_names, bomb, odd_header,
)  # fmt: skip


# --- safetensors


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _joined(header: Any, data: bytes) -> bytes:
    text = dumps(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def _nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every entry of nested containers as the container that holds it and its key."""
    entries = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    found = []
    for key, entry in entries:
        found.append((value, key))
        if isinstance(entry, (dict, list)):
            found += _nodes(entry)
    return found


def _spoil(rng: Random, value: Any) -> None:
    """Change one entry somewhere in a nested value: another value, none at all, or another name."""
    container, key = rng.choice(_nodes(value))
    change = rng.random()
    if change < 0.7:
        container[key] = hostile_value(rng)
    elif change < 0.8 or isinstance(container, list):
        del container[key]
    elif change < 0.9:
        container[rng.choice(HOSTILE_TEXTS)] = container.pop(key)
    else:
        container[rng.choice(("name", "kind", "steps", "latents", rng.choice(HOSTILE_TEXTS)))] = hostile_value(rng)


def metadata_field(rng: Random, content: bytes) -> bytes:
    """One entry, however deep, of the JSON in the metadata."""
    header, data = _parts(content)
    fields = {name: json.loads(text) for name, text in header["__metadata__"].items()}
    deep = [name for name, value in fields.items() if isinstance(value, (dict, list)) and value]
    # Of the whole, of what lies deep, or of the field that decides most.
    within = (
        fields
        if rng.random() < 0.3 or not deep
        else fields[rng.choice([*deep, *(["config"] if "config" in deep else [])])]
    )
    _spoil(rng, within)
    header["__metadata__"] = {name: dumps(value) for name, value in fields.items()}
    return _joined(header, data)


def metadata_string(rng: Random, content: bytes) -> bytes:
    """A name, a command line, a version: any string of the metadata that is shown somewhere."""
    header, data = _parts(content)
    fields = {name: json.loads(text) for name, text in header["__metadata__"].items()}
    strings = [(container, key) for container, key in _nodes(fields) if isinstance(container[key], str)]
    names = [(container, key) for container, key in strings if key == "name"]
    container, key = rng.choice(names if names and rng.random() < 0.5 else strings)
    container[key] = rng.choice(HOSTILE_TEXTS)
    header["__metadata__"] = {name: dumps(value) for name, value in fields.items()}
    return _joined(header, data)


def metadata_text(rng: Random, content: bytes) -> bytes:
    """An entry of the metadata that is no JSON, or no string."""
    header, data = _parts(content)
    _spoil(rng, header["__metadata__"])
    if rng.random() < 0.2:
        header["__metadata__"] = hostile_value(rng)
    return _joined(header, data)


def tensor_entry(rng: Random, content: bytes) -> bytes:
    """Type, shape or place of a tensor, or its name."""
    header, data = _parts(content)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    name = rng.choice(list(tensors))
    if rng.random() < 0.3:
        header[rng.choice(HOSTILE_TEXTS)] = header.pop(name)
    else:
        _spoil(rng, header[name])
    return _joined(header, data)


def header_twice(rng: Random, content: bytes) -> bytes:
    """Keys that stand twice in the header, with other values."""
    header, data = _parts(content)
    name = rng.choice(list(header))
    text = dumps(header)[:-1] + f", {json.dumps(name)}: {dumps(hostile_value(rng))}}}"
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8, "little") + raw + data


def flip_weights(rng: Random, content: bytes) -> bytes:
    """Bits of the weights and of nothing else: the file still is a good one, of another model."""
    start = 8 + int.from_bytes(content[:8], "little")
    return _flipped(rng, content, start, len(content), rng.choice((1, 16)))


def unfit_weights(rng: Random, content: bytes) -> bytes:
    """NaN, an infinity or something very large among the numbers of a tensor."""
    header, data = _parts(content)
    names = [name for name, entry in header.items() if name != "__metadata__" and entry["dtype"] == "F32"]
    # What is no weight and few tensors are: latents of training frames, encodings, moments of the optimiser.
    others = [name for name in names if name.startswith(("reference", "encodings", "optimizer"))]
    entry = header[rng.choice(others if others and rng.random() < 0.4 else names)]
    first, last = entry["data_offsets"]
    if last - first < 4:
        return content
    at = first + 4 * rng.randrange((last - first) // 4)
    value = rng.choice((float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 1e20))
    return _joined(header, data[:at] + struct.pack("<f", value) + data[at + 4 :])


def swap_tensors(rng: Random, content: bytes) -> bytes:
    """The data of two tensors of the same shape, exchanged by their places in the header; or one's halves."""
    header, data = _parts(content)
    tensors = [name for name in header if name != "__metadata__"]
    if len(tensors) == 1:
        return _joined(header, data[len(data) // 2 :] + data[: len(data) // 2])
    first = rng.choice(tensors)
    alike = [name for name in tensors if header[name]["shape"] == header[first]["shape"] and name != first]
    second = rng.choice(alike or tensors)
    one, other = header[first]["data_offsets"], header[second]["data_offsets"]
    header[first]["data_offsets"], header[second]["data_offsets"] = other, one
    return _joined(header, data)


def drop_tensor(rng: Random, content: bytes) -> bytes:
    """A tensor less, the others moved together."""
    header, data = _parts(content)
    name = rng.choice([name for name in header if name != "__metadata__"])
    first, last = header.pop(name)["data_offsets"]
    for entry in (entry for key, entry in header.items() if key != "__metadata__"):
        if entry["data_offsets"][0] >= last:
            entry["data_offsets"] = [offset - (last - first) for offset in entry["data_offsets"]]
    return _joined(header, data[:first] + data[last:])


def long_header(rng: Random, content: bytes) -> bytes:
    """The header's length is another one."""
    length = rng.choice((0, 1, 2**31, 2**63, 2**64 - 1, len(content), rng.randrange(len(content))))
    return length.to_bytes(8, "little") + content[8:]


_SAFETENSORS: tuple[Mutation, ...] = (
    metadata_field, metadata_string, metadata_text, tensor_entry, header_twice, flip_weights, unfit_weights,
    swap_tensors, drop_tensor, long_header,
)  # fmt: skip


# --- PyTorch's checkpoints


def _checkpoint(content: bytes) -> dict[str, Any]:
    import torch

    loaded: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return loaded


def _saved(contents: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(contents, buffer)
    return buffer.getvalue()


def hyper_parameter(rng: Random, content: bytes) -> bytes:
    contents = _checkpoint(content)
    _spoil(rng, contents["hyper_parameters"])
    return _saved(contents)


def checkpoint_entry(rng: Random, content: bytes) -> bytes:
    contents = _checkpoint(content)
    name = rng.choice(list(contents))
    contents[name] = hostile_value(rng)
    return _saved(contents)


def published_weight(rng: Random, content: bytes) -> bytes:
    """A weight with other numbers, of another type or shape, or under another name."""
    import torch

    contents = _checkpoint(content)
    weights = contents["state_dict"]
    name = rng.choice(list(weights))
    value = weights[name]
    changes: tuple[Callable[[], Any], ...] = (
        lambda: value * float("nan"), lambda: value + float("inf"), lambda: value[:0] if value.ndim else value[None],
        lambda: value[None], lambda: value.double(), lambda: value.to(torch.int8), lambda: value.to(torch.complex64),
        lambda: torch.zeros(1).expand(10**12), lambda: value.to_sparse(), lambda: value.flatten()[0], lambda: 7,
        lambda: value.bfloat16(), lambda: value * 3e38, lambda: torch.zeros(10**5, 10).expand(10**5, 10),
    )  # fmt: skip
    if rng.random() < 0.2:
        weights[rng.choice(HOSTILE_TEXTS)] = weights.pop(name)
    else:
        weights[name] = rng.choice(changes)()
    return _saved(contents)


def flip_pickle(rng: Random, content: bytes) -> bytes:
    """Bits of the pickle, with a checksum that fits."""
    return _repacked(rng, content, lambda name, member: _flipped(rng, member, 0, len(member), 4))


_CHECKPOINT: tuple[Mutation, ...] = (hyper_parameter, checkpoint_entry, published_weight, flip_pickle)


# --- pictures: any of these is a picture of its own, whatever the one that it stands for


def _picture(mode: str, size: tuple[int, int], form: str, **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new(mode, size, options.pop("colour", 0)).save(buffer, form, **options)
    return buffer.getvalue()


def other_mode(rng: Random, content: bytes) -> bytes:
    """Another kind of pixels than 8 bits of red, green and blue."""
    forms = (("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG"), ("F", "TIFF"),
             ("I", "TIFF"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("YCbCr", "TIFF"))  # fmt: skip
    mode, form = rng.choice(forms)
    return _picture(mode, (rng.choice((1, 32, 40)), rng.choice((1, 32, 33))), form)


def large_picture(rng: Random, content: bytes) -> bytes:
    """Many pixels in few bytes: as many as are allowed, or more, or in one row."""
    mode, size = rng.choice((
        ("1", (8000, 8000)), ("I;16", (8000, 8000)), ("RGB", (6000, 6000)), ("1", (30_000, 30_000)),
        ("1", (60_000, 1)), ("L", (1, 60_000)),
    ))  # fmt: skip
    return _picture(mode, size, "PNG")


def many_frames(rng: Random, content: bytes) -> bytes:
    from PIL import Image

    frames = [Image.new("L", (32, 32), shade) for shade in range(0, 250, 2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, rng.choice(("GIF", "WEBP", "TIFF")), save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def png_chunk(rng: Random, content: bytes) -> bytes:
    """A chunk more in a PNG: packed text far larger than the file, sizes of zero or beyond any, or nonsense."""
    good = _picture("RGB", (32, 32), "PNG")
    packed = zlib.compress(bytes(BOMB // 4))
    sizes = rng.choice(((0, 0), (2**31 - 1, 2**31 - 1), (1, 2**20), (8000, 8000)))
    body = rng.choice((
        b"zTXt" + b"Sources\0\0" + packed, b"iTXt" + b"Sources\0\1\0\0\0" + packed, b"iCCP" + b"p\0\0" + packed,
        b"tEXt" + b"Sources\0" + b"\x1b[31m\ncitris: forged", b"eXIf" + rng.randbytes(60), b"tRNS" + rng.randbytes(7),
        b"IHDR" + struct.pack(">IIBBBBB", *sizes, 16, 6, 0, 0, 0), b"gAMA" + bytes(4), b"PLTE" + rng.randbytes(4),
    ))  # fmt: skip
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    if body[:4] == b"IHDR":
        return good[:8] + chunk + good[33:]
    return good[:33] + chunk + good[33:]


_PICTURE: tuple[Mutation, ...] = (other_mode, large_picture, many_frames, png_chunk)


# --- lines of JSON


def json_line(rng: Random, content: bytes) -> bytes:
    """A line that is no JSON, no object, or has other entries."""
    lines = content.decode().splitlines()
    if not lines:
        return content
    at = rng.randrange(len(lines))
    try:
        value = json.loads(lines[at])
        _spoil(rng, value)
    except ValueError:
        value = hostile_value(rng)
    lines[at] = rng.choice((dumps(value), dumps(hostile_value(rng)), lines[at][: len(lines[at]) // 2]))
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")


def json_document(rng: Random, content: bytes) -> bytes:
    value = json.loads(content)
    _spoil(rng, value)
    return dumps(value).encode("utf-8", "surrogatepass")


def _named(*groups: tuple[Mutation, ...]) -> dict[str, Mutation]:
    return {mutation.__name__.replace("_", "-"): mutation for group in groups for mutation in group}


#: By the form of a file, its mutations by name.
MUTATIONS: dict[str, dict[str, Mutation]] = {
    "npz": _named(_BYTES, _ZIP, _NPZ),
    "safetensors": _named(_BYTES, _SAFETENSORS),
    "checkpoint": _named(_BYTES, _ZIP, (zip_bomb,), _CHECKPOINT),
    "picture": _named(_BYTES, _PICTURE),
    "lines": _named(_BYTES, (json_line,)),
    "json": _named(_BYTES, (json_document,)),
    "bytes": _named(_BYTES),
}
