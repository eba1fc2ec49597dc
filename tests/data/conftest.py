from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real data files (a `shared` folder beside the checkout) are not here")
    return SHARED


def sequence(n: int = 6, columns: int = 2, size: int = 32, channels: int = 3, seed: int = 0) -> dict[str, Any]:
    """A small sequence whose first column is intervened on in step 1 and whose second in step 2."""
    rng = np.random.default_rng(seed)
    targets = np.zeros((n - 1, columns), dtype=np.int64)
    targets[1 % (n - 1), 0] = 1
    targets[2 % (n - 1), 1 % columns] = 1
    return {
        "images": rng.integers(0, 256, (n, size, size, channels), dtype=np.uint8),
        "interventions": targets,
        "latents": rng.normal(size=(n, columns)).astype(np.float32),
    }


def triplets(n: int = 4, columns: int = 2, size: int = 32) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {
        "images": rng.integers(0, 256, (n, 3, size, size, 3), dtype=np.uint8),
        "mask": rng.integers(0, 2, (n, columns)),
        "latents": rng.normal(size=(n, 3, columns)).astype(np.float32),
    }


def save(path: Path, compressed: bool = False, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path
