"""citris: causal representation learning from temporal intervened sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from citris_cli.causal_model import CausalModel, load, samples
    from citris_cli.training.api import train_ae, train_causal_encoder, train_nf, train_vae

__version__ = "0.1.0"
__all__ = ["CausalModel", "__version__", "load", "samples", "train_ae", "train_causal_encoder", "train_nf", "train_vae"]

#: Module of every name that is imported only when it is asked for: `citris --help` must be quick.
_LATER = {
    "CausalModel": "citris_cli.causal_model",
    "load": "citris_cli.causal_model",
    "samples": "citris_cli.causal_model",
    "train_ae": "citris_cli.training.api",
    "train_nf": "citris_cli.training.api",
    "train_vae": "citris_cli.training.api",
    "train_causal_encoder": "citris_cli.training.api",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
