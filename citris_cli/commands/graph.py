"""``citris graph``: which of a model's variables cause which, by ENCO on its latents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from citris_cli.commands import options
from citris_cli.commands.outputs import Output, output_option
from citris_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from citris_cli.causal_model import CausalModel
    from citris_cli.data.datasets import SequenceData
    from citris_cli.evaluation.graphs.question import Question
    from citris_cli.evaluation.graphs.report import CausalGraph, EdgeSet
    from citris_cli.show.console import Console

#: Endings of what can be written in the place of the page.
FORMATS = (".dot", ".graphml", ".png")


def graph(
    data: options.Data,
    model: options.Model = None,
    instantaneous: Annotated[
        bool,
        typer.Option("--instantaneous", help="Also look for effects within a step; needs perfect interventions."),
    ] = False,
    repeats: Annotated[
        int,
        typer.Option(
            help="Number of bootstrap resamples of the steps on which to estimate the graph again; how often an edge "
            "is found says how certain it is.",
            min=0,
            max=1000,
        ),
    ] = 0,
    sparsity: Annotated[
        float,
        typer.Option(help="How much an edge must improve the prediction of its effect, in nats per step.", min=0.0),
    ] = 0.02,
    output: Annotated[
        Path | None,
        output_option(
            "Where to write: the .json, or the file that goes beside it under the same name: a page (.html), or "
            "instead a .png, .dot or .graphml; - for the .json on standard output.  \\[default: "
            "runs/<dataset>/graph.json]"
        ),
    ] = None,
    variables: options.Vars = None,
    targets_lead: options.TargetsLead = None,
    seed: Annotated[
        int, typer.Option(help="Random seed; the same seed gives the same graph.", min=0, max=options.LARGEST_SEED)
    ] = 0,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Estimate the causal graph over the variables of a trained model from its latents."""
    from citris_cli.commands.given_model import find_model, load_causal_model
    from citris_cli.commands.inputs import default_file, require_width
    from citris_cli.commands.interruption import ends_clean
    from citris_cli.data.true_graphs import read_true_graphs
    from citris_cli.devices import select_device
    from citris_cli.evaluation.graphs.question import learned_effects, pose, require_assignment, targets_of
    from citris_cli.evaluation.graphs.report import find_graph
    from citris_cli.show.console import Console, WorkProgress

    options.require_number("--sparsity", sparsity)
    console = Console()
    where = select_device(device)
    suffix = "" if output is None else output.suffix.lower()
    others = (".html", *FORMATS)
    beside = suffix if suffix in FORMATS else ".html"
    asked = Output(output, as_json, beside, tuple(one for one in others if one != beside))
    model_file = find_model(model, console)
    asked = asked.reading("DATA", *data).reading("--model", model_file)
    loaded = load_causal_model(model_file, where, console, hashed=True)
    require_assignment(loaded)
    called = ", ".join(map(str, data))
    path = asked.place(default_file(data, "graph", ".json"), [called], loaded.sha256)
    with ends_clean("run the command again"):
        sequences = _sequences(data, variables, targets_lead.value if targets_lead else None, loaded, console)
        require_width(sequences.frames, sequences.paths[0], loaded.width)
        targets, notes = targets_of(loaded, sequences)
        for note in notes:
            console.note(note)
        true = read_true_graphs(sequences).of_variables(sequences.columns, loaded.variables)
        for note in true.notes:
            console.note(note)
        if true.instantaneous is not None and true.instantaneous.any() and not instantaneous:
            console.note("the data's true graph has effects within a step; --instantaneous looks for them, too")
        question = pose(loaded, sequences, targets, instantaneous)
        learned, start = learned_effects(loaded, instantaneous)
        for note in (*question.notes, *filter(None, [start])):
            console.note(note)
        with WorkProgress("estimating the graph", "round", after=1.0) as shown:
            found = find_graph(
                question.steps,
                question.names,
                instantaneous=instantaneous,
                repeats=repeats,
                seed=seed,
                sparsity=sparsity,
                true=(true.temporal, true.instantaneous),
                learned=learned,
                on_progress=shown.update,
            )
        _show(console, found, len(question.steps))
        document = _document(loaded, called, question, found, seed, sparsity)
        drawn = None if path is None else _beside(beside, found, document, console)
        asked.write_report(console, document, path, drawn, "page" if beside == ".html" else "graph")


