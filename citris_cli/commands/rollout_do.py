"""Interventions of ``citris rollout``: what ``--do 5:hue_b=other.png`` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from citris_cli.errors import InputError
from citris_cli.wording import counted

if TYPE_CHECKING:
    from citris_cli.causal_model import CausalModel
    from citris_cli.commands.rollout_truth import Start
    from citris_cli.evaluation.futures import Act
    from citris_cli.show.console import Console

_DO = re.compile(r"\s*(\d{1,9})\s*:(.+)", re.DOTALL)


@dataclass(frozen=True)
class Do:
    """One ``--do``: as it was given, the step, the names, and the picture that values are taken from, if any."""

    given: str
    step: int
    names: str
    source: Path | None


def parse_do(given: str, steps: int) -> Do:
    """Take a ``--do`` apart.

    Raises:
        InputError: it is none, or there is no such step.
    """
    parts = _DO.fullmatch(given)
    names, equals, source = parts[2].partition("=") if parts else ("", "", "")
    if parts is None or not names.strip() or (equals and not source.strip()):
        raise InputError(
            f"--do {given}: write STEP:VARIABLE, such as 5:hue_b, or STEP:VARIABLE=PICTURE, such as 5:hue_b=other.png"
        )
    step = int(parts[1])
    if not 1 <= step <= steps:
        raise InputError(
            f"--do {given}: the steps are 1 to {steps}; step 1 leads out of the given frame, and --steps says how many"
        )
    return Do(given, step, names.strip(), Path(source) if equals else None)


def checked_names(asked_for: list[Do], model: CausalModel) -> list[Do]:
    """The same, their names found to be variables of the model.

    Raises:
        InputError: no such variable, one without latents, or one that is set twice in a step.
    """
    done: set[tuple[int, int]] = set()
    for one in asked_for:
        try:
            model.block(one.names)
            indices = model.variables.resolve(one.names)
        except InputError as error:
            raise InputError(f"--do {one.given}: {error}") from None
        for index in indices:
            if (one.step, index) in done:
                raise InputError(
                    f"--do {one.given}: {model.variables[index].name} is set twice in step {one.step}; set it once"
                )
            done.add((one.step, index))
    return asked_for


def acts_of(asked_for: list[Do], model: CausalModel, console: Console, start: Start | None) -> list[Act]:
    """What is done, with the latents of the pictures that values are taken from.

    Args:
        asked_for: every ``--do``.
        model: whose variables they name.
        console: notes go there.
        start: what the simulator starts from, if it is asked; it takes true values from frames of its own world.

    Raises:
        InputError: one holds several pictures, or cannot be read.
    """
    from citris_cli.commands.inputs import first_of, gather_frames
    from citris_cli.commands.rollout_truth import state_of
    from citris_cli.evaluation.futures import Act

    latents: dict[Path, Any] = {}
    acts = []
    for one in asked_for:
        if one.source is None:
            acts.append(Act(one.step, one.names))
            continue
        if one.source not in latents:
            gathered = gather_frames([one.source], model, console)
            if len(gathered) != 1:
                raise InputError(
                    f"--do {one.given}: {one.source} holds {counted(len(gathered), 'frame')}; choose one, such as "
                    f"{first_of(one.source, gathered)}"
                )
            ((_, frames),) = list(gathered)
            latents[one.source] = model.encode(frames.slice(0, 1).cpu().numpy())
        found = None if start is None else state_of(one.source)
        state = found.state if found is not None and start is not None and start.shares_values(found) else None
        acts.append(Act(one.step, one.names, latents[one.source], str(one.source), state))
    return acts
