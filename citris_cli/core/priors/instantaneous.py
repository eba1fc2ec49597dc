"""iCITRIS: a transition prior in which variables also act on each other within a step, along a graph that is learned.

``p(z^{t+1} | z^t, I^{t+1}) = prod_k p(z_psi_k | z^t, z^{t+1}_psi_pa(k), I_k)``, pa(k) the instantaneous parents of k
(Lippe et al., "Causal Representation Learning for Instantaneous and Temporal Effects in Interactive Systems", ICLR
2023, section 4). Interventions must be perfect: what is set ignores its parents, which is how a direction is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from citris_cli.core.config import CausalLatentsConfig, ICitrisPriorConfig, PriorConfig
from citris_cli.core.gaussians import gaussian_draw
from citris_cli.core.graph import (
    DECIDES,
    EncoGraph,
    InstantaneousGraph,
    LearnedGraph,
    NotearsGraph,
    depths,
    with_ancestors,
)
from citris_cli.core.graph_classifier import GraphTargetClassifier
from citris_cli.core.mutual_information import MutualInformationEstimator, intervened_groups
from citris_cli.core.ops import shares
from citris_cli.core.ops.graph_losses import Scored, gaussian_scored, graph_losses, samples_scored
from citris_cli.core.ops.owner_networks import OwnerNetworks, Sight, owner_networks
from citris_cli.core.priors.base import Given, ParameterGroup, RegularisedPrior, Score
from citris_cli.core.priors.registry import register

#: Keeps every hypothesis on who owns a latent in training, however unlikely.
LEAST_WEIGHT = 1e-4
#: Share of parents that the mutual information counts at first.
FEW_PARENTS = 0.004
#: Exponents of NOTEARS's factor on cycles, at its start and at the end of the training.
ACYCLICITY = (-6.0, 4.0)
#: Learning rate of the mutual information's network in multiples of the main one, and its weight decay.
ESTIMATOR_RATE, ESTIMATOR_DECAY = 2.0, 1e-4


@register
class InstantaneousPrior(RegularisedPrior):
    """One network a latent, which sees z^t and those latents of z^{t+1} that belong to the parents of its variable.

    It is evaluated for every variable k that the latent m may belong to: of ``[z u, 2u - 1, onehot_k I_k, z^t]``, with
    ``u_kmj = [j != m] (1 - I_k) sum_i A_ji G_ik``, A a sample of the assignment and G one of the graph. If
    ``autoregressive``, plus ``A_jk [j < m]``, the earlier latents of the same variable, also under intervention.
    3M + K -> c -> c -> 2 with LayerNorm and SiLU; ``h -> e^s tanh(h / e^s)`` with learned s bounds mean and log-std.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: hidden width c of every latent's network.
        config: its configuration.
        generator: source of the random start.
    """

    Config = ICitrisPriorConfig
    title = "iCITRIS"
    rows_apart = False
    effects = True

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        config: ICitrisPriorConfig | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        config = config or ICitrisPriorConfig()
        super().__init__(config)
        self.config: ICitrisPriorConfig = config
        self.rest = config.psi0
        self.published = not config.psi0
        self.graph: InstantaneousGraph
        if config.graph_learning == "enco":
            self.graph = EncoGraph(variables, config.psi0, config.graph_samples, config.sparsity)
        else:
            self.graph = NotearsGraph(variables, config.psi0, config.sparsity)
        self.networks = OwnerNetworks(latents, variables, hidden, config.autoregressive, generator)
        self.information = MutualInformationEstimator(latents, variables, hidden, generator)

    @classmethod
    def preset_for(cls, kind: str, preset: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """See :meth:`TransitionPrior.preset_for`."""
        notears = changes.get("graph_learning") == "notears"
        if notears and changes.get("graph_samples", 1) != 1:
            raise ValueError("NOTEARS draws one graph for every pair of frames; leave --graph-samples out")
        if not changes.get("psi0", True) and changes.get("regulariser", 0) > 0:
            raise ValueError("with --no-psi0 there is nothing for --regulariser to pull latents into; leave it out")
        if not changes.get("conditional_targets", True):
            raise ValueError("its latents may always reveal the targets of parents; leave --independent-targets out")
        # The pull into psi(0) is the published mean over latents: a price for each of them was not tried here.
        settings: dict[str, Any] = {"classifier_momentum": 0.9, "regulariser_form": "share"}
        # A tenth of the published steps, each of which has to move the graph ten times as far.
        # So few leave less time to find variables before their graph, and one of mixed-up variables points backwards.
        short = preset == "small"
        settings["graph_rate"] = 5.0 if short else 0.5
        settings |= {"graph_start": 0.35, "graph_full": 0.55} if short else {}
        if short and kind == "citris_nf":
            # A slow rise as CITRIS-NF has was not measured with it. Of as many pairs of frames, more and smaller
            # batches: variables are found in the steps before the graph, and half as many left two of six mixed up.
            settings |= {"regulariser": 0.05, "regulariser_warmup": 0.0, "steps": 8000, "batch_size": 128}
        settings["ancestors"] = 0.9 if kind == "citris_nf" else 0.0
        if notears:
            settings |= {"sparsity": 0.002, "graph_samples": 1}
        return settings

    @classmethod
    def require_possible(cls, config: PriorConfig) -> None:
        """See :meth:`TransitionPrior.require_possible`.

        Raises:
            ValueError: interventions are imperfect.
        """
        if isinstance(config, ICitrisPriorConfig) and config.imperfect_interventions:
            raise ValueError(
                "--imperfect-interventions: iCITRIS needs perfect ones. Where a variable that is set still follows "
                "its parents, a reversed edge and a mixed-up variable explain the data as well as the truth does, so "
                "neither could be detected; leave --method out for CITRIS, which takes imperfect interventions"
            )

    def target_classifier(
        self, config: CausalLatentsConfig, generator: torch.Generator | None = None
    ) -> GraphTargetClassifier:
        """The one that lets a variable's parents be seen; see :meth:`TransitionPrior.target_classifier`."""
        sizes = config.latents, config.variables, config.hidden, config.classifier_layers
        return GraphTargetClassifier(*sizes, config.classifier_momentum, generator)

    def target_losses(
        self, classifier: nn.Module, z: Tensor, targets: Tensor, psi: Tensor, given: Given
    ) -> tuple[Tensor, Tensor]:
        """With graphs drawn anew; see :meth:`TransitionPrior.target_losses`."""
        return classifier(z, targets, psi, self.classifier_graphs(len(z), given), given.generator)

    def gaussians(
        self, z_t: Tensor, z_t1: Tensor, targets: Tensor, psi: Tensor, graphs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of every latent, as a latent of each node, under each graph.

        Args:
            z_t: samples of the earlier frame [B, S, M].
            z_t1: samples of the later frame [B, S, M].
            targets: intervention targets, 0 or 1, [B, K].
            psi: which latents are each node's, one-hot [B, M, N].
            graphs: 0 or 1 [B, n, N, N].

        Returns:
            Two tensors [B, n, N, S, M].
        """
        return owner_networks(self.networks, self._sight(z_t, z_t1, targets, psi), graphs)

    def _sight(self, z_t: Tensor, z_t1: Tensor, targets: Tensor, psi: Tensor) -> Sight:
        return Sight(z_t, z_t1, self.graph.of_nodes(targets.to(z_t.dtype)), psi)

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """``sum_m sum_k (pi_mk + 10^-4) NLL_km`` under the first graph, averaged over sample pairs.

        A copy of both frames gives the Gaussians by which all copies of the later frame are scored.
        See :meth:`TransitionPrior.nll`.
        """

        return self._score(samples_scored(z_t1), z_t, z_t1, given)

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        """As :meth:`nll`, with divergences in the place of its NLLs; see :meth:`TransitionPrior.kl`."""
        return self._score(gaussian_scored(mean, log_std), z_t.unsqueeze(1), z_t1.unsqueeze(1), given)

    def _score(self, scored: Scored, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        batch, pi = len(z_t), given.probabilities
        sight = self._sight(z_t, z_t1, given.targets, given.psi)
        if not self.training:
            graphs = self.graph.hard().expand(batch, 1, -1, -1)
            return Score(graph_losses(self.networks, sight, graphs, pi, LEAST_WEIGHT, scored, exact=True)[0])
        self.graph.settle()
        graphs, learning = self._drawn(batch, given), given.schedule.get("graph", 1.0)
        # While the graph's rate is 0, nothing is learned of it, and one graph is as good as several.
        host = isinstance(learning, float) and not z_t.is_cuda
        if host and learning == 0:
            graphs = graphs[:, :1]
        elif isinstance(learning, Tensor):
            graphs = torch.where(learning > 0, graphs, graphs[:, :1])
        exact = not host or "graph" not in given.schedule  # a GPU is not asked for numbers
        value, losses = graph_losses(self.networks, sight, graphs, pi, LEAST_WEIGHT, scored, exact)
        if self.config.psi0:
            value = self.pulled(value, given)
        factor = given.schedule.get("acyclicity", math.exp(ACYCLICITY[1]))
        terms = self.graph.terms(losses, graphs, sight.targets, factor)
        return Score(value, {**terms, **self._information(z_t[:, 0], z_t1[:, 0], given), **self._scale(z_t, z_t1)})

    def _drawn(self, batch: int, given: Given) -> Tensor:
        """Graphs [B, n, N, N]; n = 1 once the graph has settled, where the host knows that (not in a recorded step)."""
        settled = given.schedule.get("settled", 0.0)
        return self.graph.sample(batch, given.generator, settled=isinstance(settled, float) and settled > 0)

    def _information(self, z_t: Tensor, z_t1: Tensor, given: Given) -> dict[str, Tensor]:
        """What a variable that was set tells of the past and of its parents, of one of the samples."""
        share = given.schedule.get("parents", 1.0)
        graphs = self._drawn(len(z_t), given)[:, 0]
        uniform = shares.noise(torch.rand, (len(graphs), 1, graphs.shape[-1]), graphs, given.generator)
        thinned = graphs.detach() * (uniform < share)
        groups = intervened_groups(given.targets, given.generator)
        loss_model, loss_z = self.information(z_t, z_t1, given.psi, thinned, groups)
        return {"information_model": loss_model, "information": self.config.mi_weight * (1 + 2 * share) * loss_z}

    def _scale(self, z_t: Tensor, z_t1: Tensor) -> dict[str, Tensor]:
        """``mean_m(mean(z_m)^2 + (log std(z_m))^2)``: fixes shift and scale of latents that nothing else fixes."""
        z = torch.cat([z_t, z_t1]).flatten(0, 1)
        std, mean = torch.std_mean(z, dim=0, unbiased=False)
        return {"scale": self.config.scale_weight * (mean.square() + std.clamp_min(1e-6).log().square()).mean()}

    def classifier_graphs(self, batch: int, given: Given) -> Tensor:
        """A sampled graph for every row, in some of them with all ancestors for parents [B, N, N]."""
        if not self.training:
            return self.graph.hard().expand(batch, -1, -1)
        graphs = self._drawn(batch, given)[:, 0].detach()
        if self.config.ancestors == 0:
            return graphs
        return with_ancestors(graphs, self.config.ancestors * given.schedule.get("parents", 1.0), given.generator)

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The graph, whose rate is 0 at first, and the network of the mutual information."""
        config = self.config

        graph = [one for one in self.graph.parameters() if one.requires_grad]
        estimator = list(self.information.network.parameters())
        return [
            ParameterGroup(graph, config.graph_rate, 0.0, self._rise, "graph", "--graph-rate", DECIDES),
            ParameterGroup(estimator, ESTIMATOR_RATE, ESTIMATOR_DECAY),
        ]

    def _rise(self, progress: float) -> float:
        """Factor on the graph's rate: 0 at first, so that variables are found before their graph is."""
        return _share(progress, self.config.graph_start, self.config.graph_full)

    def schedule(self, progress: float) -> Mapping[str, float]:
        """What the loss is told of a step.

        ``pull``, the factor on lambda; ``parents``, the share f of them that the mutual information counts, a half
        cosine; ``graph``, the factor on the graph's rate; ``acyclicity``, NOTEARS's factor, ``e^phi`` with phi a half
        cosine; ``settled``, whether the graph has, if that can be known without waiting for a GPU.
        """
        config, fixed = self.config, self.graph.fixed
        settings = {**super().schedule(progress), "graph": self._rise(progress)}
        settings["settled"] = float(not fixed.is_cuda and bool(fixed))
        share = _half_cosine(_share(progress, config.parents_start, config.parents_full))
        settings["parents"] = FEW_PARENTS + (1 - FEW_PARENTS) * share
        if config.graph_learning == "notears":
            low, high = ACYCLICITY
            settings["acyclicity"] = math.exp(
                low + (high - low) * _half_cosine(_share(progress, config.graph_start, 1))
            )
        return settings

    def learned_graph(self) -> LearnedGraph:
        """The graph as it is now, and the nearest one without cycles; see :meth:`TransitionPrior.learned_graph`."""
        return self.graph.learned()

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Draw z^{t+1}, parents before children; see :meth:`TransitionPrior.sample`.

        Of a graph with cycles, the nearest without them is what is followed.
        """
        unknown = torch.full_like(z_t, math.nan)
        return self.sample_beside(unknown, z_t, targets, assignment, generator, temperature)

    def sample_beside(
        self,
        known: Tensor,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """As :meth:`sample`, children of what is known drawn by it; see :meth:`TransitionPrior.sample_beside`."""
        graph = self.learned_graph().acyclic
        nodes, own = len(graph), assignment.tolist()
        psi = functional.one_hot(assignment, nodes).to(z_t.dtype)
        depth = depths(graph)
        turn = torch.tensor([depth[node] for node in own], device=z_t.device)
        if self.config.autoregressive:  # one after the other within a variable
            place = torch.tensor([own[:m].count(node) for m, node in enumerate(own)], device=z_t.device)
            turn = turn * len(own) + place
        noise = torch.randn(z_t.shape, generator=generator).to(z_t)
        missing = known.isnan()
        z_t1 = known.nan_to_num()
        graphs = graph.to(z_t).expand(len(z_t), 1, -1, -1)
        rows = psi.expand(len(z_t), -1, -1)
        chosen = assignment.expand(len(z_t), 1, -1)
        for now in turn[missing.any(0)].unique().tolist():
            every = self.gaussians(z_t.unsqueeze(1), z_t1.unsqueeze(1), targets, rows, graphs)
            mean, log_std = (value[:, 0, :, 0].gather(1, chosen).squeeze(1) for value in every)
            z_t1 = torch.where(missing & (turn == now), gaussian_draw(mean, log_std, noise, temperature), z_t1)
        return z_t1


def _share(progress: float, start: float, full: float) -> float:
    """0 up to ``start``, 1 from ``full`` on, linear in between."""
    return min(1.0, max(0.0, progress - start) / max(1e-9, full - start))


def _half_cosine(share: float) -> float:
    return 0.5 * (1 - math.cos(math.pi * share))
