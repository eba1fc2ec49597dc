"""A transition prior from outside the package: known by its name, in both models, in files, with all of its own.

That it is trained by its name is tested in tests/training/test_api.py.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from citris_cli.artifacts.models import ModelFile, read_model_header, write_model
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import AutoencoderConfig, CitrisNFConfig, CitrisVAEConfig, PriorConfig, setting
from citris_cli.core.priors import Given, ParameterGroup, Score, TransitionPrior, find_prior, register, registry
from citris_cli.errors import InputError
from citris_cli.kinds import KINDS, config_from_json, config_to_json, kind_of_model
from citris_cli.loading import load_model, model_config, model_tensors

LATENTS, VARIABLES = 4, 2


@dataclass(frozen=True)
class LaplaceConfig(PriorConfig):
    """Changes of a Laplace distribution.

    Attributes:
        rate: of the distribution at the start.
        evenness: weight of what keeps the rates of latents alike.
    """

    name: ClassVar[str] = "laplace of changes"
    rate: float = setting(3.0, "Rate of the changes at the start.", least=0.01)
    evenness: float = setting(0.1, "Weight of what keeps the rates of latents alike.", least=0)


class LaplacePrior(TransitionPrior):
    """``p(z^{t+1} | z^t, I) = Laplace(z^t + B I, 1 / rate)``, one rate a latent and a shift under every intervention.

    Args:
        latents: number of latents M.
        variables: number of intervened causal variables K.
        hidden: not looked at.
        config: its configuration.
        generator: source of the random start of the shifts.
    """

    Config = LaplaceConfig

    def __init__(
        self,
        latents: int,
        variables: int,
        hidden: int,
        config: LaplaceConfig,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.log_rate = nn.Parameter(torch.full((latents,), math.log(config.rate)))
        self.shifts = nn.Parameter(0.1 * torch.randn(variables, latents, generator=generator))

    def _terms(self, given: Given) -> dict[str, Tensor]:
        weight = given.schedule.get("evenness", 1.0) * self.config.evenness
        return {"evenness": weight * self.log_rate.var(unbiased=False)}

    def _mean(self, z_t: Tensor, targets: Tensor) -> Tensor:
        return z_t + targets.to(z_t.dtype) @ self.shifts

    def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        mean = self._mean(z_t, given.targets.unsqueeze(1))
        change = (z_t1.unsqueeze(1) - mean.unsqueeze(2)).abs().mean((1, 2))  # over pairs of samples
        return Score((self.log_rate.exp() * change + math.log(2) - self.log_rate).sum(-1), self._terms(given))

    def kl(self, mean: Tensor, log_std: Tensor, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
        change = (z_t1 - self._mean(z_t, given.targets)).abs()  # of the one sample
        entropy = log_std + 0.5 * math.log(2 * math.pi * math.e)
        nll = self.log_rate.exp() * change + math.log(2) - self.log_rate
        return Score((nll - entropy).sum(-1), self._terms(given))

    def sample(
        self,
        z_t: Tensor,
        targets: Tensor,
        assignment: Tensor,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        uniform = torch.rand(z_t.shape, generator=generator).to(z_t) - 0.5
        step = -uniform.sign() * torch.log1p(-2 * uniform.abs()) / self.log_rate.exp()
        return self._mean(z_t, targets) + temperature * step

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        return [ParameterGroup([self.log_rate], rate=0.1, schedule=lambda progress: float(progress > 0.25))]

    def schedule(self, progress: float) -> Mapping[str, float]:
        return {"evenness": 1 - progress}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prior is known in these tests, and forgotten after them."""
    monkeypatch.setattr(registry, "_priors", dict(registry._priors))
    register(LaplacePrior)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def citris_nf(config: LaplaceConfig) -> CitrisNF:
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=LATENTS, channels=4, patch=2), seeded())
    sizes: dict[str, Any] = {"flow_layers": 2, "flow_hidden": 3, "hidden": 5, "samples": 3}
    return CitrisNF(CitrisNFConfig(LATENTS, VARIABLES, prior=config, **sizes), autoencoder, seeded())


def citris_vae(config: LaplaceConfig, flow_layers: int = 2) -> CitrisVAE:
    sizes: dict[str, Any] = {"flow_hidden": 3, "hidden": 5, "channels": 4, "width": 32, "networks": "small"}
    return CitrisVAE(CitrisVAEConfig(LATENTS, VARIABLES, flow_layers, prior=config, **sizes), seeded())


