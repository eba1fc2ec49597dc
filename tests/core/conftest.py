"""What the tests of compiled functions need: a compiled file, and each kind of processor that this one can be."""

from collections.abc import Iterator

import pytest
import torch

from citris_cli.core.ops import library, networks

#: Levels of :func:`citris_cli.core.ops.library.level` by what has them.
LEVELS = {"PyTorch's": 0, "AVX2": 1, "AVX-512": 2}


@pytest.fixture(autouse=True)
def _compiled(request: pytest.FixtureRequest) -> None:
    """Skips tests marked ``compiled`` where there is nothing to test."""
    if request.node.get_closest_marker("compiled") and library.level() == 0:
        pytest.skip("kernels.c was not compiled (no C compiler?), or not for this processor")


def _compute_with(form: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if library.level() < LEVELS[form]:
        pytest.skip(f"kernels.c was not compiled, or this processor has no {form}")
    structures = networks.autoregressive, networks.separate, networks.full  # panels are of the processor's width
    monkeypatch.setattr(library, "level", lambda: LEVELS[form])
    for structure in structures:
        structure.cache_clear()
    yield
    for structure in structures:
        structure.cache_clear()


@pytest.fixture(params=["AVX2", "AVX-512"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Computes as on one kind of processor; skips where this one cannot."""
    yield from _compute_with(request.param, monkeypatch)


@pytest.fixture(params=["AVX2", "AVX-512", "PyTorch's"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Computes as on one kind of processor, or by PyTorch alone."""
    yield from _compute_with(request.param, monkeypatch)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
