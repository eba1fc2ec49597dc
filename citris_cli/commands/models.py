"""``citris models``: the trained models that come with the package."""

from __future__ import annotations

from typing import Any

from citris_cli.commands import options


def models(as_json: options.Json = False) -> None:
    """List the trained models that come with citris, with their variables and sample frames."""
    from citris_cli.artifacts.packaged import packaged_names
    from citris_cli.commands.outputs import document_text
    from citris_cli.show.console import Console
    from citris_cli.show.description import description_lines

    console = Console()
    found = [described(name) for name in packaged_names()]
    if as_json:
        console.result(document_text({"models": found}))
        return
    for line in description_lines({one["name"]: _in_words(one) for one in found}):
        console.result(line)


def described(name: str) -> dict[str, Any]:
    """A packaged model as docs/json.md has it, by the header of its file."""
    from citris_cli.artifacts.models import read_model_header
    from citris_cli.artifacts.packaged import HOME, MODEL, samples_of
    from citris_cli.kinds import KINDS

    path = HOME / name / MODEL
    header = read_model_header(path)
    width = KINDS[header.kind].width(header.config)
    measures = header.provenance.get("metrics", {}).get("identification", {})
    owned = zip(measures.get("factors", []), measures.get("own_rows", []), strict=True)
    own = {
        factor: measures["r2"][measures["rows"].index(row)][column]
        for column, (factor, row) in enumerate(owned)
        if row is not None
    }
    return {
        "name": name,
        "kind": header.kind,
        "file": str(path),
        "bytes": path.stat().st_size,
        "frame_size": [width, width],
        "variables": [variable["name"] for variable in header.variables or []],
        "r2_own": {factor: r2 for factor, r2 in own.items() if r2 is not None},
        "r2_diag": measures.get("r2_diag"),
        "r2_sep": measures.get("r2_sep"),
        "samples": list(samples_of(name)),
    }


def _in_words(model: dict[str, Any]) -> dict[str, str]:
    from citris_cli.kinds import KINDS
    from citris_cli.wording import size_in_words

    lines = {
        "model": f"{KINDS[model['kind']].title}, {size_in_words(model['bytes'])}",
        "frames": "×".join(map(str, model["frame_size"])),
        "variables": ", ".join(model["variables"]),
    }
    if model["r2_own"]:
        lines["R² from own latents"] = ", ".join(f"{name} {_two(r2)}" for name, r2 in model["r2_own"].items())
        lines["sep"] = (
            f"{_two(model['r2_sep'])}: the highest R² of any other factor from a variable's latents, averaged"
        )
        lines["measured"] = "on independent frames that the model never saw"
    return lines | {"sample frames": ", ".join(model["samples"])}


def _two(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"
