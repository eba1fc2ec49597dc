"""Every part of iCITRIS against the published implementation's numbers: |a - b| <= 1e-4 + 1e-4 |b|, float32."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from citris_cli.artifacts import published
from citris_cli.core.assignment import CausalAssignment
from citris_cli.core.config import ICitrisPriorConfig
from citris_cli.core.graph import EncoGraph, NotearsGraph, ancestors
from citris_cli.core.graph_classifier import GraphTargetClassifier
from citris_cli.core.mutual_information import MOMENTUM, Groups, MutualInformationEstimator
from citris_cli.core.priors import Given, InstantaneousPrior
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
    given = Given(targets, probabilities, psi, torch.Generator().manual_seed(0))

    def of(graphs: Tensor) -> Tensor:
        monkeypatch.setattr(prior.graph, "sample", lambda batch, generator: graphs)
        if score == "nll":
            return prior.nll(numbers["in/z_t"], numbers["in/z_t1"], given)
        posterior = numbers["in/kl_mean"], numbers["in/kl_logstd"]
        return prior.kl(*posterior, numbers["in/kl_z_t"], numbers["in/kl_sample"], given)

    graph = prior.graph
    agree(graph.probabilities(), numbers["out/edge_probabilities"])
    assert torch.equal(graph.hard(), numbers["out/adjacency"])
    fixed = graph.hard().expand(batch, 1, -1, -1)
    agree(of(fixed).value, numbers[f"out/{score}_fixed_graph"])
    agree(prior.eval()._score.__self__ is prior and of(fixed).value, numbers[f"out/{score}_fixed_graph"])
    prior.train()
    if isinstance(graph, EncoGraph):
        found = of(numbers["in/adjacency_samples"])
        agree(found.value, numbers[f"out/{score}_train"])
        found.terms["sparsity"].backward()
        prefix = "" if score == "nll" else "kld_"
        agree(graph.gamma.grad, numbers[f"out/{prefix}gamma_gradient"])
        agree(graph.theta.grad, numbers[f"out/{prefix}theta_gradient"])
    if isinstance(graph, NotearsGraph):
        sparsity, acyclicity = graph.penalties()
        agree(torch.stack([sparsity, acyclicity]), numbers["out/sparsity_and_acyclicity"])
