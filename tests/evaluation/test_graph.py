"""Graphs estimated from latents whose causes are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from citris_cli.evaluation.graphs.estimate import Effects, Estimate, Schedule, Steps, estimate_graph
from citris_cli.evaluation.graphs.mechanisms import Mechanisms
from citris_cli.evaluation.graphs.report import find_graph

#: Enough for the plain systems below, in a second or two.
QUICK = Schedule(warm_up=200, rounds=20, fitting=20, judging=40, last=100, batch=128, judged=24, graphs=16, hidden=24)


def simulated(
    temporal: np.ndarray,
    within: np.ndarray,
    seed: int,
    steps: int = 2000,
    linear: bool = True,
    intervened: float = 0.2,
) -> Steps:
    """A system of K variables of one to three latents, with perfect interventions; `within` is upper triangular."""
    random = np.random.default_rng(seed)
    count = len(temporal)
    sizes = [1 + index % 3 for index in range(count)]
    strength = random.choice([-1.0, 1.0], (2, count, count)) * random.uniform(0.7, 1.0, (2, count, count))
    targets = (random.random((steps, count)) < intervened).astype(np.float32)
    latents = [np.zeros((steps + 1, size)) for size in sizes]
    # What a variable does, it does by the mean of its latents.
    acts = np.zeros((steps + 1, count))
    for step in range(steps):
        for child, size in enumerate(sizes):
            mean = np.zeros(1)
            for of, graph, values, share in ((0, temporal, acts[step], 0.6), (1, within, acts[step + 1], 0.9)):
                causes = [strength[of, i, child] * values[i] for i in np.flatnonzero(graph[:, child])]
                causes = causes if linear else [cause + 0.4 * np.sin(2 * cause) for cause in causes]
                mean = mean + share * sum(causes) / max(len(causes), 1) ** 0.5
            mean = mean + random.normal(0, 0.4, size)
            latents[child][step + 1] = random.normal(0, 1.2, size) if targets[step, child] else mean
            acts[step + 1, child] = latents[child][step + 1].mean()
    z = torch.from_numpy(np.concatenate(latents, axis=1)).float()
    assignment = torch.repeat_interleave(torch.arange(count), torch.tensor(sizes))
    return Steps.of(z, torch.arange(steps), torch.from_numpy(targets), assignment)


def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(100 + seed)
    temporal = np.eye(count, dtype=bool) | (random.random((count, count)) < 0.2)
    return temporal, np.triu(random.random((count, count)) < 0.4, 1)


def found(estimate: Estimate, instantaneous: bool = False) -> list[list[bool]]:
    effects = estimate.instantaneous if instantaneous else estimate.temporal
    assert effects is not None
    return effects.found[:-1].tolist()


@pytest.mark.parametrize(("seed", "linear"), [(0, True), (1, False)])
def test_effects_from_step_to_step_are_found_exactly(seed: int, linear: bool) -> None:
    temporal, _ = drawn(5, seed)
    steps = simulated(temporal, np.zeros((5, 5), bool), seed, linear=linear)
    estimate = estimate_graph(steps, seed=seed, schedule=QUICK)
    assert found(estimate) == temporal.tolist()
    assert estimate.instantaneous is None
    there = estimate.temporal.found
    assert (estimate.temporal.gain[there] > 0.02).all()
    assert np.isnan(estimate.temporal.probability[-1]).all()  # psi(0) has no latents


@pytest.mark.parametrize(("seed", "linear"), [(0, True), (1, False)])
def test_effects_within_a_step_are_found_exactly_with_their_directions(seed: int, linear: bool) -> None:
    temporal, within = drawn(5, seed)
    estimate = estimate_graph(
        simulated(temporal, within, seed, linear=linear), instantaneous=True, seed=seed, schedule=QUICK
    )
    assert found(estimate, instantaneous=True) == within.tolist()
    assert found(estimate) == temporal.tolist()


def test_variables_without_effects_on_each_other_have_no_edges() -> None:
    steps = simulated(np.zeros((4, 4), bool), np.zeros((4, 4), bool), 0)
    estimate = estimate_graph(steps, instantaneous=True, schedule=QUICK)
    assert not np.array(found(estimate)).any()
    assert not np.array(found(estimate, instantaneous=True)).any()


def rest_of(steps: Steps, rest: int) -> Steps:
    """The same where the last variable is psi(0): nobody intervenes on it."""
    assert rest == steps.variables - 1
    return Steps(steps.before, steps.after, steps.targets[:, :-1], steps.assignment, steps.constant)


def test_what_psi_0_hears_from_a_variable_is_no_edge_from_it() -> None:
    """An effect on it does not count, and the reverse is not taken for it; one from it is found."""
    into = np.zeros((3, 3), bool)
    into[0, 2] = True
    random = np.random.default_rng(0)
    steps = simulated(np.eye(3, dtype=bool), into, int(random.integers(10)), intervened=0.2)
    estimate = estimate_graph(rest_of(steps, 2), instantaneous=True, schedule=QUICK)
    assert estimate.instantaneous is not None
    assert not estimate.instantaneous.found.any()
    out = np.eye(3, dtype=bool)
    out[2, 0] = True
    estimate = estimate_graph(rest_of(simulated(out, np.zeros((3, 3), bool), 3), 2), schedule=QUICK)
    assert estimate.temporal.found.tolist() == [[True, False], [False, True], [True, False]]


def test_the_same_seed_gives_the_same_numbers() -> None:
    steps = simulated(*drawn(3, 0), 0, steps=300)
    little = Schedule(warm_up=10, rounds=2, fitting=5, judging=5, last=5, batch=32, judged=8, graphs=4, hidden=8)
    first, again, other = (
        estimate_graph(steps, seed=seed, instantaneous=True, schedule=little).temporal.probability for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, other, equal_nan=True)


def test_a_learnt_graph_keeps_its_directions() -> None:
    """Even against what the data say, and other edges are not looked for."""
    within = np.zeros((3, 3), bool)
    within[0, 1] = within[1, 2] = True
    learned = torch.zeros(3, 3, dtype=torch.bool)
    learned[1, 0] = True
    steps = simulated(np.eye(3, dtype=bool), within, 0, steps=1200)
    estimate = estimate_graph(steps, instantaneous=True, learned=learned, schedule=QUICK)
    assert found(estimate, instantaneous=True) == learned.tolist()


@pytest.mark.parametrize("kind", ["constant", "single"])
def test_what_cannot_be_told_gives_no_edge_and_no_nan(kind: str) -> None:
    little = Schedule(warm_up=20, rounds=3, fitting=10, judging=10, last=10, batch=32, judged=8, graphs=4, hidden=8)
    count = 1 if kind == "single" else 2
    z = torch.randn(301, count, generator=torch.Generator().manual_seed(0))
    if kind == "constant":
        z[:, 1] = 0.7
    steps = Steps.of(z, torch.arange(300), torch.zeros(300, count), torch.arange(count))
    estimate = estimate_graph(steps, instantaneous=True, schedule=little)
    assert np.isfinite(estimate.temporal.probability[:-1]).all()
    assert not np.array(found(estimate, instantaneous=True)).any()


def test_resamplings_tell_how_often_an_edge_is_found() -> None:
    temporal = np.array([[1, 1], [0, 1]], bool)
    steps = simulated(temporal, np.zeros((2, 2), bool), 0, steps=1500)
    rounds: list[tuple[int, int]] = []
    graph = find_graph(
        steps,
        ("a", "b", "psi(0)"),
        repeats=2,
        true=(temporal, None),
        schedule=QUICK,
        on_progress=lambda done, total: rounds.append((done, total)),
    )
    assert [(edge.cause, edge.effect, edge.found, edge.true) for edge in graph.temporal.edges] == [
        ("a", "a", 1.0, True), ("a", "b", 1.0, True), ("b", "b", 1.0, True)
    ]  # fmt: skip
    assert graph.to_json()["temporal"]["truth"]["shd"] == 0
    assert {total for _, total in rounds} == {3 * (QUICK.rounds + 1)}
    assert [done for done, _ in rounds] == sorted(done for done, _ in rounds)


def test_many_graphs_at_once_are_scored_as_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    networks = Mechanisms([1, 2, 1], [torch.tensor([0]), torch.tensor([1, 2])], 2, 8, generator)
    for weight in networks.parameters():
        torch.nn.init.normal_(weight, std=0.3, generator=generator)
    inputs, outputs = torch.randn(2, 5, 4, generator=generator), torch.randn(2, 5, 3, generator=generator)
    graphs = (torch.rand(2, 2, 5, 6, 3, generator=generator) < 0.5).float()
    together = networks.losses_of_many(inputs, outputs, graphs)
    for number in range(6):
        alone = networks.losses(inputs, outputs, graphs[:, :, :, number].transpose(1, 2))
        assert torch.allclose(together[..., number].transpose(1, 2), alone, atol=1e-4)


def test_a_cycle_is_told_with_the_nearest_graph_without_one() -> None:
    count = 3
    ring = np.vstack([np.roll(np.eye(count, dtype=bool), 1, axis=1), np.zeros((1, count), bool)])
    gain = np.where(ring, [0.5, 0.1, 0.5], 0.0)
    rest = np.zeros(count, bool)
    effects = Effects(ring * 0.99, ring, gain, np.full(ring.shape, 0.01), rest)
    from citris_cli.evaluation.graphs.report import CausalGraph, EdgeSet

    names = ("a", "b", "c", "psi(0)")
    nothing = Effects(ring * 0.0, np.zeros_like(ring), gain, gain, rest)
    graph = CausalGraph(names, EdgeSet(names, nothing, None, None), EdgeSet(names, effects, None, None), 0, 0)
    assert sorted(graph.cycle) == ["a", "b", "c"]
    assert graph.dropped == [("a", "b")]
    assert graph.to_json()["acyclic"] == (ring & (gain != 0.1)).tolist()
