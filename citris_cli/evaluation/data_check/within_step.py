"""What telling effects within a step needs, and whether some data have it (Lippe et al., iCITRIS, 2023, section 3).

CITRIS takes it that nothing acts within a step. Where something does, variables and their graph can still be
identified, if three things hold: interventions are perfect, so that what is set ignores its causes; they are observed,
with targets that differ, so that of two variables a step sets the one and not the other; and the effects have an order.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from citris_cli.core.graph import cycle_in
from citris_cli.data.datasets import SequenceData
from citris_cli.data.identifiability import direction_findings, findings
from citris_cli.data.layout import INSTANTANEOUS_GRAPH_KEY
from citris_cli.data.true_graphs import read_true_graphs
from citris_cli.errors import InputError
from citris_cli.wording import counted, enumerated

#: Columns of a graph in which circles are looked for, at most.
MOST_NODES = 200
#: The three conditions, by name.
PERFECT, DIFFERENT, ORDER = "perfect interventions", "targets that differ", "acyclic effects"


@dataclass(frozen=True)
class Condition:
    """One of the three.

    Attributes:
        name: which.
        holds: whether it does; None where it cannot be told.
        sentences: what was found, and what to do where it does not hold; at least one.
    """

    name: str
    holds: bool | None
    sentences: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For JSON, as docs/json.md has it."""
        return {"condition": self.name, "holds": self.holds, "sentences": list(self.sentences)}


def effect_conditions(data: SequenceData, depends: Mapping[str, bool | None] | None = None) -> tuple[Condition, ...]:
    """The conditions of identifying effects within a step, in the order of the names above.

    Args:
        data: sequences.
        depends: of each variable whether what follows an intervention depends on the frame before, None where that
            cannot be told; None where nobody looked.
    """
    return _perfect(data.variables.names, depends), _different(data), _ordered(data)


def _perfect(names: Sequence[str], depends: Mapping[str, bool | None] | None) -> Condition:
    if depends is None:
        return Condition(PERFECT, None, ("the frames were not examined; 'citris check' does that",))
    soft = [name for name in names if depends[name]]
    if soft:
        return Condition(
            PERFECT,
            False,
            (
                f"{enumerated(soft)}: the value after an intervention still depends on the frame before, and iCITRIS "
                "needs perfect interventions: with soft ones, a reversed edge and a variable that is mixed up with "
                "another explain the data as well as the truth does; trust no edge of these variables, or train "
                f"without --method and with {imperfect_option(soft, names)}",
            ),
        )
    unknown = [name for name in names if depends[name] is None]
    if unknown:
        return Condition(
            PERFECT,
            None,
            (
                f"{enumerated(unknown)}: whether the value after an intervention depends on the frame before cannot "
                "be determined; iCITRIS requires that it does not, so if new values are made from old ones, train "
                "without --method",
            ),
        )
    return Condition(PERFECT, True, ("no variable's value after an intervention depends on the frame before",))


def _different(data: SequenceData) -> Condition:
    same = [one.sentence for one in findings(data) if not one.identifiable and one.kind != "never"]
    few = [one.sentence for one in direction_findings(data)]
    if same or few:
        return Condition(DIFFERENT, False, (*same, *few))
    return Condition(DIFFERENT, True, ("for every pair of variables, enough steps set one but not the other",))


def _ordered(data: SequenceData) -> Condition:
    unknown = (
        "neither targets nor frames show whether effects within a step form a cycle, in which case no graph can be "
        "found; a training run with --method icitris reports cycles in the graph that it finds"
    )
    if len(data.columns) > MOST_NODES:
        return Condition(ORDER, None, (unknown,))
    try:
        true = read_true_graphs(data)
    except InputError as error:
        return Condition(ORDER, None, (str(error), unknown))
    graph, names = true.instantaneous, data.columns.names
    if graph is None:
        return Condition(ORDER, None, (*(note for note in true.notes if INSTANTANEOUS_GRAPH_KEY in note), unknown))
    if not graph.any():
        told = ("in the data's true graph, nothing acts within a step, so CITRIS is enough; leave --method out",)
        return Condition(ORDER, True, told)
    if circle := [names[index] for index in cycle_in(torch.from_numpy(graph))]:
        way = " -> ".join([*circle, circle[0]])
        told = (f"in the data's true graph, effects within a step form a cycle ({way}): no graph can be found",)
        return Condition(ORDER, False, told)
    number = int(graph.sum())
    edges = f"the {counted(number, 'effect')} within a step {'forms' if number == 1 else 'form'}"
    return Condition(ORDER, True, (f"in the data's true graph, {edges} no cycle",))


def imperfect_option(imperfect: Sequence[str], names: Sequence[str]) -> str:
    """The option of a training whose interventions on some of the variables are imperfect."""
    if len(imperfect) == len(names):
        return "--imperfect-interventions"
    return f"--imperfect-variables {shlex.quote(','.join(imperfect))}"
