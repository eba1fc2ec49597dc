"""MSE, PSNR and SSIM are those of scikit-image."""

import numpy as np
import pytest
from skimage import metrics

from citris_cli.evaluation.image_measures import mse, psnr, ssim


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (5, 4, 4, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    noise = rng.normal(scale=np.array([0, 2, 10, 40, 90])[:, None, None, None], size=smooth.shape)
    return smooth, np.clip(smooth + noise, 0, 255).astype(np.uint8)


def test_mse_and_psnr(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pairs
    for i, value in enumerate(mse(first, second)):
        a, b = first[i] / 255, second[i] / 255
        assert value == pytest.approx(metrics.mean_squared_error(a, b))
        if value > 0:
            assert psnr(value) == pytest.approx(metrics.peak_signal_noise_ratio(a, b, data_range=1))
    assert mse(first, second)[0] == 0
    assert np.isinf(psnr(mse(first, second))[0])


def test_ssim(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pairs
    for i, value in enumerate(ssim(first, second)):
        wanted = metrics.structural_similarity(
            first[i] / 255,
            second[i] / 255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
        )
        assert value == pytest.approx(wanted, abs=1e-9)
    assert ssim(first, first) == pytest.approx(1)
