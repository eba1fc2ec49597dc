"""What both models share: which configuration makes which prior, sizes that are refused, recombination."""

import pytest
import torch

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.causal_latents import CausalLatentsModel
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import (
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CitrisNFConfig,
    CitrisPriorConfig,
    CitrisVAEConfig,
    MLPPriorConfig,
    PriorConfig,
)
from citris_cli.core.priors import (
    AutoregressiveTransitionPrior,
    ImperfectMLPTransitionPrior,
    MLPTransitionPrior,
    build_prior,
)
from citris_cli.kinds import config_from_json, config_to_json, flat

LATENTS, VARIABLES = 4, 2
SIZES = {"latents": LATENTS, "variables": VARIABLES, "flow_layers": 2, "flow_hidden": 3, "hidden": 5}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def citris_nf(**options) -> CitrisNF:
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=LATENTS, channels=4, patch=2), seeded())
    return CitrisNF(CitrisNFConfig(**SIZES | {"samples": 2} | options), autoencoder, seeded())


def citris_vae(**options) -> CitrisVAE:
    return CitrisVAE(CitrisVAEConfig(**SIZES | {"width": 32, "channels": 4, "patch": 2} | options), seeded())


MODELS = [citris_nf, citris_vae]


@pytest.mark.parametrize(
    ("config", "form"),
    [
        (MLPPriorConfig(False, 0.2), MLPTransitionPrior),
        (MLPPriorConfig(True, 0.2), ImperfectMLPTransitionPrior),
        (MLPPriorConfig(imperfect_variables=(1,)), MLPTransitionPrior),
        (AutoregressivePriorConfig(False, 0.2, autoregressive_hidden=3), AutoregressiveTransitionPrior),
        (AutoregressivePriorConfig(True, 0.2, autoregressive_hidden=3), AutoregressiveTransitionPrior),
    ],
)
def test_the_configuration_names_the_prior(config: CitrisPriorConfig, form: type) -> None:
    made = build_prior(config, LATENTS, VARIABLES, 5, seeded())
    assert type(made) is form
    assert made.config == config
    if isinstance(made, AutoregressiveTransitionPrior):
        assert made.perfect.tolist() == [float(not config.imperfect_interventions)] * VARIABLES + [0]
        assert made.middle.weight.shape == (LATENTS * 3, LATENTS * 3)
    else:
        assert made.middle.weight.shape == (LATENTS, 5, 5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "option",
    [
        {"latents": 0}, {"variables": 0}, {"hidden": 0}, {"flow_hidden": 0}, {"classifier_layers": 0},
        {"flow_layers": -1},
    ],
)  # fmt: skip
def test_sizes_that_make_no_model_are_refused(model, option: dict[str, int]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name} is {value}; it must be at least"):
        model(**option)


@pytest.mark.parametrize("model", MODELS)
def test_sizes_that_make_no_prior_are_refused(model) -> None:
    with pytest.raises(ValueError, match="autoregressive_hidden is 0; it must be at least 1"):
        model(prior=AutoregressivePriorConfig(autoregressive_hidden=0))


def test_sizes_of_one_model_alone_are_refused() -> None:
    for option in ({"samples": 0}, {"flow_layers": 0}):
        with pytest.raises(ValueError, match="must be at least 1"):
            citris_nf(**option)
    for option in ({"channels": 0}, {"decoder_blocks": -1}, {"width": 0}, {"patch": 0}):
        with pytest.raises(ValueError, match=r"must be at least|can be 1 or 2 or 4"):
            citris_vae(**option)


@pytest.mark.parametrize("model", MODELS)
def test_a_prior_that_there_is_not_is_refused(model) -> None:
    class GaussianConfig(PriorConfig):
        name = "gaussian"

    with pytest.raises(ValueError, match="there is no prior 'gaussian'; it can be ") as refused:
        model(prior=GaussianConfig())
    assert {"mlp", "autoregressive", "ivae", "slow"} <= set(str(refused.value).replace(",", "").split())


def test_a_configuration_from_before_there_were_several_priors_is_of_the_first() -> None:
    older = flat(config_to_json(CitrisNFConfig()))
    for name in ("prior", "imperfect_interventions", "regulariser_warmup"):
        del older[name]
    assert config_from_json(CitrisNFConfig, older) == CitrisNFConfig()
    assert CitrisNFConfig().prior == MLPPriorConfig()
    assert not MLPPriorConfig().imperfect_interventions


@pytest.mark.parametrize("prior", [MLPPriorConfig(True, 0.3), AutoregressivePriorConfig(True, 0.3, 0.5, 7)])
def test_a_configuration_comes_back_from_json_as_it_was_also_from_its_flat_form(prior: PriorConfig) -> None:
    config = CitrisVAEConfig(latents=5, prior=prior)
    data = config_to_json(config)
    assert data["prior"]["name"] == prior.name
    for form in (data, flat(data)):
        assert config_from_json(CitrisVAEConfig, form) == config


@pytest.mark.parametrize("model", MODELS)
def test_combine_takes_each_variables_latents_from_the_image_that_the_mask_names(model) -> None:
    made: CausalLatentsModel = model()
    assigned = [0, 1, 2, 0]  # 2 is psi(0)
    made.assignment.logits.data.copy_(torch.eye(VARIABLES + 1)[assigned])
    z_1, z_2 = torch.zeros(4, LATENTS), torch.ones(4, LATENTS)
    mask = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])
    for kind in (torch.int64, torch.float32, torch.bool):
        combined = made.combine(z_1, z_2, mask.to(kind))
        for row, picks in zip(combined.tolist(), mask.tolist(), strict=True):
            assert row == [picks[k] if k < VARIABLES else 0 for k in assigned]
