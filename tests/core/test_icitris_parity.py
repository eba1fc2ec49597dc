"""Every part of iCITRIS against the published implementation's numbers: |a - b| <= 1e-4 + 1e-4 |b|, float32."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from citris_cli.artifacts import published
from citris_cli.artifacts.published.parts import published_graph_classifier
from citris_cli.core.assignment import CausalAssignment
from citris_cli.core.config import ICitrisPriorConfig
from citris_cli.core.graph import EncoGraph, NotearsGraph, ancestors
from citris_cli.core.graph_classifier import GraphTargetClassifier, TargetCounts
from citris_cli.core.mutual_information import Groups, MutualInformationEstimator
from citris_cli.core.priors import Given, InstantaneousPrior, Score
from tests.core.test_parity import Numbers, agree

ASSIGNED = 30.0  # logits with which a sample is that assignment, whatever the noise


def sampled(assignment: list[int], variables: int, batch: int) -> tuple[Tensor, Tensor]:
    """Probabilities and samples of an assignment with these logits; the samples are drawn, as in a training."""
    psi = CausalAssignment(len(assignment), variables, rest=False)
    with torch.no_grad():
        psi.logits[torch.arange(len(assignment)), torch.tensor(assignment)] = ASSIGNED
    return psi.probabilities(), psi.sample(batch, torch.Generator().manual_seed(0))


def published_prior(numbers: Numbers) -> InstantaneousPrior:
    sizes = numbers.sizes
    config = ICitrisPriorConfig(
        graph_learning=sizes["graph_learning_method"].lower(),
        graph_samples=sizes["num_graph_samples"],
        sparsity=sizes["lambda_sparse"],
        autoregressive=sizes["autoregressive"],
        psi0=False,
    )
    prior = InstantaneousPrior(sizes["num_latents"], sizes["num_blocks"], sizes["c_hid"], config)
    weights = published.instantaneous_prior_weights(numbers.weights())
    missing, unexpected = prior.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all(name.startswith("information.") for name in missing)
    return prior


FORMS = ["enco", "enco_autoregressive", "notears", "notears_autoregressive"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("score", ["nll", "kld"])
def test_prior(parity: Path, form: str, score: str, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers(parity / f"icitris_prior_{form}.safetensors")
    prior, targets = published_prior(numbers), numbers["in/intervention_targets"]
    batch = len(targets)
    probabilities, psi = sampled(numbers.sizes["assignment"], numbers.sizes["num_blocks"], batch)
    factor = {"acyclicity": numbers.sizes["matrix_exp_factor"], "parents": 1.0}
    given = Given(targets, probabilities, psi, torch.Generator().manual_seed(0), schedule=factor)

    def of(graphs: Tensor) -> Score:
        monkeypatch.setattr(prior.graph, "sample", lambda *_, **__: graphs)
        if score == "nll":
            return prior.nll(numbers["in/z_t"], numbers["in/z_t1"], given)
        posterior = numbers["in/kl_mean"], numbers["in/kl_logstd"]
        return prior.kl(*posterior, numbers["in/kl_z_t"], numbers["in/kl_sample"], given)

    graph = prior.graph
    agree(graph.probabilities(), numbers["out/edge_probabilities"])
    assert torch.equal(graph.hard(), numbers["out/adjacency"])
    fixed = graph.hard().expand(batch, 1, -1, -1)
    agree(prior.eval().learned_graph().hard, numbers["out/adjacency"])
    agree(of(fixed).value, numbers[f"out/{score}_fixed_graph"])
    prior.train()
    if isinstance(graph, EncoGraph):
        found = of(numbers["in/adjacency_samples"])
        agree(found.value, numbers[f"out/{score}_train"])
        found.terms["sparsity"].backward()
        prefix = "" if score == "nll" else "kld_"
        agree(graph.gamma.grad, numbers[f"out/{prefix}gamma_gradient"])
        agree(graph.theta.grad, numbers[f"out/{prefix}theta_gradient"])
    if isinstance(graph, NotearsGraph):
        agree(torch.stack(graph.penalties()), numbers["out/sparsity_and_acyclicity"])
        monkeypatch.undo()  # the logits are so large that samples are the hard graph
        found = prior.nll(numbers["in/z_t"], numbers["in/z_t1"], given)
        if score == "kld":
            posterior = numbers["in/kl_mean"], numbers["in/kl_logstd"]
            found = prior.kl(*posterior, numbers["in/kl_z_t"], numbers["in/kl_sample"], given)
        total = found.value + found.terms["sparsity"] + found.terms["acyclicity"]
        agree(total, numbers[f"out/{score}_train"])


@pytest.mark.parametrize("parents", [True, False])
def test_mutual_information(parity: Path, parents: bool) -> None:
    numbers = Numbers(parity / "icitris_mi_estimator.safetensors")
    sizes, targets = numbers.sizes, numbers["in/intervention_targets"].flatten(0, 1)
    estimator = MutualInformationEstimator(sizes["num_latents"], sizes["num_blocks"], sizes["c_hid"])
    estimator.load_state_dict(published.information_weights(numbers.weights()))
    _, psi = sampled(sizes["assignment"], sizes["num_blocks"], len(targets))
    graph = numbers["in/adjacency"] * parents
    entries = []
    for k in range(sizes["num_blocks"]):
        steps = targets[:, k].nonzero().flatten()
        other = steps[numbers[f"in/permutation_of_variable_{k}"].long()]
        entries += [(int(i), k, int(j), 1.0) for i, j in zip(steps, other, strict=True)]
    groups = Groups(*(torch.tensor(column) for column in zip(*entries, strict=True)))
    z = numbers["in/z"]
    pair = z[:, :-1].flatten(0, 1), z[:, 1:].flatten(0, 1)
    loss_model, loss_z = estimator.eval()(*pair, psi, graph.expand(len(targets), -1, -1), groups)
    ending = "" if parents else "_without_parents"
    agree(loss_model, numbers[f"out/loss_model{ending}"])
    agree(loss_z, numbers[f"out/loss_z{ending}"])


@pytest.mark.parametrize("ending", ["", "_with_ancestors"])
def test_target_classifier(parity: Path, ending: str) -> None:
    numbers = Numbers(parity / "icitris_target_classifier.safetensors")
    sizes = numbers.sizes
    # Models give it twice their width; here it was given the width itself.
    classifier = GraphTargetClassifier(sizes["num_latents"], sizes["num_blocks"], sizes["c_hid"] // 2).eval()
    own = published.graph_classifier_weights(numbers.weights())
    seen = TargetCounts(sizes["num_blocks"])
    for targets in numbers["in/targets_seen"]:
        seen.add(targets.flatten(0, -2))
    agree(seen.counts, own["seen.counts"])
    agree(seen.mean, own["seen.mean"])
    classifier.load_state_dict(own)
    z, graph = numbers["in/z"], numbers["in/adjacency"]
    _, psi = sampled(sizes["assignment"], sizes["num_blocks"], len(z))
    graphs = (ancestors(graph) if ending else graph).expand(len(z), -1, -1)
    loss_model, loss_z = classifier(z, numbers["in/intervention_targets"], psi, graphs)
    agree(loss_model, numbers[f"out/loss_model{ending}"])
    agree(loss_z, numbers[f"out/loss_z{ending}"])
    tables = published_graph_classifier(classifier.state_dict())
    for name, table in numbers.weights().items():
        agree(tables[name], table)
