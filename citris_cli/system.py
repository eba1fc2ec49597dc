"""What differs from one operating system to another, in one place: each with what is done where the system lacks it."""

from __future__ import annotations

import mmap
import os
import platform
import re
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Files that are standard output itself, on systems that have them.
STDOUT_NAMES = (Path("/dev/stdout"), Path("/dev/fd/1"), Path("/proc/self/fd/1"))
#: Folders of names of devices and of what a process has open, where there are such.
_DEVICES = (Path("/dev"), Path("/dev/fd"), Path("/proc/self/fd"))


def is_stream(path: Path) -> bool:
    """Whether a path leads to a pipe or a character device, or is a name of what is open already (``/dev/stderr``).

    These take what is written as it comes, and nothing of ours can lie beside them.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or (path.parent in _DEVICES and stat.S_ISREG(mode))


def available_memory() -> int:
    """Bytes of memory that can be taken without pushing anything else out.

    Linux tells it in ``/proc/meminfo`` and Windows in a function of its own. Elsewhere (macOS) all of the machine's
    memory is the best bound there is; and where nobody tells, ``sys.maxsize``, which bounds nothing.
    """
    return _linux_memory() or _windows_memory() or _physical_memory() or sys.maxsize


def available_cores() -> int:
    """Cores that this process may use: those that it is bound to, where a system binds processes; else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def about_open(descriptor: int, path: Path) -> os.stat_result:
    """What the system tells of a file that is open, such as another look at its path can be compared with.

    Windows may tell other things of an open file than of a path; there it is asked of the path.

    Args:
        descriptor: of the file.
        path: that it was opened by.
    """
    return os.fstat(descriptor) if os.name == "posix" else path.stat()


def release_mapping(mapping: mmap.mmap) -> None:
    """Give the resident pages of a file that is mapped to be read back to the system, where it takes such advice.

    Without it, the system takes them back itself when it needs memory.
    """
    if hasattr(mapping, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def sync_directory(folder: Path) -> None:
    """Bring a new name in a directory to the disk, where a directory can be opened (on Windows it cannot).

    Without it, a power cut may lose the new name; the file that has it is whole all the same.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def name_bytes(path: Path) -> bytes | None:
    """The bytes of a file's name, where names are bytes; None on Windows, where they are text."""
    return os.fsencode(path) if os.name == "posix" else None


def name_as_utf8(name: str) -> str:
    """A file's name with its bytes read as UTF-8, whatever encoding the system says that names have.

    A locale without an encoding (``LC_ALL=C``) has no letters but ASCII's, and yet names are mostly UTF-8. Bytes that
    are not remain as Python writes such bytes (``\\udc80`` to ``\\udcff``).
    """
    if os.name != "posix":
        return name
    try:
        told = os.fsencode(name)
    except UnicodeEncodeError:  # no file's name, but a text with letters that this encoding lacks, or that none has
        told = re.sub("[\ud800-\udc7f\udd00-\udfff]", "?", name).encode("utf-8", "surrogateescape")
    return told.decode("utf-8", "surrogateescape")


def name_of_utf8(name: str) -> str:
    """The way back from :func:`name_as_utf8`: the name by which Python finds the file."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape")) if os.name == "posix" else name


def graphics_backend() -> dict[str, str]:
    """How OpenGL draws without a screen, as moderngl is told: through EGL on Linux, else the system's own way."""
    return {"backend": "egl"} if sys.platform == "linux" else {}


def graphics_help() -> str:
    """What to do where there is no OpenGL without a screen."""
    if sys.platform == "linux":
        return "install it, on Debian and Ubuntu with apt-get install libegl1 libgl1 libgl1-mesa-dri"
    return "install a graphics driver that has it"


def processes_home() -> str:
    """What processes share whose numbers (``os.getpid``) count as one: the machine, and on Linux the container.

    Containers number their processes each for itself.
    """
    with suppress(OSError):
        return platform.node() + os.readlink("/proc/self/ns/pid")
    return platform.node()


def has_ended(process: int, or_is_this: bool = False) -> bool:
    """Whether there is no process of a number on this machine any more; False where that cannot be told.

    One that was killed and that nobody has waited for has ended as well, where there is ``/proc`` to tell.

    Args:
        process: its number.
        or_is_this: what is said of this very process.
    """
    if process == os.getpid():
        return or_is_this
    if os.name != "posix":
        return False  # on Windows, signal 0 would interrupt the process
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it is another user's
    try:
        return Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return False


def end_where_pages_are_lost(tell: Callable[[], object]) -> None:
    """End this process, once a function was called, where it touches a page of a mapped file that is no longer there.

    The system tells of it by SIGBUS: the file was cut short, or its disk failed. What touched the page cannot go on, so
    that no handler of Python's own would ever be called, for these wait until it has; this one is called at once. On
    Windows nobody can cut short what is mapped.

    Args:
        tell: what is said then; the process ends with status 1.
    """
    if not hasattr(signal, "SIGBUS"):
        return
    import ctypes

    form = ctypes.CFUNCTYPE(None, ctypes.c_int)

    def end(number: int) -> None:
        try:
            tell()
        finally:
            os._exit(1)

    set_handler = ctypes.CDLL(None).signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, form), ctypes.c_void_p
    _handlers.append(form(end))
    set_handler(signal.SIGBUS, _handlers[-1])


#: What the system may call as long as the process lives.
_handlers: list[object] = []


def may_reuse_addresses() -> bool:
    """Whether a server may ask for an address whose last connections are just closing.

    On Windows, that would give it one that another server listens on.
    """
    return os.name == "posix"


def has_screen() -> bool:
    """Whether a browser can show a page: on Linux and its like not without a display, as over SSH."""
    if os.name != "posix" or sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def closed_terminal_signal() -> signal.Signals | None:
    """The signal that comes when the terminal is closed; None where a system knows none."""
    return getattr(signal, "SIGHUP", None)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """A block in which processes that are started never see the signals that end a command, which its user sends.

    They come to this process after the block. On a system without masks of signals nothing is held back.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ending = [one for one in (signal.SIGINT, signal.SIGTERM, closed_terminal_signal()) if one is not None]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _linux_memory() -> int | None:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
    except (OSError, ValueError):
        return None


def _windows_memory() -> int | None:
    import ctypes

    if not hasattr(ctypes, "windll"):
        return None

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = [
            ("length", ctypes.c_uint32),
            ("load", ctypes.c_uint32),
            *((name, ctypes.c_uint64) for name in ("physical", "available", "page_file", "available_page_file")),
            *((name, ctypes.c_uint64) for name in ("virtual", "available_virtual", "available_extended")),
        ]

    status = Status(length=ctypes.sizeof(Status))
    told = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.available) if told else None


def _physical_memory() -> int | None:
    if not hasattr(os, "sysconf"):
        return None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):  # a system without these names
        return None
