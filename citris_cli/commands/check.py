"""``citris check``: is a dataset fit to be learned from? Said before an hour is spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from citris_cli.data.datasets import SequenceData
    from citris_cli.evaluation.data_check.report import DataCheck
    from citris_cli.show.console import Console


def check(
    data: options.Data,
    output: Annotated[
        Path | None,
        output_option(
            "Where to write: the .html, or the .json that goes beside it under the same name; - for the .json on "
            "standard output.  \\[default: runs/<dataset>/check.json]"
        ),
    ] = None,
    variables: options.Vars = None,
    targets_lead: options.TargetsLead = None,
    group: options.Group = None,
    as_json: options.Json = False,
) -> None:
    """Check a dataset before training: are the frames sound, are targets aligned with them, do interventions show?"""
    from citris_cli.commands.inputs import default_file
    from citris_cli.evaluation.data_check.check import check_data
    from citris_cli.show.check_page import check_page
    from citris_cli.show.console import Console

    console = Console()
    asked = Output(output, as_json, beside=".html").reading("DATA", *data)
    lead = targets_lead.value if targets_lead else None
    loaded = _load(data, variables, lead, group, console)
    called = ", ".join(map(str, data))
    path = asked.place(default_file(data, "check", ".json"), [called])
    found = check_data(loaded, called)
    _show(console, found)
    page = None if path is None else check_page(found).encode(errors="replace")
    asked.write_report(console, document(found), path, page, "page")


def _load(
    data: Sequence[Path], variables: str | None, lead: str | None, group: str | None, console: Console
) -> SequenceData:
    """The sequences, with notes on how they are read.

    Raises:
        InputError: whatever is wrong with them.
    """
    from citris_cli.data.datasets import load_sequences
    from citris_cli.data.grouping import merge_columns
    from citris_cli.data.variables import parse_vars

    loaded = load_sequences(list(data), parse_vars(variables) if variables else None, lead=lead)
    for note in loaded.notes:
        console.note(note)
    return loaded if group is None else merge_columns(loaded, group)


def document(found: DataCheck) -> dict[str, Any]:
    """A check as docs/json.md has it."""
    from citris_cli.evaluation.data_check.report import LAGS

    return {
        "data": found.data,
        "fit": not found.problems,
        "problems": list(found.problems),
        "hints": list(found.hints),
        "unchecked": list(found.unchecked),
        "frames": found.frames,
        "frame_size": [found.size[1], found.size[0]],
        "channels": found.channels,
        "steps": found.steps,
        "episodes": found.episodes,
        "steps_without_intervention": found.without,
        "variables": [one.name for one in found.variables],
        "interventions": {
            one.name: {
                "steps": one.interventions,
                "alone": one.alone,
                "change_ratio": one.ratio,
                "shows": one.shows,
                "depends_on_past": one.depends,
            }
            for one in found.variables
        },
        "steps_together": found.together.tolist(),
        "identifiability": [
            {"variables": list(one.variables), "finding": one.kind, "sentence": one.sentence} for one in found.findings
        ],
        "effects_within_step": [one.to_json() for one in found.within_step],
        "latents_needed": found.latents_needed,
        "alignment": {
            "lag": found.alignment.lag,
            "confidence": found.alignment.confidence,
            "lags": list(LAGS),
            "change_ratios": list(found.alignment.ratios),
            "sentence": found.alignment.sentence,
        },
        "pictures": {
            "frozen": list(found.pictures.frozen),
            "duplicates": list(found.pictures.duplicates),
            "cuts": list(found.pictures.cuts),
            "flicker": found.pictures.flicker,
            "flickers": found.pictures.flickers,
        },
    }


def _show(console: Console, found: DataCheck) -> None:
    """Tables and sentences of a check."""
    from citris_cli.evaluation.data_check.report import LAGS
    from citris_cli.wording import counted

    names = [one.name for one in found.variables]
    height, width = found.size
    console.table(
        f"{found.data}: {counted(found.frames, 'frame')} of {width}×{height}, {counted(found.channels, 'channel')}, "
        f"{counted(found.steps, 'step')} in {counted(found.episodes, 'episode')}, {found.without:,} of them without an "
        "intervention",
        ["variable", "interventions", "alone", "change", "shows", "depends on past"],
        [
            [
                one.name,
                f"{one.interventions:,}",
                f"{one.alone:,}",
                _times(one.ratio),
                _word(one.shows),
                _word(one.depends),
            ]
            for one in found.variables
        ],
    )
    if len(names) > 1:
        rows = [[name, *(f"{count:,}" for count in counts)] for name, counts in zip(names, found.together, strict=True)]
        console.table("Steps with interventions on both", ["", *names], rows)
    console.table(
        "Change in steps with an intervention, divided by that in others, with targets read this many rows earlier",
        ["rows", *(f"{lag:+d}" if lag else "0" for lag in LAGS)],
        [["change", *map(_times, found.alignment.ratios)]],
    )
    console.table(
        "Conditions for identifying effects within a step (--method icitris)",
        ["condition", "holds"],
        [[one.name, _word(one.holds)] for one in found.within_step],
    )
    if found.alignment.lag == 0:
        console.note(found.alignment.sentence)
    for what, sentences in (("problem", found.problems), ("hint", found.hints), ("unchecked", found.unchecked)):
        for sentence in sentences:
            console.note(f"{what}: {sentence}")
    for one in found.within_step:
        for sentence in one.sentences if one.holds is False else ():
            # Those of identifiability are said above.
            if sentence not in (*found.problems, *found.hints):
                console.note(f"effects within a step: {sentence}")
    if not found.problems and found.unchecked:
        console.note("no problem was found, but not everything could be checked")
    elif not found.problems:
        console.note("no problem was found: these data are fit to learn from")


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _word(answer: bool | None) -> str:
    return "?" if answer is None else "yes" if answer else "no"
