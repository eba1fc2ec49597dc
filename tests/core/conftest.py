"""What the tests of compiled functions need: a compiled file, and each kind of processor that this one can be."""

from collections.abc import Iterator

import pytest
import torch
from citris_cli.core.kernels import library

from citris_cli.core import kernels


@pytest.fixture(autouse=True)
def _compiled(request: pytest.FixtureRequest) -> None:
    """Skips tests marked ``compiled`` where there is nothing to test."""
    if request.node.get_closest_marker("compiled") and library.level() == 0:
        pytest.skip("kernels.c was not compiled (no C compiler?), or not for this processor")


@pytest.fixture(params=["AVX2", "AVX-512"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Computes as on one kind of processor; skips where this one cannot."""
    level = {"AVX2": 1, "AVX-512": 2}[request.param]
    if library.level() < level:
        pytest.skip(f"this processor has no {request.param}")
    forms = kernels.autoregressive, kernels.separate, kernels.full  # whose panels are of the processor's width
    monkeypatch.setattr(library, "level", lambda: level)
    for form in forms:
        form.cache_clear()
    yield
    for form in forms:
        form.cache_clear()


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
