"""Distances between frames in terms of their factors."""

import numpy as np
import pytest
import torch

from citris_cli.core.causal_encoder import CausalEncoder
from citris_cli.core.config import CausalEncoderConfig
from citris_cli.data.frames import as_model_input
from citris_cli.data.variables import Variable, Variables
from citris_cli.evaluation import distances
from citris_cli.evaluation.distances import UNITS, columns_of, compare, read_factors

FACTORS = Variables(
    [Variable("x", "continuous", 0.0, 4.0), Variable("a", "angle"), Variable("s", "categorical", categories=2)]
)


def test_true_values_are_compared_as_they_are() -> None:
    first = np.array([[1.0, 0.1, 0.0], [2.0, 3.0, 1.0]], np.float32)
    second = np.array([[3.0, 2 * np.pi - 0.1, 0.0], [2.0, 3.0, 0.0]], np.float32)
    found = compare(first, second, FACTORS)
    np.testing.assert_allclose(found.distance, [[2, np.degrees(0.2), 0], [0, 0, 1]], atol=1e-4)
    np.testing.assert_allclose(found.normalised, [[1, 0.2 / np.pi, 0], [0, 0, 1]], atol=1e-6)
    assert found.mean == pytest.approx((1 + 0.2 / np.pi + 1) / 6, abs=1e-6)
    summary = found.summary()
    assert list(summary) == ["x", "a", "s"]
    assert summary["x"] == {"distance": 1.0, "normalised": 0.5}
    assert summary["s"] == {"distance": 0.5, "normalised": 0.5}
    assert set(UNITS) >= {factor.kind for factor in FACTORS}


def test_factors_are_read_from_frames_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    config = CausalEncoderConfig(width=32, channels=4, patch=2)
    encoder = CausalEncoder(config, FACTORS, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        whole = encoder.predict(as_model_input(torch.from_numpy(frames))).numpy()
    monkeypatch.setattr(distances, "frames_at_once", lambda width: 3)
    read = read_factors(encoder, frames)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, whole, atol=1e-5)
    assert compare(read, whole, FACTORS).mean < 1e-5


def test_factors_are_matched_by_name() -> None:
    assert columns_of(FACTORS, ("s", "z", "x")) == ([0, 2], [2, 0])
    assert columns_of(FACTORS, ("z",)) == ([], [])
