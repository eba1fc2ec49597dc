"""The Typer app: it names the commands and turns exceptions into one sentence and an exit status.

Nothing heavy is imported here: each command imports what it needs when it runs, so that help and completion are quick.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Annotated, NoReturn

import typer

from citris_cli import __version__
from citris_cli.commands.animate_latents import animate_latents
from citris_cli.commands.check import check
from citris_cli.commands.encode import encode
from citris_cli.commands.eval_correlation import eval_correlation
from citris_cli.commands.eval_rollout import eval_rollout
from citris_cli.commands.eval_triplets import eval_triplets
from citris_cli.commands.explore import explore
from citris_cli.commands.export import export
from citris_cli.commands.graph import graph
from citris_cli.commands.import_checkpoint import import_checkpoint
from citris_cli.commands.info import info
from citris_cli.commands.intervene import intervene
from citris_cli.commands.models import models
from citris_cli.commands.pack import pack
from citris_cli.commands.rollout import rollout
from citris_cli.commands.simulate import simulate_app
from citris_cli.commands.train_ae import train_ae
from citris_cli.commands.train_causal_encoder import train_causal_encoder
from citris_cli.commands.train_nf import train_nf
from citris_cli.commands.train_vae import train_vae
from citris_cli.commands.typer_app import App
from citris_cli.errors import CitrisError, InputError, permission_sentence
from citris_cli.show.console import say_all
from citris_cli.system import end_where_pages_are_lost
from citris_cli.wording import shortened, visible

# Typer's usage errors, wherever this version of it keeps them.
UsageFailure: type[Exception] = typer.BadParameter.__mro__[2]

#: What happens to a standard output: its disk is full, it is closed, its device fails. Of files, an error has the name.
STDOUT_ERRORS = (errno.ENOSPC, errno.EBADF, errno.EIO)

app = App(
    name="citris",
    help=(
        "Learn the causal variables of a system from sequences of images with known intervention targets.\n\n"
        "A first try, with a model that comes with it: citris intervene @causal3d/3 --var hue_b"
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        from citris_cli.core.ops.library import in_use, why_none

        reason = why_none()
        print(f"citris {__version__}\nkernels {in_use()}" + (f" ({reason})" if reason else ""))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="If an error occurs, also print the traceback.")] = False,
) -> None:
    """Options of all commands; --debug is read by main(), which has to know it before anything can fail."""


app.command("check")(check)
app.command("train-ae")(train_ae)
app.command("train-nf")(train_nf)
app.command("train-vae")(train_vae)
app.command("train-causal-encoder")(train_causal_encoder)
app.command("encode")(encode)
app.command("intervene")(intervene)
app.command("rollout")(rollout)
app.command("explore")(explore)
app.command("eval-triplets")(eval_triplets)
app.command("eval-correlation")(eval_correlation)
app.command("graph")(graph)
app.command("eval-rollout")(eval_rollout)
app.command("animate-latents")(animate_latents)
app.command("models")(models)
app.command("pack")(pack)
app.command("import-checkpoint")(import_checkpoint)
app.command("export")(export)
app.command("info")(info)
app.add_typer(simulate_app, name="simulate")


def main() -> None:
    """Run the command line; never shows a traceback unless ``--debug`` is among the arguments."""
    # How long OpenMP's threads spin before they sleep. By default for milliseconds, with which they starve each other
    # as soon as anything else runs; not at all, and waking them costs as much as a small convolution.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    # NumPy's matrices are small, and its threads spin while they wait: beside anything else that runs, two of them take
    # several times as long as one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.stderr is None:  # closed (2>&-): what would be said there is said to nobody, and not on standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
    if sys.stdout is None:
        _fail("standard output is closed; send it to a file or to /dev/null", 2)
    say_all()
    end_where_pages_are_lost(_tell_of_lost_pages)
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    if debug:  # it may stand anywhere, as a user adds it at the end of the line that failed
        arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        status = app.narrowed(arguments)(arguments, prog_name="citris", standalone_mode=False)
        if status == 130:  # what some versions of Typer make of it
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(status if isinstance(status, int) else 0)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except BrokenPipeError:
        _reader_left()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer's own end of a broken pipe, with status 1
            _reader_left()
        raise
    except Exception as error:
        if debug:
            _show_traceback(error)
        _fail(*_told(error))


def _told(error: Exception) -> tuple[str, int]:
    """What is said of an error, in one sentence, and the exit status."""
    if isinstance(error, UsageFailure):
        return _usage_sentence(error), getattr(error, "exit_code", 2)
    if isinstance(error, CitrisError):
        return str(error), error.exit_status
    if _out_of_memory(error):
        return "out of memory; try a smaller --batch-size, smaller networks or fewer frames", 1
    if isinstance(error, PermissionError) and error.filename is not None:
        return permission_sentence(error), InputError.exit_status
    if isinstance(error, OSError) and error.filename is None and error.errno in STDOUT_ERRORS:
        reason = (error.strerror or str(error)).lower()
        return f"standard output cannot be written ({reason}); send it elsewhere", 1
    told = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"unexpected {told}; run again with --debug and report what it prints", 1


def _tell_of_lost_pages() -> None:
    """Say that a file was cut short under this process, past all buffers, which whoever was interrupted may hold."""
    from citris_cli.artifacts.files import discard_unfinished
    from citris_cli.data.npz import cut_short

    discard_unfinished()
    files = ", ".join(cut_short()) or "a file that was being read"
    sentence = (
        f"citris: {files}: was cut short while it was read; restore it and run the command again (a training command "
        "with --resume, to continue from its last saved state)"
    )
    # A display that was going on has hidden the cursor.
    shown = "\r\x1b[?25h" if os.isatty(2) else ""
    os.write(2, f"{shown}{sentence}\n".encode(errors="backslashreplace"))


def _reader_left() -> None:
    """End where the reader of the pipe went away (``citris … | head``): quiet, as the shell tells of SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)


def _out_of_memory(error: Exception) -> bool:
    """Whether an error is Python's own of this kind, the system's, or PyTorch's: by its name or else by its text."""
    by_name = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    by_number = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return by_name or by_number or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def _usage_sentence(error: Exception) -> str:
    message = " ".join((error.format_message() if hasattr(error, "format_message") else str(error)).split())
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "citris"
    # Typer has nothing to say where a command is missing: it has shown the help already.
    return f"{message.rstrip('.') or 'no command was given'} (see '{where} --help')"


def _fail(sentence: str, status: int) -> NoReturn:
    if _first_to_fail():
        with contextlib.suppress(OSError):  # nobody reads it, or its disk is full
            print(f"citris: {shortened(visible(sentence))}", file=sys.stderr)
    sys.exit(status)


def _show_traceback(error: Exception) -> NoReturn:
    """End as Python does with an error that nobody took, but with names from files made visible."""
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        print(visible(line), file=sys.stderr)
    sys.exit(1)


def _first_to_fail() -> bool:
    """Whether this process tells why it fails: it is alone, or the first to fail of several that torchrun started."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return True
    from citris_cli.training.processes import first_to_fail

    return first_to_fail()
