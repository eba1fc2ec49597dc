"""citris: causal representation learning from temporal intervened sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from citris_cli.causal_model import CausalModel, load

__version__ = "0.1.0"
__all__ = ["CausalModel", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # PyTorch is imported when a model is asked for, not when the package is: `citris --help` must be quick.
    if name in ("CausalModel", "load"):
        from citris_cli import causal_model

        return getattr(causal_model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