MODELS = {
    "CITRIS-NF": citris_nf,
    "CITRIS-VAE, flow": citris_vae,
    "CITRIS-VAE": lambda config: citris_vae(config, flow_layers=0),
}


def loss(model: CausalLatentsModel, progress: float | None) -> tuple[Tensor, dict[str, Tensor]]:
    """Of random data, at a share of a training or outside of one."""
    targets = (torch.rand(8, VARIABLES, generator=seeded(2)) < 0.4).int()
    schedule = {} if progress is None else model.schedule(progress)
    if isinstance(model, CitrisNF):
        encodings = torch.randn(8, 2, LATENTS, generator=seeded(1))
        return model.loss(encodings, targets, seeded(3), schedule)
    assert isinstance(model, CitrisVAE)
    frames = torch.rand(8, 2, 3, 32, 32, generator=seeded(1)) * 2 - 1
    return model.loss(frames, targets.unsqueeze(1), seeded(3), schedule)


@pytest.mark.parametrize("name", MODELS)
def test_the_loss_has_its_score_and_its_terms_and_teaches_it(name: str) -> None:
    model = MODELS[name](LaplaceConfig()).train()
    with torch.no_grad():
        model.prior.log_rate.copy_(torch.linspace(-1, 1, LATENTS))
    value, parts = loss(model, None)
    expected = 0.1 * torch.linspace(-1, 1, LATENTS).var(unbiased=False)
    torch.testing.assert_close(parts["evenness"], expected)
    value.backward()
    for own in model.prior.parameters():
        assert own.grad is not None
        assert (own.grad != 0).all()
    # Without its term the loss is smaller by just that; with a weight of its own, by as much more.
    for evenness in (0.0, 1.0):
        other = MODELS[name](LaplaceConfig(evenness=evenness)).train()
        other.load_state_dict(model.state_dict())
        model.eval(), other.eval()  # so that no running mean moves between the two
        difference = loss(other, None)[0] - loss(model, None)[0]
        torch.testing.assert_close(difference, (evenness - 0.1) * 10 * expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_what_changes_over_a_training_reaches_it(name: str) -> None:
    model = MODELS[name](LaplaceConfig()).eval()
    with torch.no_grad():
        model.prior.log_rate.copy_(torch.linspace(-1, 1, LATENTS))
    assert model.schedule(0.25) == {"progress": 0.25, "prior.evenness": 0.75}
    whole = loss(model, None)[1]["evenness"]
    for progress in (0.0, 0.25, 1.0):
        torch.testing.assert_close(loss(model, progress)[1]["evenness"], (1 - progress) * whole)


def test_progress_reaches_it() -> None:
    seen: list[Any] = []

    class Watching(LaplacePrior):
        def nll(self, z_t: Tensor, z_t1: Tensor, given: Given) -> Score:
            seen.append((given.progress, dict(given.schedule)))
            assert given.psi.shape == (8, LATENTS, VARIABLES + 1)
            assert given.generator is not None
            return super().nll(z_t, z_t1, given)

    model = citris_nf(LaplaceConfig())
    model.prior = Watching(LATENTS, VARIABLES, 5, LaplaceConfig())
    loss(model, None)
    loss(model, 0.5)
    assert seen == [(1.0, {}), (0.5, {"evenness": 0.5})]


def test_its_parameters_have_a_rate_of_their_own() -> None:
    prior = citris_nf(LaplaceConfig()).prior
    (group,) = prior.parameter_groups()
    assert (group.parameters, group.rate, group.weight_decay) == ([prior.log_rate], 0.1, 0.0)
    assert group.schedule is not None
    assert [group.schedule(progress) for progress in (0.0, 0.5)] == [0.0, 1.0]


def test_its_score_is_that_of_the_distribution_and_its_draws_are_of_it() -> None:
    prior = LaplacePrior(LATENTS, VARIABLES, 0, LaplaceConfig(rate=2.0), seeded())
    z_t, z_t1 = torch.randn(2, 3, 1, LATENTS, generator=seeded(1))
    targets = torch.tensor([[0, 0], [1, 0], [1, 1]])
    unread = torch.full((LATENTS, VARIABLES + 1), torch.nan), torch.full((3, LATENTS, VARIABLES + 1), torch.nan)
    ours = prior.nll(z_t, z_t1, Given(targets, *unread)).value
    plain = torch.distributions.Laplace(z_t[:, 0] + targets.float() @ prior.shifts, 0.5).log_prob(z_t1[:, 0])
    torch.testing.assert_close(ours, -plain.sum(-1))
    draws = prior.sample(z_t[1].expand(50_000, -1), targets[1].expand(50_000, -1), torch.zeros(LATENTS), seeded(2))
    torch.testing.assert_close(draws.std(0), torch.full((LATENTS,), math.sqrt(2) / 2), rtol=0.03, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_with_it_is_written_and_read_again(name: str, tmp_path: Path) -> None:
    config = LaplaceConfig(rate=2.5, evenness=0.7)
    model = MODELS[name](config).eval()
    kind, columns = kind_of_model(model).name, [{"name": name} for name in "ab"]
    path = tmp_path / "m.safetensors"
    write_model(path, ModelFile(kind, model_config(model), columns, {}, model_tensors(model)))
    stored = read_model_header(path).config[kind]["prior"]
    assert stored == {"name": "laplace of changes", "rate": 2.5, "evenness": 0.7}
    loaded = load_model(path).network
    assert isinstance(loaded, CausalLatentsModel)
    assert loaded.config == model.config
    assert isinstance(loaded.prior, LaplacePrior)
    assert loaded.prior.config == config
    torch.testing.assert_close(loss(loaded, None), loss(model, None), rtol=0, atol=0)


def test_a_file_whose_prior_nobody_brought_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = citris_nf(LaplaceConfig())
    path = tmp_path / "m.safetensors"
    columns = [{"name": name} for name in "ab"]
    write_model(path, ModelFile("citris_nf", model_config(model), columns, {}, model_tensors(model)))
    monkeypatch.delitem(registry._priors, LaplaceConfig.name)
    with pytest.raises(
        InputError, match="no prior 'laplace of changes'; it can be autoregressive, icitris, ivae, mlp, slow"
    ):
        load_model(path)


def test_an_installed_package_may_bring_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry._priors, LaplaceConfig.name)

    def bring(point: EntryPoint) -> object:
        if point.value == "broken":
            raise ImportError("no module named 'jax'")
        return register(LaplacePrior)

    def installed(*names: str) -> None:
        points = [EntryPoint(name, name, "citris_cli.priors") for name in names]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "citris_cli.priors" else [])

    monkeypatch.setattr(EntryPoint, "load", bring)
    installed("broken")
    with pytest.raises(ValueError, match=r"the package behind the prior 'broken' \(broken\) fails: no module named"):
        find_prior(LaplaceConfig.name)
    assert find_prior("mlp").Config.name == "mlp"  # which is the package's own
    installed("broken", LaplaceConfig.name)  # the one of this name is asked first
    assert find_prior(LaplaceConfig.name) is LaplacePrior


