"""What must hold of a command that was given a bad file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.run import Done

#: Characters of the longest sentence.
LONGEST_SENTENCE = 400
#: What a command may take beyond what it takes for a good file: so many bytes, and so many for each of the file.
MEMORY, MEMORY_PER_BYTE = 96 << 20, 16
#: Of a picture, of at most so many pixels, so many bytes for each besides.
MOST_PIXELS, MEMORY_PER_PIXEL = 64_000_000, 8
#: Characters that change how a terminal shows the text around them.
_BIDIRECTIONAL = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
#: What a training that fails may leave: its log and its states.
_OF_A_TRAINING = (".metrics.jsonl", ".state.safetensors", ".best.safetensors", ".reconstructions.png")
_TEMPORARY = re.compile(r"\..+\.tmp|tmp.+")

Files = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Good:
    """What a command makes of a good file: what it takes and what it says, to compare with.

    Attributes:
        memory: see :class:`~tests.fuzz.run.Done`.
        numbers: see :func:`numbers`, of what two runs agree on.
    """

    memory: int
    numbers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """The files of a case before a command, and which of them it may change.

    Attributes:
        folder: of the case.
        samples: folder of good files, none of which may change.
        replaced: paths within the case's folder.
    """

    folder: Path
    samples: Path
    replaced: set[str]
    files: Files
    sample_files: Files

    @classmethod
    def of(cls, folder: Path, samples: Path, replaced: set[str]) -> Seen:
        """Look at all of them."""
        return cls(folder, samples, replaced, files_of(folder), files_of(samples))


def files_of(folder: Path) -> Files:
    """Every file under a folder, links not followed: size, time and inode by its path there."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() or path.is_symlink():
            status = path.lstat()
            found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def memory_of_pixels(content: bytes) -> int:
    """Bytes that a picture's pixels may take while they are decoded; 0 of what is none, or is larger than any."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            pixels = picture.width * picture.height
    except Exception:  # a decoder's own, of which there are many
        return 0
    return MEMORY_PER_PIXEL * pixels if pixels <= MOST_PIXELS else 0


def problems(done: Done, seen: Seen, size: int, good: Good, pixels: int = 0) -> list[str]:
    """Everything that is wrong with what came of a command, as sentences without what differs from run to run.

    Args:
        done: what came of it.
        seen: the files before.
        size: bytes of the bad file.
        good: the same command with a good file.
        pixels: what the pixels of a picture may take, see :func:`memory_of_pixels`.
    """
    found = [*_of_status(done), *_of_words(done), *_of_files(done, seen), *_of_contents(seen)]
    allowed = good.memory + MEMORY + MEMORY_PER_BYTE * size + pixels
    if done.memory > allowed:
        found.append(f"memory: more than {MEMORY >> 20} MiB and {MEMORY_PER_BYTE} bytes for each of the file's")
    if b"out of memory" in done.stderr:
        found.append("memory: it went out, for a small file")
    return found


def outside_runs(seen: Seen) -> list[str]:
    """What is wrong with where a command wrote that was given no place: in a folder under ``runs``, or nowhere."""
    new = [name for name in files_of(seen.folder / "work") if f"work/{name}" not in seen.files]
    return [f"wrote outside of a folder under runs: {name}" for name in new if not Path(name).match("runs/*/*")]


def outcome(done: Done) -> str:
    """One word for how a command ended."""
    names = {0: "read", 1: "failed", 2: "refused", None: "hung"}
    return names.get(done.status, f"status {done.status}")


def numbers(done: Done, folder: Path) -> dict[str, str]:
    """Digests of all that a command made: arrays, weights, pictures, documents, and what it said on standard output."""
    found = {"standard output": _digest(done.stdout)}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or _TEMPORARY.fullmatch(path.name) or path.suffix == ".jsonl":
            continue
        try:
            if path.suffix in (".npz", ".safetensors"):
                for key, array in _arrays(path).items():
                    found[f"{name}: {key}"] = _digest(f"{array.dtype}{array.shape}".encode() + array.tobytes())
            elif path.suffix == ".json":
                for key, value in json.loads(path.read_bytes()).items():
                    found[f"{name}: {key}"] = _digest(json.dumps(value).encode())
            else:
                found[name] = _digest(path.read_bytes())
        except Exception:
            found[name] = "not readable"
    return found


def _of_status(done: Done) -> Iterator[str]:
    if done.status is None:
        yield "hangs"
    elif done.status < 0:
        yield f"ended by signal {-done.status}"
    elif done.status not in (0, 1, 2):
        yield f"status {done.status}"


def _of_words(done: Done) -> Iterator[str]:
    """What is wrong with what it says."""
    texts = []
    for name, raw in (("standard output", done.stdout), ("standard error", done.stderr)):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            yield f"{name} is not UTF-8"
            text = raw.decode(errors="replace")
        texts.append(text)
        controls = {c for c in text if c != "\n" and (unicodedata.category(c) == "Cc" or c in _BIDIRECTIONAL)}
        if controls:
            yield f"{name} holds control characters"
        if any(line.startswith(("citris: forged", "forged")) for line in text.split("\n")):
            yield f"{name} holds a line that the file forged"
        if re.search(r"(?<!\[bold\])forged markup", text):
            yield f"{name} takes a name for markup"
        if any(len(line) > LONGEST_SENTENCE for line in text.split("\n")) and (name == "standard error"):
            yield f"{name}: a line of more than {LONGEST_SENTENCE} characters"
    error = texts[1]
    if "Traceback" in error:
        yield "a traceback: " + error.rstrip("\n").splitlines()[-1][:80]
    if told := re.search(r"\.py:\d+: (\w*Warning)", error):
        yield f"a {told[1]} of Python on standard error"
    if done.status in (1, 2):
        last = error.rstrip("\n").split("\n")[-1]
        if not last.startswith("citris: "):
            yield "the last line is no sentence of citris: " + last[:80]
        if told := re.match(r"citris: unexpected (\w+): (.{,60})", last):
            yield f"unexpected {told[1]}: {told[2]}"
    if done.stdout.startswith((b"{", b"[")):
        yield from _of_json(done.stdout, "standard output")


def _of_files(done: Done, seen: Seen) -> Iterator[str]:
    """What is wrong with which files are there."""
    after = files_of(seen.folder)
    for name in sorted(after.keys() | seen.files.keys()):
        where, before, now = Path(name).parts[0], seen.files.get(name), after.get(name)
        if before == now:
            continue
        if before is not None and name not in seen.replaced:
            yield f"{'an input' if where == 'in' else 'a file'} was {'removed' if now is None else 'changed'}: {name}"
        if before is None and _TEMPORARY.fullmatch(Path(name).name):
            yield f"a temporary file stays in {where}"
        elif before is None and where == "in" and Path(name).match("encodings-*.safetensors"):
            continue  # a cache, which lies beside its autoencoder
        elif before is None and where != "work":
            yield f"wrote into {where}: {name}"
        elif before is None and done.status == 2:
            yield f"refused, and yet wrote {Path(name).name}"
        elif before is None and done.status == 1 and not name.endswith(_OF_A_TRAINING):
            yield f"failed, and yet wrote {Path(name).name}"
    if files_of(seen.samples) != seen.sample_files:
        changed = dict(files_of(seen.samples).items() ^ seen.sample_files.items())
        yield f"changed among the other inputs: {', '.join(sorted(changed))}"
    outside = [name for name in os.listdir(seen.folder.parent) if name not in ("samples", seen.folder.name)]
    if outside:
        yield f"wrote beside the case's folder: {', '.join(sorted(outside))}"


def _of_contents(seen: Seen) -> Iterator[str]:
    """What is wrong with what was written."""
    for name, status in files_of(seen.folder).items():
        path = seen.folder / name
        read = _READERS.get(path.suffix)
        if read is None or seen.files.get(name) == status or _TEMPORARY.fullmatch(path.name):
            continue
        try:
            yield from read(path)
        except Exception as error:
            yield f"wrote {path.name}, which is not whole ({type(error).__name__})"


def _of_arrays(path: Path) -> Iterator[str]:
    if any(array.dtype.kind == "f" and not np.isfinite(array).all() for array in _arrays(path).values()):
        yield f"wrote NaN or infinity into {path.name}"


def _of_json(raw: bytes, name: str) -> Iterator[str]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        json.loads(raw, parse_constant=refuse)
    except (ValueError, RecursionError):
        yield f"no strict JSON: {name}"


def _of_lines(path: Path) -> Iterator[str]:
    for line in path.read_bytes().splitlines():
        yield from _of_json(line, path.name)


def _of_page(path: Path) -> Iterator[str]:
    if "<script>forged" in path.read_text(errors="replace"):
        yield f"a name is a script in {path.name}"


def _of_picture(path: Path) -> Iterator[str]:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
    yield from ()


_READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    ".npz": _of_arrays,
    ".safetensors": _of_arrays,
    ".json": lambda path: _of_json(path.read_bytes(), path.name),
    ".jsonl": _of_lines,
    ".html": _of_page,
    ".png": _of_picture,
    ".gif": _of_picture,
}


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return dict(file.items())
    from safetensors.numpy import load_file

    return load_file(path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
