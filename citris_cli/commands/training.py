"""What the training commands do: ask for a training, show how it goes, print what came of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from citris_cli.commands.options import require_number
from citris_cli.commands.outputs import Output, document_text
from citris_cli.commands.settings import Changes
from citris_cli.training.request import Place, Progress, Request

if TYPE_CHECKING:
    import numpy as np

    from citris_cli.loading import LoadedModel
    from citris_cli.show.console import Console


def train(
    kind: str,
    data: Sequence[Path],
    changes: Changes,
    asked: Output,
    *,
    preset: str,
    device: str,
    variables: str | None,
    resume: bool,
    overwrite: bool,
    save_every: float,
    show_config: bool,
    val: Path | None = None,
    group: str | None = None,
    ae: Path | None = None,
    teacher: Path | None = None,
    targets_lead: str | None = None,
    rounds: int = 1,
    restarts: int = 1,
    check: bool = True,
) -> None:
    """Train a model of a kind and report it.

    Args:
        kind: name of the kind.
        data: where the data are.
        changes: settings that were given.
        asked: where the model goes, and how that is told.
        preset, device, resume, overwrite, save_every, group, ae, teacher, val, targets_lead, rounds, restarts, check:
            see :class:`~citris_cli.training.request.Request`.
        variables: the value of ``--vars``, or None.
        show_config: print what the run would use, and do nothing.
    """
    from citris_cli.data.variables import parse_vars
    from citris_cli.show.console import Console
    from citris_cli.training import run
    from citris_cli.training.show_config import settings

    require_number("--save-every", save_every)
    console = Console()
    with _Shown() as shown:
        request = Request(
            data=list(data),
            output=Place.STDOUT if asked.to_stdout else asked.given or Place.RUNS,
            preset=preset,
            changes=changes,
            variables=parse_vars(variables) if variables else None,
            targets_lead=targets_lead,
            group=group,
            ae=ae,
            teacher=teacher,
            val=val,
            rounds=rounds,
            restarts=restarts,
            device=device,
            resume=resume,
            overwrite=overwrite,
            check=check,
            save_every=save_every,
            command=["citris", *sys.argv[1:]],
            on_progress=shown.update,
            on_note=console.note,
            on_pictures=_write_reconstructions,
        )
        if show_config:
            console.result(document_text(settings(kind, request), indent=2))
            return
        model = run.TRAININGS[kind](request)
    _show(console, model)
    if not asked.to_stdout:
        from citris_cli.training.files import RunFiles

        log = RunFiles.beside(model.path).metrics
        metrics = model.provenance.get("metrics", {})
        document = {"model": str(model.path), "metrics_log": str(log), "metrics": metrics}
        asked.report(console, document, model.path)


class _Shown:
    """Shows the progress of one training after the other, or of several that go on side by side."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._displays: dict[str, Any] = {}
        self._group = ""

    def __enter__(self) -> _Shown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the terminal was closed: what is said on it is said to nobody
            self._stack.__exit__(kind, error, trace)

    def update(self, progress: Progress) -> None:
        """Show how far a training is; a new title is a new training."""
        from citris_cli.show.console import Progress as Display

        with suppress(OSError):
            title = progress.title
            if title not in self._displays:
                if not progress.group or progress.group != self._group:
                    self._stack.close()
                    self._displays.clear()
                beside = next(iter(self._displays.values()), None)
                display = Display(progress.total, title, unit=progress.unit, beside=beside)
                self._group, self._displays[title] = progress.group, self._stack.enter_context(display)
                return
            self._displays[title].update(progress.step, progress.per_second, progress.losses)


def _write_reconstructions(path: Path, originals: np.ndarray[Any, Any], reconstructions: np.ndarray[Any, Any]) -> None:
    from citris_cli.artifacts.files import atomic_write
    from citris_cli.show.grids import png_bytes, reconstruction_grid

    picture = png_bytes(reconstruction_grid(originals, reconstructions))
    atomic_write(path, lambda file: file.write(picture))


def _show(console: Console, model: LoadedModel) -> None:
    """The measures of a trained model that are a table."""
    from citris_cli.evaluation.distances import UNITS
    from citris_cli.show.console import as_cells

    metrics = model.provenance.get("metrics", {})
    if report := metrics.get("identification"):
        matrix = [[float("nan") if value is None else value for value in row] for row in report["r2"]]
        title = "R² of true factors from each variable's latents"
        console.heatmap(title, report["rows"], report["factors"], matrix)
    for split, frames in (("val", "held-out"), ("train", "training")):
        overall = metrics.get(f"{split}_distance")
        if overall is not None and model.variables is not None:
            title = f"Mean distance to the truth on {frames} frames; normalised, over all factors: {overall:.3f}"
            rows = [
                [factor.name, as_cells([metrics[f"{split}_distance.{factor.name}"]])[0], UNITS[factor.kind]]
                for factor in model.variables
            ]
            console.table(title, ["factor", "distance", "in"], rows)