def test_tuples_and_names_among_the_settings_come_back_from_json() -> None:
    @dataclass(frozen=True)
    class ShapesConfig(PriorConfig):
        name: ClassVar[str] = "shapes"
        sizes: tuple[int, ...] = setting((3, 4), "Sizes of the layers.")
        form: str = setting("round", "Form.", choices=("round", "square"))

    class ShapesPrior(LaplacePrior):
        Config = ShapesConfig  # type: ignore[assignment]

    register(ShapesPrior)
    config = CitrisNFConfig(LATENTS, VARIABLES, prior=ShapesConfig((5, 6), "square"))
    assert config_from_json(CitrisNFConfig, json.loads(json.dumps(config_to_json(config)))) == config


def test_a_name_is_given_once() -> None:
    class Other(LaplacePrior):
        pass

    assert register(LaplacePrior) is LaplacePrior  # by whoever imports it again
    with pytest.raises(ValueError, match="there is a prior 'laplace of changes' already"):
        register(Other)


def test_its_settings_have_bounds() -> None:
    with pytest.raises(ValueError, match=r"rate is 0.0; it must be at least 0.01"):
        citris_nf(LaplaceConfig(rate=0.0))


@pytest.mark.parametrize("kind", ["citris_nf", "citris_vae"])
def test_its_configuration_comes_back_from_json(kind: str) -> None:
    config = dataclasses.replace(KINDS[kind].config(), prior=LaplaceConfig(rate=0.5))
    assert config_from_json(KINDS[kind].config, config_to_json(config)) == config
