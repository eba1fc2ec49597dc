"""The marginalised score of independent latents: values and gradients of its reference, and of the formula's loop."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from citris_cli.core.ops.marginal_score import marginal_nll, marginal_nll_reference
from tests.core.ops.exact import require_exact, seeded

WINDOWS = 20


def inputs(latents: int, samples: int, variables: int, components: int = 0) -> tuple[list[Tensor], Tensor]:
    """What is differentiated by, in the order of the arguments, and the targets; components are those of mixtures."""
    observational = torch.randn(WINDOWS, samples, latents, 2, generator=seeded(1))
    z = torch.randn(WINDOWS, samples, latents, generator=seeded(2))
    p = (2 * torch.randn(latents, variables + 1, generator=seeded(3))).softmax(-1)
    shape = (latents, variables, components, 3) if components else (latents, variables, 2)
    intervened = 0.5 * torch.randn(shape, generator=seeded(4))
    return [observational, z, p, intervened], torch.rand(WINDOWS, variables, generator=seeded(5)) < 0.4


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("components", [0, 1, 3])
@pytest.mark.parametrize(("latents", "samples", "variables"), [(1, 1, 1), (5, 3, 2), (16, 8, 4), (33, 2, 7)])
def test_the_score_is_that_of_the_reference(
    latents: int, samples: int, variables: int, components: int, training: bool
) -> None:
    learned, targets = inputs(latents, samples, variables, components)
    require_exact(
        lambda out, z, p, intervened: marginal_nll(out, z, targets, p, intervened, 0.3, training),
        lambda out, z, p, intervened: marginal_nll_reference(out, z, targets, p, intervened, 0.3, training),
        learned,
    )


COLLAPSED, ABSENT = -40.0, float("-inf")


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(
    ("z", "mixture"),
    [
        (100.0, [[0, 0, 0], [0, COLLAPSED, 0]]),
        (5.0, [[0, COLLAPSED - 2, 0], [0, 0, 0]]),
        (0.5, [[0, 0, 0], [0, 0, ABSENT]]),
        (3.0, [[0, 20, 0], [0, 0, 1000]]),
    ],
)
def test_components_that_are_far_away_count_for_nothing(z: float, mixture: list[list[float]]) -> None:
    learned, targets = inputs(3, 2, 1)
    learned[1], targets = torch.full_like(learned[1], z), torch.ones_like(targets)
    learned[3] = torch.tensor(mixture).expand(3, 1, 2, 3).clone()
    require_exact(
        lambda out, z, p, intervened: marginal_nll(out, z, targets, p, intervened, 0.3, False),
        lambda out, z, p, intervened: marginal_nll_reference(out, z, targets, p, intervened, 0.3, False),
        learned,
    )


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("component", [0, 1])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_mixture_that_is_no_number_gives_none(component: int, part: int) -> None:
    (observational, z, p, intervened), targets = inputs(3, 2, 1, 2)
    intervened[1, 0, component, part] = float("nan")
    score = marginal_nll(observational, z, torch.ones_like(targets), p, intervened, 0.3, False)
    assert score.isnan().all()


def test_the_reference_is_the_formula() -> None:
    (observational, z, p, intervened), targets = inputs(3, 2, 2)
    ours = marginal_nll_reference(observational, z, targets, p, intervened, 0.3, True)
    for b in range(WINDOWS):
        total = 0.3 * (1 - p[:, -1]).mean()
        for m in range(3):
            mean, log_std = observational[b, :, m].unbind(-1)
            pairs = -Normal(mean[:, None], log_std.exp()[:, None]).log_prob(z[b, :, m])
            free = 1 - 0.3 * p[m, -1]
            for k in range(2):
                if targets[b, k]:
                    hit = -Normal(intervened[m, k, 0], intervened[m, k, 1].exp()).log_prob(z[b, :, m])
                    total = total + p[m, k] * hit.mean()
                    free = free - p[m, k]
            total = total + free * pairs.mean()
        torch.testing.assert_close(ours[b], total, rtol=1e-4, atol=1e-4)


@pytest.mark.compiled
@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("changed", range(4))
def test_what_changed_in_place_since_the_forward_pass_is_refused(changed: int) -> None:
    learned, targets = inputs(3, 2, 2)
    out, z, p, intervened = (one.requires_grad_() for one in learned)
    score = marginal_nll(out, z, targets, p, intervened, 0.3, True)
    with torch.no_grad():
        learned[changed].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        score.sum().backward()
