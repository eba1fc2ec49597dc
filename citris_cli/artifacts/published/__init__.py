"""Published CITRIS models: their names of weights and their hyperparameters in ours, both ways.

:mod:`.settings` tells what a model is from its hyperparameters and the shapes of its weights; :mod:`.parts` and
:mod:`.models` name the weights of every part and of every whole model; :mod:`.forms` puts that together for each kind.
:mod:`citris_cli.artifacts.checkpoints` reads
the files, :mod:`citris_cli.conversion` puts it all together.
"""

from citris_cli.artifacts.published.models import (
    causal_encoder_factors,
    causal_encoder_weights,
    citris_nf_weights,
    citris_vae_weights,
)
from citris_cli.artifacts.published.parts import (
    autoencoder_weights,
    classifier_weights,
    flow_weights,
    graph_classifier_weights,
    information_weights,
    instantaneous_prior_weights,
    prior_weights,
    select,
    vae_decoder_weights,
    vae_encoder_weights,
)

__all__ = [
    "autoencoder_weights",
    "causal_encoder_factors",
    "causal_encoder_weights",
    "citris_nf_weights",
    "citris_vae_weights",
    "classifier_weights",
    "flow_weights",
    "graph_classifier_weights",
    "information_weights",
    "instantaneous_prior_weights",
    "prior_weights",
    "select",
    "vae_decoder_weights",
    "vae_encoder_weights",
]
