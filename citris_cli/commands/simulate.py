"""``citris simulate WORLD``: sequences with ground truth, of every world in the table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.options import DATA, OUTPUT, choice
from citris_cli.commands.typer_app import App
from citris_cli.worlds import WORLDS, Option

#: Frames of a training sequence where nothing else is said.
FRAMES = 20_000
#: Panel of the help page for what makes a world.
WORLD = "World"

simulate_app = App(help="Generate a dataset from a simulated world, with ground truth.", no_args_is_help=True)


def _command(name: str) -> Callable[..., None]:
    """The command that writes a dataset of one world."""
    default = Path("data") / name.replace("-", "_")
    own = WORLDS[name].options

    def simulate(
        output: Annotated[
            Path, typer.Option("-o", "--output", help="Directory for the dataset.", rich_help_panel=OUTPUT)
        ] = default,
        frames: Annotated[
            int | None,
            typer.Option(
                help=f"Frames in the training sequence; the sizes of the other splits follow.  \\[default: {FRAMES}]",
                min=2,
                show_default=False,
                rich_help_panel=DATA,
            ),
        ] = None,
        seed: Annotated[
            int,
            typer.Option(
                help="Random seed; the same seed gives the same files.",
                min=0,
                max=options.LARGEST_SEED,
                rich_help_panel=DATA,
            ),
        ] = 0,
        splits: Annotated[
            str,
            typer.Option(
                "--splits",
                help="Which files to write: all, none, or some of train, val, test, val_indep, test_indep, "
                "val_triplets, test_triplets.",
                metavar="LIST",
                rich_help_panel=DATA,
            ),
        ] = "all",
        independent: Annotated[
            int,
            typer.Option(
                help="Number of frames in independent.npz, which are drawn independently.  \\[default: no such file]",
                min=0,
                show_default=False,
                rich_help_panel=DATA,
            ),
        ] = 0,
        workers: Annotated[
            int | None,
            typer.Option(
                help="Number of processes to use at most; the files do not depend on it.  \\[default: one per core]",
                min=1,
                rich_help_panel=OUTPUT,
            ),
        ] = None,
        overwrite: Annotated[
            bool,
            typer.Option(
                "--overwrite",
                help="Replace the files of another dataset.  \\[default: the command refuses]",
                rich_help_panel=OUTPUT,
            ),
        ] = False,
        as_json: options.Json = False,
        **given: Any,
    ) -> None:
        fields = {
            option.field: _plain(option, given[option.field]) for option in own if given.get(option.field) is not None
        }
        _simulate(name, fields, output, frames, seed, splits, independent, workers, overwrite, as_json)

    # What Typer reads: the world's own options in the place of **given.
    common = [one for one in inspect.signature(simulate, eval_str=True).parameters.values() if one.name != "given"]
    parameters = [*map(_parameter, own), *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in common)]
    vars(simulate)["__signature__"] = inspect.Signature(parameters)
    simulate.__annotations__ = {one.name: one.annotation for one in parameters}
    return simulate


def _simulate(
    name: str,
    fields: dict[str, Any],
    output: Path,
    frames: int | None,
    seed: int,
    splits: str,
    independent: int,
    workers: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the dataset and print where it is.

    Args:
        name: of the world.
        fields: what makes this one, by the fields of its options.
        output, frames, seed, splits, independent, workers, overwrite, as_json: the options of all worlds.
    """
    from citris_cli.commands.interruption import ends_clean
    from citris_cli.commands.outputs import document_text
    from citris_cli.data.layout import SPLITS
    from citris_cli.errors import InputError
    from citris_cli.show.console import Console, WorkProgress
    from citris_cli.system import available_cores
    from citris_cli.worlds import load_world
    from citris_cli.worlds.dataset import INDEPENDENT, split_sizes, write_dataset

    _require_directory(output)
    world = load_world(name, seed, **fields)
    chosen = _splits(splits, SPLITS)
    if frames is not None and not chosen:
        raise InputError(
            f"--frames {frames} has no effect with --splits none; leave it out (--independent is the number of "
            "independent frames)"
        )
    length = FRAMES if frames is None else frames
    with ends_clean("run the command again"), WorkProgress("simulating", "frame", after=1.0) as shown:
        files = write_dataset(
            world,
            output,
            length,
            seed,
            overwrite,
            splits=chosen,
            independent=independent,
            workers=workers or available_cores(),
            on_progress=shown.update,
        )
    console = Console()
    if not as_json:
        console.result(output)
        return
    sizes = {**split_sizes(length), INDEPENDENT: independent}
    document = {
        "files": [str(path) for path in files],
        "dataset": str(output),
        "frames": length if chosen else None,
        "seed": seed,
        "world": name,
        "settings": world.settings,
        "rows_per_split": {path.stem: sizes[path.stem] for path in files},
    }
    console.result(document_text(document))


def _require_directory(output: Path) -> None:
    """Refuse a place that cannot be a dataset's directory.

    Raises:
        InputError: it is standard output, or has the name of a file.
    """
    from citris_cli.artifacts.endings import names_a_file
    from citris_cli.errors import InputError

    if output == Path("-"):
        raise InputError(
            "-o -: a dataset is a directory of files, which cannot go to standard output; name a directory"
        )
    if names_a_file(output) and not output.is_dir():
        raise InputError(f"-o {output}: a dataset is a directory of files; name one, such as {output.with_suffix('')}")


def _splits(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """What ``--splits`` says."""
    return {"all": known, "none": ()}.get(text.strip(), tuple(part.strip() for part in text.split(",")))


def _parameter(option: Option) -> inspect.Parameter:
    """What Typer makes an option of; without it the world's own default holds."""
    shown = ("yes" if option.default else "no") if isinstance(option.default, bool) else option.default
    common: dict[str, Any] = {
        "help": f"{option.help}  \\[default: {shown}]",
        "show_default": False,
        "rich_help_panel": WORLD,
    }
    kind: Any = type(option.default)
    if option.choices:
        kind = choice(list(map(str, option.choices)))
    elif kind is not bool:
        common |= {"min": option.least, "max": option.most}
    annotation = Annotated[kind | None, typer.Option(f"--{option.name}", **common)]
    return inspect.Parameter(option.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _plain(option: Option, value: Any) -> Any:
    """An option's value as its field has it."""
    if isinstance(value, Enum):
        return type(option.default)(value.value)
    if isinstance(value, float):
        options.require_number(f"--{option.name}", value)
    return value


for _name, _entry in WORLDS.items():
    simulate_app.command(_name, help=_entry.summary)(_command(_name))
