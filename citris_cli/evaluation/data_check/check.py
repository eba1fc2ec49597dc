"""The check of a dataset, put together: what is measured once, what follows from it, and the sentences that say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from citris_cli.data.datasets import SequenceData
from citris_cli.data.identifiability import FEW_SAMPLES, Finding, few_samples, findings
from citris_cli.evaluation.data_check.alignment import Verdict, ratios_by_lag, verdict
from citris_cli.evaluation.data_check.changes import MOST_STEPS, Changes, changes, spread_over
from citris_cli.evaluation.data_check.dependence import depends_on_past
from citris_cli.evaluation.data_check.features import features
from citris_cli.evaluation.data_check.pictures import faults, pictures
from citris_cli.evaluation.data_check.report import LAGS, Alignment, DataCheck, Pictures, VariableCheck
from citris_cli.evaluation.data_check.rows import Rows, joint_counts
from citris_cli.evaluation.data_check.visibility import contrasts, heat, map_weights, ratio, shown, told_otherwise
from citris_cli.evaluation.data_check.within_step import effect_conditions, imperfect_option
from citris_cli.wording import counted, enumerated

Array = np.ndarray[Any, Any]

#: Frames on a contact sheet.
SHEET = 24
#: Steps that a training looks at before it begins: fewer where frames are large, by bytes, but some in any case.
QUICK_STEPS, QUICK_BYTES, LEAST_STEPS = 2_000, 64 << 20, 500


def check_data(data: SequenceData, name: str | None = None) -> DataCheck:
    """All that can be found out about a dataset before a training.

    It takes one pass over the frames, which may be larger than memory, and no random numbers.

    Args:
        data: sequences with their targets.
        name: what the data are called; None for the file's path.

    Raises:
        ChangedDataError: the frames changed meanwhile.
    """
    steps, rows = data.starts.numpy(), Rows.of(data)
    compared = contrasts(*rows.at(steps, 0))
    found = changes(data, steps, spread_over(steps, MOST_STEPS), map_weights(compared, rows, 0))
    seen_in = features(found)
    aligned = verdict(seen_in, found, rows)
    lag, maps = aligned.lag or 0, found.maps
    targets, there = rows.at(steps, lag)
    if lag:  # seldom, so that the maps of one lag are all that is kept in memory
        compared = contrasts(targets, there)
        maps = changes(data, steps, steps[:0], map_weights(compared, rows, lag)).maps
    shows = shown(seen_in, rows, found, lag)
    depends = depends_on_past(found, seen_in, rows, lag, shows)
    names = data.variables.names
    variables = tuple(
        VariableCheck(
            name=names[k],
            interventions=int(targets[:, k].sum()),
            alone=int((targets[:, k] & (targets.sum(1) == 1)).sum()),
            ratio=ratio(contrast, found.change, targets, there),
            shows=shows[k],
            heat=None if contrast is None else heat(maps[k]),
            depends=depends[k],
        )
        for k, contrast in enumerate(compared)
    )
    alignment = _alignment(aligned, ratios_by_lag(found, rows), data.rows_a_frame)
    seen = pictures(found, rows.idle(steps, lag))
    stands, _ = rows.at(steps, 0)
    said = findings(data)
    problems, hints = _said(aligned, alignment, [(one.name, one.shows) for one in variables], seen, found, rows)
    sheet, sheet_targets = _sheet(data, rows)
    return DataCheck(
        data=name if name is not None else data.label,
        frames=len(data.frames),
        steps=len(steps),
        episodes=len(data.frames) - len(steps),  # each has one last frame
        size=(data.frames.height, data.frames.width),
        channels=data.frames.channels,
        without=int((~stands.any(1)).sum()),
        variables=variables,
        together=joint_counts(stands),
        findings=said,
        within_step=effect_conditions(data, {one.name: one.depends for one in variables}),
        latents_needed=len(names),
        alignment=alignment,
        pictures=seen,
        sheet=sheet,
        sheet_targets=sheet_targets,
        problems=(*problems, *(one.sentence for one in said if _stands_in_the_way(one)), *_few(len(steps))),
        hints=(
            *hints,
            *_how_to_read(variables, lag),
            *(one.sentence for one in said if not _stands_in_the_way(one)),
        ),
        unchecked=(
            *told_otherwise(compared, names),
            *((alignment.sentence,) if aligned.lag is None else ()),
            *_untold(variables, int(targets.any(1).sum()), seen.flickers is None and len(steps) >= FEW_SAMPLES),
        ),
    )


def _how_to_read(variables: Sequence[VariableCheck], lag: int) -> Iterator[str]:
    """What follows for a training from imperfect interventions, and for this check from rows that are misaligned."""
    imperfect = [one.name for one in variables if one.depends]
    if imperfect:
        yield (
            f"{enumerated(imperfect)}: the value after an intervention still depends on the frame before; train with "
            f"{imperfect_option(imperfect, [one.name for one in variables])}, and not with --method icitris, which "
            "needs perfect ones"
        )
    if lag:
        yield f"what interventions on each variable change was measured with the rows read {_earlier(lag)}"


def _untold(variables: Sequence[VariableCheck], intervened: int, flickering: bool) -> Iterator[str]:
    """What the frames are too few, or too alike, to tell.

    Args:
        variables: as they were checked.
        intervened: steps with an intervention.
        flickering: whether it cannot be told if the light flickers, although there are steps enough.
    """
    unknown = [one.name for one in variables if one.shows is None and one.ratio is not None]
    if unknown and not any(one.shows for one in variables):
        yield (
            f"cannot tell whether any intervention shows in the frame, of {counted(intervened, 'step')} with one: make "
            "sure that these targets belong to these frames"
        )
    elif unknown:
        yield f"{enumerated(unknown)}: cannot tell whether interventions show in the frame"
    if flickering:
        yield "too few steps are without an intervention to tell whether the light flickers"


def quick_check(data: SequenceData, targets: bool = True) -> tuple[str, ...]:
    """What is wrong with some data, as far as a sample of its steps tells; nothing of what can be identified.

    Args:
        data: sequences.
        targets: whether the targets matter, too.

    Raises:
        ChangedDataError: the frames changed meanwhile.
    """
    steps, rows, found = _sample(data)
    if not targets:
        idle = rows.idle(steps, 0)
        return tuple(faults(pictures(found, idle), found, idle)[0])
    seen_in = features(found)
    aligned = verdict(seen_in, found, rows)
    seen = pictures(found, rows.idle(steps, aligned.lag or 0))
    shows = shown(seen_in, rows, found, aligned.lag or 0)
    alignment = _alignment(aligned, ratios_by_lag(found, rows), data.rows_a_frame)
    problems, _ = _said(aligned, alignment, list(zip(data.variables.names, shows, strict=True)), seen, found, rows)
    return tuple(problems)


def depends_in_sample(data: SequenceData) -> dict[str, bool | None]:
    """Of each variable whether what follows an intervention depends on the frame before, by a sample of the steps.

    Args:
        data: sequences.

    Returns:
        By name; None where it cannot be told.

    Raises:
        ChangedDataError: the frames changed meanwhile.
    """
    _, rows, found = _sample(data)
    seen_in = features(found)
    lag = verdict(seen_in, found, rows).lag or 0
    depends = depends_on_past(found, seen_in, rows, lag, shown(seen_in, rows, found, lag))
    return dict(zip(data.variables.names, depends, strict=True))


def _sample(data: SequenceData) -> tuple[Array, Rows, Changes]:
    """Steps spread over the data, few enough to be looked at at once; targets; and how frames change in them."""
    frame = data.frames.height * data.frames.width * data.frames.channels
    most = int(np.clip(QUICK_BYTES // frame, LEAST_STEPS, QUICK_STEPS))
    steps = spread_over(data.starts.numpy(), most)
    return steps, Rows.of(data), changes(data, steps, steps)


def _said(
    aligned: Verdict,
    alignment: Alignment,
    shows: Sequence[tuple[str, bool | None]],
    seen: Pictures,
    found: Changes,
    rows: Rows,
) -> tuple[list[str], list[str]]:
    """What is wrong and what is worth knowing, of rows, variables and frames."""
    problems = [alignment.sentence] if aligned.lag else []
    nothing = [name for name, one in shows if one is False]
    of_frames, hints = faults(seen, found, rows.idle(found.starts, aligned.lag or 0))
    if not found.change.any():
        return of_frames, hints
    if nothing and len(nothing) == len(shows):
        problems.append(
            "no intervention changes the frame more than chance does: the targets have nothing to do with the frames, "
            "or what was intervened on cannot be seen in them"
        )
    elif nothing:
        problems.append(
            f"{enumerated(nothing)}: nothing in the frames distinguishes steps with "
            f"{'its' if len(nothing) == 1 else 'their'} interventions from others; make sure that what they change "
            "can be seen in the very next frame"
        )
    return problems + of_frames, hints


def _alignment(found: Verdict, ratios: Sequence[float | None], rows_a_frame: bool) -> Alignment:
    sentence = _sentence(found, dict(zip(LAGS, ratios, strict=True)), rows_a_frame)
    return Alignment(tuple(ratios), found.lag, None if found.lag is None else found.confidence, sentence)


def _sentence(found: Verdict, ratios: dict[int, float | None], rows_a_frame: bool) -> str:
    lag = found.lag
    if lag is None:
        return f"whether rows and frames are aligned cannot be determined: {found.why}"
    if lag == 0:
        return f"rows and frames are aligned (confidence {found.confidence:.4g})"
    moved, stands = ratios[lag], ratios[0]
    by = ""
    if moved is not None and stands is not None and moved > stands and moved > 1:
        by = f"steps with an intervention then change the frame {moved:.2f} times as much as others, now {stands:.2f}; "
    away = f"{_number(abs(lag))} {'step' if abs(lag) == 1 else 'steps'}"
    return (
        f"the targets look {away} {'late' if lag > 0 else 'early'}: they fit the frames when read {_earlier(lag)} "
        f"({by}confidence {found.confidence:.4g}); {_mended(lag, rows_a_frame)}"
    )


def _mended(lag: int, rows_a_frame: bool) -> str:
    if lag == 1 and rows_a_frame:
        return "each row describes the step into its frame: give --targets-lead in"
    if lag == -1 and rows_a_frame:
        return "each row describes the step out of its frame: give --targets-lead out"
    rows, number = ("rows", f"{abs(lag)} ") if abs(lag) > 1 else ("row", "")
    packed, other = ("out", "in") if lag > 0 else ("in", "out")
    again = f", or if you packed it with --lead {packed}, pack it again with --lead {other}" if abs(lag) == 1 else ""
    if lag > 0:
        return f"save row i + {lag} as row i, which leaves the first {number}{rows} out{again}"
    return f"save row i as row i + {-lag}, with zeros for the first {number}{rows}{again}"


def _earlier(lag: int) -> str:
    return f"{_number(abs(lag))} {'row' if abs(lag) == 1 else 'rows'} {'earlier' if lag > 0 else 'later'}"


def _number(number: int) -> str:
    return {1: "one", 2: "two"}.get(number, str(number))


def _stands_in_the_way(finding: Finding) -> bool:
    """Whether the variables cannot be identified; a column without interventions is nothing that anyone asked for."""
    return not finding.identifiable and finding.kind != "never"


def _few(steps: int) -> tuple[str, ...]:
    said = few_samples(steps, "step")
    return (said,) if said else ()


def _sheet(data: SequenceData, rows: Rows) -> tuple[Array, Array]:
    """The first frames of the first episode with a step, and the targets of the steps into them."""
    first = int(data.starts[0])
    length = int((rows.episodes == rows.episodes[first]).sum()) + 1
    count = min(SHEET, length)
    into = np.zeros((count, rows.targets.shape[1]), bool)
    into[1:] = rows.targets[first : first + count - 1]
    return data.frames.slice(first, first + count).contiguous().numpy().copy(), into