def _document(
    model: CausalModel, called: str, question: Question, found: CausalGraph, seed: int, sparsity: float
) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "model": str(model.path),
        "model_sha256": model.sha256,
        "data": called,
        "steps": len(question.steps),
        "interventions": dict(zip(question.names, question.interventions.tolist(), strict=False)),
        "latents_per_variable": dict(zip(question.names, question.latents.tolist(), strict=True)),
        "seed": seed,
        "sparsity": sparsity,
        **found.to_json(),
    }


def _sequences(
    paths: Sequence[Path], named: str | None, lead: str | None, model: CausalModel, console: Console
) -> SequenceData:
    """The data, with notes on how they are read.

    Raises:
        InputError: whatever is wrong with them.
    """
    from citris_cli.commands.given_model import known_columns
    from citris_cli.data.datasets import load_sequences
    from citris_cli.data.variables import parse_vars

    known = known_columns(model)
    names = parse_vars(named, known) if named else None
    loaded = load_sequences(list(paths), names, known, lead=lead, channels=model.image_channels)
    for note in loaded.notes:
        console.note(note)
    return loaded


def _beside(kind: str, found: CausalGraph, document: Mapping[str, Any], console: Console) -> bytes:
    """What is written beside the document."""
    from citris_cli.show.graph_files import as_dot, as_graphml
    from citris_cli.show.graph_page import graph_page
    from citris_cli.show.graph_picture import FONT_SIZE, graph_png
    from citris_cli.show.lettering import spelling_note

    if kind == ".dot":
        return as_dot(found).encode(errors="replace")
    if kind == ".graphml":
        return as_graphml(found)
    if kind == ".png":
        if spelled := spelling_note(found.names, FONT_SIZE):
            console.note(spelled)
        return graph_png(found)
    facts = {
        "Model": document["model"],
        "Its SHA-256": document["model_sha256"],
        "Data": document["data"],
        "Steps": f"{document['steps']:,}",
        "Interventions": ", ".join(f"{name} {number:,}" for name, number in document["interventions"].items()),
        "Resamplings": f"{found.repeats:,}",
    }
    return graph_page(found, facts).encode(errors="replace")


def _show(console: Console, found: CausalGraph, steps: int) -> None:
    """The edges as a table, and sentences on the graph as a whole."""
    known = any(kind.true is not None for kind in found.kinds.values())
    columns = ["cause", "effect", "when", "probability", "gain (nats per step)"]
    columns += ["found"] * bool(found.repeats) + ["true"] * known
    rows = []
    for when, kind in found.kinds.items():
        for edge in kind.edges:
            row = [edge.cause, edge.effect, when, f"{edge.probability:.2f}", f"{edge.gain:.3f} ± {edge.gain_error:.3f}"]
            row += [] if edge.found is None else [f"{round(edge.found * found.repeats)} of {found.repeats}"]
            rows.append(row + ([{True: "yes", False: "no", None: ""}[edge.true]] if known else []))
    number = sum(len(kind.edges) for kind in found.kinds.values())
    if rows:
        console.table(f"{counted(number, 'edge')} on {counted(steps, 'step')}", columns, rows)
    else:
        console.note(f"no edge was found on {counted(steps, 'step')}")
    if found.undecided:
        console.note(
            f"{counted(found.undecided, 'edge')} still undecided when the estimation ended, so uncertain; more data "
            "or another --sparsity may decide them"
        )
    if found.cycle:
        dropped = ", ".join(f"{cause} -> {effect}" for cause, effect in found.dropped)
        console.note(
            f"the effects within a step have a cycle ({' -> '.join([*found.cycle, found.cycle[0]])}), which a causal "
            f"graph cannot have; the nearest acyclic graph leaves out {dropped}"
        )
    for when, kind in found.kinds.items():
        if sentence := _against_truth(when, kind):
            console.note(sentence)


def _against_truth(when: str, kind: EdgeSet) -> str:
    """What a comparison with the true graph says; nothing where that is not known."""
    if (compared := kind.comparison) is None or kind.true is None:
        return ""
    wrong = [f"{cause} -> {effect} (missing)" for cause, effect in kind.missing]
    wrong += [f"{edge.cause} -> {edge.effect} (not true)" for edge in kind.edges if edge.true is False]

    def share(value: float) -> str:
        return "–" if value != value else f"{value:.2f}"

    return (
        f"{when}, against the true graph of {counted(int(kind.true.sum()), 'edge')}: SHD {compared.distance}, "
        f"precision {share(compared.precision)}, recall {share(compared.recall)}"
        + (f"; wrong: {', '.join(wrong)}" if wrong else "")
    )
