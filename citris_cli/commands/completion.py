"""What the shell completes: names of models and of sample frames, and the variables of a command's model.

Nothing heavy is imported, and of a model's file only the header is read: completion answers while one types. What goes
wrong is nobody's to read there, so that nothing is completed then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from citris_cli.errors import CitrisError


def complete_model(incomplete: str) -> list[str]:
    """Names of the packaged models, and models with causal latents under ``runs/``; of other files the shell knows."""
    from citris_cli.artifacts.packaged import MARK, packaged_names
    from citris_cli.artifacts.runs import RUNS, models_in
    from citris_cli.kinds import KINDS

    names = packaged_names()
    kinds = [kind for kind in KINDS.values() if kind.causal]
    trained = [str(path) for folder in RUNS.glob("*") for kind in kinds for path in models_in(folder, kind)]
    marked = [f"{MARK}{name}" for name in names] if incomplete.startswith(MARK) else []
    return [one for one in [*names, *marked, *trained] if one.startswith(incomplete)]


def complete_picture(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the sample frames, once it begins as they do; of files the shell knows."""
    from citris_cli.artifacts.packaged import MARK, packaged_names, samples_of

    apart = _words(ctx)[-1:] == [MARK]  # as Bash has it, which completes what comes after the @
    begun = MARK + incomplete if apart else incomplete
    if not begun.startswith(MARK):
        return []
    samples = [sample for name in packaged_names() for sample in samples_of(name) if sample.startswith(begun)]
    return [sample.removeprefix(MARK) if apart else sample for sample in samples]


def complete_variables(ctx: typer.Context, incomplete: str) -> list[str]:
    """Variables and groups of the model that the command would use; of a comma list those not named yet."""
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    return [
        f"{before}{comma}{name}"
        for name in _variables(ctx)
        if name.lower().startswith(last.lower()) and name not in named
    ]


def _variables(ctx: typer.Context) -> list[str]:
    from citris_cli.artifacts.models import read_model_header
    from citris_cli.artifacts.runs import find_causal_model

    inputs = [Path(word) for word in _joined(_words(ctx))]
    model = ctx.params.get("model")
    try:
        path, _ = find_causal_model(Path(model) if model else None, inputs)
        variables = read_model_header(path).variables or []
        names = [str(one["name"]) for one in variables]
        return list(dict.fromkeys([*names, *(str(one["group"]) for one in variables if one.get("group"))]))
    except (CitrisError, OSError, KeyError, TypeError, AttributeError):
        return []


def _words(ctx: typer.Context) -> list[str]:
    """What stands on the line as inputs, the other picture last.

    An option that is being completed has no value yet; then arguments are not yet told from what is left over.
    """
    found: list[str] = []
    for given in (*(ctx.params.get(name) for name in ("images", "inputs", "data")), ctx.args, ctx.params.get("other")):
        found += map(str, given if isinstance(given, (list, tuple)) else [given] if given else [])
    return found


def _joined(words: Sequence[str]) -> list[str]:
    """Words of which Bash has taken ``@causal3d/3`` apart, at its @."""
    found: list[str] = []
    for word in words:
        found[-1:] = [f"@{word}"] if found[-1:] == ["@"] else [*found[-1:], word]
    return found
