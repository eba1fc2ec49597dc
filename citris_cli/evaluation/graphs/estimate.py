"""ENCO on causal latents: small networks are fitted to random graphs, and edges judged by what these predict in turn.

The steps of the data are dealt into two folds, each with networks of its own, and a network's predictions are judged on
the steps of the other fold: what it has learnt by heart says nothing for an edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from citris_cli.core.enco import (
    Evidence,
    adjacency,
    edge_probabilities,
    evidence_of_sums,
    existence_gradient,
    orientation_gradient,
    sample_graphs,
)
from citris_cli.evaluation.graphs.mechanisms import Mechanisms

Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]

#: Latents whose standard deviation is less are divided by this: what hardly varies is not blown up.
LEAST_STD = 0.01
#: Nats by which an edge must improve the prediction of its child in a step.
SPARSITY = 0.02
FOLDS = 2
#: Passes over the steps of a fold before the first edge is judged, and around the decided graph, at most.
FIRST_PASSES, LAST_PASSES = 20, 10
#: Least probability of an edge, and of its absence, in the graphs that networks are fitted to.
EXPLORED = 0.1
#: Share of a fold that its networks are fitted to, and most steps of the rest on which weights are compared with those
#: before.
FITTED, COMPARED = 0.75, 1024
#: Share of the newest weights in those that edges are judged by.
AVERAGED = 0.02
#: Logits of what is settled before the estimation begins.
NEVER = -9e15
#: An edge is decided where the slope of its probability is less.
DECIDED = 1e-3


@dataclass(frozen=True)
class Schedule:
    """How long things take.

    The graph's rates are higher than those with which the papers' experiments took 4,000 steps of 6,400 evaluations:
    with these, an edge is decided after some hundred steps of 2,048, which on the worlds gave the same graphs.

    Attributes:
        warm_up: steps of fitting before the first edge is judged.
        rounds: most rounds; it ends before if every edge is decided.
        fitting, judging: steps of each round.
        last: steps of fitting around the decided graph, after which each edge's gain is measured.
        batch: steps of the data, of each fold, that networks are fitted on at once.
        judged: the same that edges are judged on, and number of graphs of each.
        graphs: see there.
        hidden: width of the networks.
        rate, existence_rate, orientation_rate: step sizes of Adam.
        flipped: probability with which an edge is flipped around the decided graph.
    """

    warm_up: int = 400
    rounds: int = 60
    fitting: int = 40
    judging: int = 40
    last: int = 400
    batch: int = 256
    judged: int = 32
    graphs: int = 32
    hidden: int = 64
    rate: float = 2e-3
    existence_rate: float = 0.03
    orientation_rate: float = 0.03
    flipped: float = 0.25


@dataclass(frozen=True)
class Steps:
    """Steps of a sequence in causal latents; N steps, M latents, K variables.

    Attributes:
        before, after: float32 [N, M], of the frames that a step leads from and to, standardised.
        targets: float32 [N, K], 1 where a variable was intervened on in the step.
        assignment: int64 [M], the variable of each latent; K for psi(0).
        constant: bool [M], latents that do not vary.
    """

    before: Tensor
    after: Tensor
    targets: Tensor
    assignment: Tensor
    constant: Tensor

    @classmethod
    def of(cls, z: Tensor, starts: Tensor, targets: Tensor, assignment: Tensor) -> Steps:
        """Standardise latents and take them apart.

        Args:
            z: causal latents [N', M] of all frames.
            starts: int64 [N], the frame that each step leads from; it leads to the next.
            targets: 0 or 1, [N, K].
            assignment: int64 [M].
        """
        std = z.std(0)
        scaled = (z - z.mean(0)) / std.clamp(min=LEAST_STD)
        return cls(scaled[starts], scaled[starts + 1], targets.to(scaled), assignment, std < LEAST_STD)

    def __len__(self) -> int:
        return len(self.before)

    @property
    def variables(self) -> int:
        """K."""
        return self.targets.shape[1]


@dataclass(frozen=True)
class Effects:
    """Edges of one kind: from the step before, or within a step. P = K + 1 possible causes, the last one psi(0).

    Attributes:
        probability: float [P, K]; NaN where one of the two has no latents.
        found: bool [P, K], the edges of the decided graph.
        gain: float [P, K]: nats by which a step's effect is predicted better with the edge, the others being as
            decided, on steps that the prediction was not fitted to; NaN as above.
        gain_error: float [P, K], its standard error.
        into_rest: bool [K], edges within a step from variables to psi(0), which do not count but are not those from it.
    """

    probability: np.ndarray
    found: np.ndarray
    gain: np.ndarray
    gain_error: np.ndarray
    into_rest: np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A graph.

    Attributes:
        temporal: effects from one step to the next.
        instantaneous: effects within a step; None where they were not looked for.
        undecided: number of edges that were not decided in all rounds.
    """

    temporal: Effects
    instantaneous: Effects | None
    undecided: int


#: As it is by default.
SCHEDULE = Schedule()
#: Is told how many of how many rounds are done.
OnProgress = Callable[[int, int], None]


def estimate_graph(
    steps: Steps,
    *,
    instantaneous: bool = False,
    seed: int = 0,
    resampled: bool = False,
    sparsity: float = SPARSITY,
    learned: Tensor | None = None,
    schedule: Schedule = SCHEDULE,
    on_progress: OnProgress = lambda done, total: None,
) -> Estimate:
    """The graph over the variables whose latents these are.

    Args:
        steps: at least four.
        instantaneous: whether effects within a step are looked for, too.
        seed: of everything random; on the same device and number of threads, the same seed gives the same graph.
        resampled: whether each fold is drawn from its steps with replacement, as a bootstrap does.
        sparsity: nats that an edge must be worth.
        learned: a graph within a step, bool [K, K], that the model has learnt: its edges keep their directions, and
            there are no others among the variables. None if there is none.
        schedule: how long it takes.
        on_progress: is told of each round.
    """
    search = _Search(steps, instantaneous, seed, resampled, sparsity, learned, schedule)
    for _ in range(FIRST_PASSES):
        search.fit(math.ceil(schedule.warm_up / FIRST_PASSES), 1)
    for done in range(schedule.rounds):
        on_progress(done, schedule.rounds + 1)
        search.fit(schedule.fitting, 1)
        search.judge(schedule.judging)
        if search.undecided() == 0:
            break
    on_progress(schedule.rounds, schedule.rounds + 1)
    return search.result()


class _Search:
    """The state of an estimation."""

    def __init__(
        self,
        steps: Steps,
        instantaneous: bool,
        seed: int,
        resampled: bool,
        sparsity: float,
        learned: Tensor | None,
        schedule: Schedule,
    ) -> None:
        device = steps.before.device
        self._schedule, self._sparsity, self._instantaneous = schedule, sparsity, instantaneous
        self._generator = generator = torch.Generator(device).manual_seed(seed)
        self._variables = variables = steps.variables
        blocks = [torch.nonzero(steps.assignment == index).squeeze(1) for index in range(variables + 1)]
        #: Variables that have latents, K for psi(0). Within a step psi(0) is a child, too: what it hears from a
        #: variable must not be taken for the reverse.
        self._nodes = [index for index, block in enumerate(blocks) if len(block)]
        self._children = self._nodes if instantaneous else [index for index in self._nodes if index < variables]
        order = torch.cat([blocks[index] for index in self._nodes])
        before, after = steps.before[:, order], steps.after
        inputs = torch.cat([before, after[:, order]], dim=1) if instantaneous else before
        targets = torch.zeros(len(steps), len(self._children), device=device)
        known = [place for place, index in enumerate(self._children) if index < variables]
        targets[:, known] = steps.targets[:, [self._children[place] for place in known]]
        rows = _folds(len(steps), resampled, generator)
        #: Steps of a fold from here on are not fitted to.
        self._cut = _cut(rows.shape[1])
        self._inputs, self._outputs, self._targets = inputs[rows], after[rows], targets[rows]
        slots = [len(blocks[index]) for index in self._nodes] * (2 if instantaneous else 1)
        self._networks = Mechanisms(
            slots, [blocks[index] for index in self._children], FOLDS, schedule.hidden, generator
        )
        #: The same with weights averaged over the last steps of fitting; and the best of these, which edges are judged
        #: by.
        self._steady = deepcopy(self._networks).requires_grad_(False)
        self._best = deepcopy(self._steady)
        self._optimizer = torch.optim.AdamW(self._networks.parameters(), lr=schedule.rate, weight_decay=1e-4)
        self._fitted = 0
        children = len(self._children)
        self._gamma = torch.nn.Parameter(torch.zeros(len(slots), children, device=device), requires_grad=False)
        self._theta = torch.nn.Parameter(torch.zeros(children, children, device=device), requires_grad=False)
        self._settled = torch.zeros_like(self._gamma, dtype=torch.bool)
        self._directed = torch.zeros_like(self._theta, dtype=torch.bool)
        if instantaneous:
            self._settle(learned)
        self._graph_optimizer = torch.optim.Adam(
            [
                {"params": [self._gamma], "lr": schedule.existence_rate, "betas": (0.9, 0.9)},
                {"params": [self._theta], "lr": schedule.orientation_rate, "betas": (0.9, 0.999)},
            ]
        )

    def _settle(self, learned: Tensor | None) -> None:
        """What is known of edges within a step: none from a child to itself, and those that the model has learnt."""
        within, children = self._settled[len(self._nodes) :], len(self._children)
        within |= torch.eye(children, dtype=torch.bool, device=within.device)
        if learned is not None:
            own = [place for place, index in enumerate(self._children) if index < self._variables]
            which = torch.tensor([self._children[place] for place in own])
            edges = learned.to(within.device)[which][:, which]
            grid = torch.tensor(own, device=within.device)
            rows, columns = grid.unsqueeze(1), grid.unsqueeze(0)
            within[rows, columns] |= ~edges
            direction = edges.float() - edges.T.float()
            self._theta[rows, columns] = -NEVER * direction
            self._directed[rows, columns] = direction != 0
        self._gamma.masked_fill_(self._settled, NEVER)

    def _probabilities(self) -> Tensor:
        """Of all edges [P, C]."""
        if not self._instantaneous:
            return edge_probabilities(self._gamma)
        temporal, within = self._gamma.split(len(self._nodes))
        return torch.cat([edge_probabilities(temporal), edge_probabilities(within, self._theta)])

    def _decided(self) -> Tensor:
        """The graph as it stands, bool [P, C]."""
        if not self._instantaneous:
            return adjacency(self._gamma)
        temporal, within = self._gamma.split(len(self._nodes))
        return torch.cat([adjacency(temporal), adjacency(within, self._theta)])

    def _drawn(self, number: int, count: int) -> tuple[Tensor, Tensor]:
        """Positions among the first steps of each fold: indices of folds [F, 1], and of steps [F, number]."""
        rows = torch.randint(count, (FOLDS, number), generator=self._generator, device=self._inputs.device)
        return torch.arange(FOLDS, device=rows.device).unsqueeze(1), rows

    def fit(self, most: int, passes: int, probabilities: Tensor | None = None) -> None:
        """Fit the networks to graphs of the edges' probabilities, each in its own fold.

        Args:
            most: steps; fewer where these are more than so many passes over the fold.
            passes: see there.
            probabilities: of the edges; as they stand if None.
        """
        # Every edge is sometimes there and sometimes not: else its worth would be measured on what was never fitted.
        likely = self._probabilities() if probabilities is None else probabilities
        likely = likely.clamp(EXPLORED, 1 - EXPLORED).masked_fill(self._settled, 0.0)
        batch = min(self._schedule.batch, max(32, self._cut // 8))
        for _ in range(min(most, math.ceil(passes * self._cut / batch))):
            self._fitted += 1
            self._optimizer.param_groups[0]["lr"] = self._schedule.rate * min(1.0, self._fitted / 100)
            chosen = self._drawn(batch, self._cut)
            graphs = sample_graphs(likely.T, (FOLDS, batch), self._generator).float()
            losses = self._networks.losses(self._inputs[chosen], self._outputs[chosen], graphs)
            self._optimizer.zero_grad()
            # Networks share no weights, and so none learns from another's loss.
            (losses * (1 - self._targets[chosen])).mean(1).sum().backward()
            self._optimizer.step()
            with torch.no_grad():
                share = max(1 / self._fitted, AVERAGED)
                torch._foreach_lerp_(list(self._steady.parameters()), list(self._networks.parameters()), share)
        self._keep_better(likely)

    @torch.no_grad()
    def _keep_better(self, likely: Tensor) -> None:
        """Take back what a network has learnt where it predicts the rest of its own fold no better than it did before.

        It has begun to learn single steps by heart: then what helps a prediction looks as if it spoilt it.
        """
        # On the other fold edges are judged: what was chosen by it would have learnt of it.
        chosen = slice(self._cut, self._cut + COMPARED)
        inputs, outputs, targets = (part[:, chosen] for part in (self._inputs, self._outputs, self._targets))
        graphs = sample_graphs(likely.T, inputs.shape[:2], self._generator).float()
        free = 1 - targets
        new, old = ((one.losses(inputs, outputs, graphs) * free).sum(1) for one in (self._steady, self._best))
        better = (new < old).flatten()
        for newest, steady, best in zip(
            self._networks.parameters(), self._steady.parameters(), self._best.parameters(), strict=True
        ):
            there = better.view(-1, *[1] * (best.dim() - 1))
            best.copy_(torch.where(there, steady, best))
            steady.copy_(torch.where(there, steady, best))
            newest.copy_(torch.where(there, newest, best))

    @torch.no_grad()
    def judge(self, steps: int) -> None:
        """Move the graph's parameters by what the networks predict of the fold that they were not fitted to."""
        size, number = min(self._schedule.judged, self._inputs.shape[1]), self._schedule.graphs
        for _ in range(steps):
            chosen = self._drawn(size, self._inputs.shape[1])
            inputs, outputs, targets = (
                part[chosen].roll(1, 0) for part in (self._inputs, self._outputs, self._targets)
            )
            likely = self._probabilities()
            each = likely.T[:, None, None].expand(-1, size, number, -1)
            graphs = sample_graphs(each, (FOLDS,), self._generator).float()
            losses = self._best.losses_of_many(inputs, outputs, graphs)
            evidence = evidence_of_sums(
                _by_step(graphs.sum(3)),
                _by_step((graphs.transpose(3, 4) @ losses.unsqueeze(-1)).squeeze(-1)),
                losses.sum(3).permute(0, 2, 1).flatten(0, 1).unsqueeze(1),
                number,
            )
            self._move(evidence, targets.flatten(0, 1))

    def _move(self, evidence: Evidence, targets: Tensor) -> None:
        direction = torch.ones_like(self._gamma)
        before = len(self._nodes)
        if self._instantaneous:
            direction[before:] = self._theta.sigmoid()
            within = Evidence(evidence.difference[:, before:], evidence.seen[:, before:])
            turning = orientation_gradient(self._gamma[before:], self._theta, within, targets)
            self._theta.grad = turning.masked_fill(self._directed, 0.0)
        gradient = existence_gradient(self._gamma, direction, evidence, targets, self._sparsity)
        self._gamma.grad = gradient.masked_fill(self._settled, 0.0)
        self._graph_optimizer.step()

    def undecided(self) -> int:
        """Number of edges of which it is not yet clear whether they are there."""
        probability = self._gamma.sigmoid()
        # An edge that leads the other way needs no decision: nothing tells of it any more.
        open_still = probability * (1 - probability) > DECIDED
        if self._instantaneous:
            backward = self._theta.sigmoid() < 0.01
            open_still[len(self._nodes) :] &= ~backward
            balanced = (self._theta.sigmoid() - 0.5).abs() < 0.49
            open_still[len(self._nodes) :] |= balanced & (probability[len(self._nodes) :] > 0.5)
        return int(open_still.sum())

    def result(self) -> Estimate:
        """What was found."""
        found, probability = self._decided(), self._probabilities()
        undecided = self.undecided()
        found, gain, error = self._confirmed(found)
        probability = torch.where(found == self._decided(), probability, 0.0)
        parts = [
            self._effects(*(one[start : start + len(self._nodes)] for one in (probability, found, gain, error)))
            for start in range(0, len(found), len(self._nodes))
        ]
        return Estimate(parts[0], parts[1] if self._instantaneous else None, undecided)

    def _confirmed(self, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The graph without edges that turn out not to be worth what is asked of an edge, with what edges are worth.

        What edges are judged by on the way comes of a few steps and many graphs. Here it comes of all steps, and of
        networks that know the graph and those near it. Of each child's edges the least is dropped first, as another one
        may be worth more without it.

        Returns:
            The graph, its edges' gains and their standard errors [P, C].
        """
        flipped = self._schedule.flipped
        likely = torch.where(found, 1 - flipped, flipped)
        for _ in range(LAST_PASSES):
            self.fit(math.ceil(self._schedule.last / LAST_PASSES), 1, likely)
        found = found.clone()
        while True:
            gain, error = self._gains(found)
            worth, least = torch.where(found, gain, torch.inf).min(dim=0)
            children = torch.nonzero(worth < self._sparsity).squeeze(1)
            if len(children) == 0:
                return found, gain, error
            found[least[children], children] = False

    def _gains(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Nats that each edge is worth beside the others of a graph, and their standard errors [P, C]."""
        edges, children = found.shape
        # The graph itself, and with each edge flipped.
        graphs = found.T.unsqueeze(1).repeat(1, edges + 1, 1)
        places = torch.arange(edges, device=found.device)
        graphs[:, 1 + places, places] ^= True
        count, total, squares = torch.zeros(3, edges, children, device=found.device).unbind()
        with torch.no_grad():
            for start in range(0, self._inputs.shape[1], 128):
                chosen = slice(start, start + 128)
                inputs, outputs, targets = (
                    part[:, chosen].roll(1, 0) for part in (self._inputs, self._outputs, self._targets)
                )
                many = graphs.float().unsqueeze(1).expand(FOLDS, children, inputs.shape[1], -1, -1)
                losses = self._best.losses_of_many(inputs, outputs, many.contiguous())
                worth = losses[..., 1:] - losses[..., :1]  # [F, C, B, P]
                worth = torch.where(found.T.unsqueeze(1), worth, -worth)
                free = 1 - targets.transpose(1, 2).unsqueeze(-1)
                count += free.sum((0, 2)).T
                total += (worth * free).sum((0, 2)).T
                squares += (worth * worth * free).sum((0, 2)).T
        mean = total / count.clamp(min=1)
        variance = (squares / count.clamp(min=1) - mean * mean).clamp(min=0)
        return mean, (variance / count.clamp(min=1)).sqrt()

    def _effects(self, probability: Tensor, found: Tensor, gain: Tensor, error: Tensor) -> Effects:
        """Of the nodes that there are, put into the places of all."""
        shape = (self._variables + 1, self._variables + 1)
        wide = [np.full(shape, np.nan), np.zeros(shape, bool), np.full(shape, np.nan), np.full(shape, np.nan)]
        grid = np.ix_(self._nodes, self._children)
        for place, part in zip(wide, (probability, found, gain, error), strict=True):
            place[grid] = part.cpu().numpy()
        likely, there, worth, unsure = (one[:, : self._variables] for one in wide)
        return Effects(likely, there, worth, unsure, into_rest=wide[1][: self._variables, -1])


def _folds(count: int, resampled: bool, generator: torch.Generator) -> Tensor:
    """Which steps are in each fold, int64 [F, n]; one that is left over is in none."""
    device = generator.device
    size = count // FOLDS
    dealt = torch.randperm(count, generator=generator, device=device)[: size * FOLDS].view(FOLDS, size)
    if not resampled:
        return dealt
    cut = _cut(size)
    parts = [(start, stop) for start, stop in ((0, cut), (cut, size)) if stop > start]
    # No step is both fitted to and compared on.
    drawn = [torch.randint(a, b, (FOLDS, b - a), generator=generator, device=device) for a, b in parts]
    return dealt.gather(1, torch.cat(drawn, dim=1))


def _cut(size: int) -> int:
    """Number of steps of a fold that its networks are fitted to."""
    return max(1, math.floor(FITTED * size))


def _by_step(values: Tensor) -> Tensor:
    """[F, C, B, P] as the estimate takes it: [F·B, P, C]."""
    return values.permute(0, 2, 3, 1).flatten(0, 1)
