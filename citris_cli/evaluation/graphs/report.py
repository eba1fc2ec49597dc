"""A graph as it is reported: its edges with all that is known of each, cycles, and the truth beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from citris_cli.core.graph import cycle_in, without_cycles
from citris_cli.data.true_graphs import Graph
from citris_cli.evaluation.graphs.estimate import (
    SCHEDULE,
    SPARSITY,
    Effects,
    Estimate,
    OnProgress,
    Schedule,
    Steps,
    estimate_graph,
)
from citris_cli.evaluation.graphs.structure import Comparison, compare

#: When an effect takes place.
TEMPORAL, INSTANTANEOUS = "next step", "same step"


@dataclass(frozen=True)
class Edge:
    """One edge.

    Attributes:
        cause, effect: names.
        probability: 0 … 1.
        gain, gain_error: nats by which it improves the prediction of the effect in a step, and the standard error.
        found: share of the resamplings that have it, 0 … 1; None without resamplings.
        true: whether it is in the true graph; None where that is not known.
    """

    cause: str
    effect: str
    probability: float
    gain: float
    gain_error: float
    found: float | None
    true: bool | None

    @property
    def confidence(self) -> float:
        """0 … 1: how often it was found where there are resamplings, else its probability."""
        return self.probability if self.found is None else self.found


@dataclass(frozen=True)
class EdgeSet:
    """All edges of one kind; P = K + 1 causes, the last one psi(0), and K effects.

    Attributes:
        names: of the P causes.
        effects: what was estimated.
        shares: float [P, K], in what share of the resamplings an edge was found; None without resamplings.
        true: the true graph, bool [K, K], or None.
    """

    names: tuple[str, ...]
    effects: Effects
    shares: np.ndarray[Any, Any] | None
    true: Graph | None

    @property
    def among_variables(self) -> Graph:
        """The graph without psi(0), bool [K, K]."""
        return self.effects.found[:-1]

    @property
    def edges(self) -> list[Edge]:
        """The edges of the graph, by cause and effect."""
        return [self._edge(i, j) for i, j in zip(*np.nonzero(self.effects.found), strict=True)]

    @property
    def missing(self) -> list[tuple[str, str]]:
        """True edges that were not found, by name."""
        return [(self.names[i], self.names[j]) for i, j in ([] if self.comparison is None else self.comparison.missing)]

    @property
    def comparison(self) -> Comparison | None:
        """With the true graph."""
        return None if self.true is None else compare(self.among_variables, self.true)

    def _edge(self, cause: int, effect: int) -> Edge:
        found, known = self.effects, self.true is not None and cause < len(self.true)
        return Edge(
            self.names[cause],
            self.names[effect],
            float(found.probability[cause, effect]),
            float(found.gain[cause, effect]),
            float(found.gain_error[cause, effect]),
            None if self.shares is None else float(self.shares[cause, effect]),
            bool(self.true[cause, effect]) if known and self.true is not None else None,
        )

    def to_json(self) -> dict[str, Any]:
        """As docs/json.md has it."""
        document: dict[str, Any] = {
            "probabilities": self.effects.probability.tolist(),
            "graph": self.effects.found.tolist(),
            "edges": [_told(edge) for edge in self.edges],
        }
        if self.shares is not None:
            document["found"] = self.shares.tolist()
        if (compared := self.comparison) is not None:
            document["truth"] = {
                "shd": compared.distance,
                "precision": compared.precision,
                "recall": compared.recall,
                "missing": [list(pair) for pair in self.missing],
                "surplus": [[self.names[i], self.names[j]] for i, j in compared.surplus],
            }
        return document


def _told(edge: Edge) -> dict[str, Any]:
    told = {
        "cause": edge.cause,
        "effect": edge.effect,
        "probability": edge.probability,
        "gain": edge.gain,
        "gain_error": edge.gain_error,
        "found": edge.found,
        "true": edge.true,
    }
    return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True)
class CausalGraph:
    """The graph over a model's variables.

    Attributes:
        names: of the K variables and psi(0).
        temporal: edges from one step to the next.
        instantaneous: edges within a step; None where they were not looked for.
        repeats: number of resamplings.
        undecided: edges of which the estimation was not yet sure when it ended.
    """

    names: tuple[str, ...]
    temporal: EdgeSet
    instantaneous: EdgeSet | None
    repeats: int
    undecided: int

    @property
    def kinds(self) -> dict[str, EdgeSet]:
        """Both kinds of edges, as far as they were looked for, by when they take place."""
        kinds = {TEMPORAL: self.temporal}
        return kinds if self.instantaneous is None else {**kinds, INSTANTANEOUS: self.instantaneous}

    @property
    def cycle(self) -> list[str]:
        """Variables of a cycle within a step, which no order of causes can have; none if there is no cycle."""
        if self.instantaneous is None:
            return []
        return [self.names[place] for place in cycle_in(torch.from_numpy(self.instantaneous.among_variables))]

    @property
    def acyclic(self) -> Graph:
        """The effects within a step without cycles, bool [K + 1, K]: the least certain edges are left out."""
        if self.instantaneous is None:
            raise ValueError("effects within a step were not looked for")
        effects, shares = self.instantaneous.effects, self.instantaneous.shares
        # By how often, then by how much: probabilities of decided edges are all near 1.
        weight = np.nan_to_num(effects.gain[:-1] / np.maximum(effects.gain_error[:-1], 1e-6))
        certainty = weight if shares is None else shares[:-1] + np.tanh(weight) * 1e-3
        left, _ = without_cycles(
            torch.from_numpy(self.instantaneous.among_variables), torch.from_numpy(np.asarray(certainty))
        )
        return np.vstack([left.numpy(), effects.found[-1:]])

    @property
    def dropped(self) -> list[tuple[str, str]]:
        """Edges within a step that the nearest acyclic graph does without, by name."""
        if self.instantaneous is None:
            return []
        left = self.instantaneous.effects.found & ~self.acyclic
        return [(self.names[i], self.names[j]) for i, j in zip(*np.nonzero(left), strict=True)]

    def to_json(self) -> dict[str, Any]:
        """As docs/json.md has it, without what it was made of."""
        document: dict[str, Any] = {
            "repeats": self.repeats,
            "undecided": self.undecided,
            "variables": list(self.names[:-1]),
            "causes": list(self.names),
            "temporal": self.temporal.to_json(),
        }
        if self.instantaneous is not None:
            document["instantaneous"] = self.instantaneous.to_json()
        if self.cycle:
            document |= {"cycle": self.cycle, "acyclic": self.acyclic.tolist()}
        return document


def find_graph(
    steps: Steps,
    names: tuple[str, ...],
    *,
    instantaneous: bool = False,
    repeats: int = 0,
    seed: int = 0,
    sparsity: float = SPARSITY,
    true: tuple[Graph | None, Graph | None] = (None, None),
    learned: torch.Tensor | None = None,
    schedule: Schedule = SCHEDULE,
    on_progress: OnProgress = lambda done, total: None,
) -> CausalGraph:
    """Estimate a graph, and others on resamplings of the same steps.

    Args:
        steps: in latents.
        names: of the K variables and psi(0).
        instantaneous, seed, sparsity, learned, schedule: as of :func:`estimate_graph`.
        repeats: number of resamplings, each of as many steps drawn with replacement and with a start of its own.
        true: the true graphs between steps and within a step, bool [K, K]; None where they are not known.
        on_progress: is told of each round of all estimations.
    """

    def estimate(number: int) -> Estimate:
        return estimate_graph(
            steps,
            instantaneous=instantaneous,
            seed=seed if number == 0 else _seed(seed, number),
            resampled=number > 0,
            sparsity=sparsity,
            learned=learned,
            schedule=schedule,
            on_progress=lambda done, total: on_progress(number * total + done, (repeats + 1) * total),
        )

    first, *others = (estimate(number) for number in range(repeats + 1))

    def edges(kind: str, known: Graph | None) -> EdgeSet:
        found: list[Effects] = [getattr(other, kind) for other in others]
        shares = np.mean([one.found for one in found], axis=0) if found else None
        return EdgeSet(names, getattr(first, kind), shares, known)

    return CausalGraph(
        names,
        edges("temporal", true[0]),
        edges("instantaneous", true[1]) if instantaneous else None,
        repeats,
        first.undecided,
    )


def _seed(seed: int, number: int) -> int:
    """A seed of a resampling, unlike those of other seeds."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
