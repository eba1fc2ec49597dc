"""citris: causal representation learning from temporal intervened sequences."""

__version__ = "0.1.0"
