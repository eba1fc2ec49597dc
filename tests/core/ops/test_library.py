"""The one decision between a compiled function and PyTorch: what is compiled here, what is not, what is too old."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from citris_cli.core.ops import library, sources
from citris_cli.core.ops.c_types import STRUCTURES


@pytest.fixture
def _asked_anew() -> Iterator[None]:
    """What the library is asked once, it is asked again in this test and after it."""
    caches = library.functions, library.level
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_other_numbers_and_other_precisions_are_left_to_pytorch() -> None:
    x = torch.randn(3, 2)
    assert library.usable(x) == (library.level() > 0)
    assert not library.usable(x.double())
    assert not library.usable(x, x.double())
    assert not library.usable(x[:0])
    assert not library.usable(x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not library.usable(x)


@pytest.mark.usefixtures("_asked_anew")
@pytest.mark.parametrize(("value", "off"), [("0", True), ("1", False), ("", False), (None, False)])
def test_the_environment_switches_it_off(monkeypatch: pytest.MonkeyPatch, value: str | None, off: bool) -> None:
    monkeypatch.delenv(library.SWITCH, raising=False)
    if value is not None:
        monkeypatch.setenv(library.SWITCH, value)
    monkeypatch.setattr(library, "functions", lambda: SimpleNamespace(level=lambda: 2))
    assert library.switched_off() is off
    assert library.in_use() == ("none" if off else "avx512")
    assert library.why_none() == ("CITRIS_KERNELS=0" if off else "")


#: Prints which form is in use, and stores one value and gradient of every operation.
EVERY_OPERATION = """
import sys
import torch
from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.config import AutoencoderConfig, AutoregressivePriorConfig, CitrisNFConfig, MLPPriorConfig
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.core.ops.library import in_use

torch.set_num_threads(1)
results = []
for prior in (MLPPriorConfig(), AutoregressivePriorConfig()):
    generator = torch.Generator().manual_seed(0)
    autoencoder = Autoencoder(AutoencoderConfig(width=32, latents=6, channels=64, decoder_blocks=1), generator)
    config = CitrisNFConfig(latents=6, variables=2, flow_layers=2, samples=3, prior=prior)
    model = CitrisNF(config, autoencoder, generator)
    images = torch.rand(32, 3, 32, 32, generator=generator) * 2 - 1
    error, _ = autoencoder.loss(images, generator)
    pairs = torch.randn(16, 2, 6, generator=generator)
    loss, _ = model.train().loss(pairs, torch.rand(16, 2, generator=generator) < 0.4, generator)
    loss.backward()
    learned = [p for p in model.parameters() if p.grad is not None]
    norm = ClippedAdamW([{"params": learned, "lr": 1e-3}], 1.0).update()
    z = torch.randn(5, 6, generator=generator)
    results += [loss, error, norm, model.flow.inverse(z), *learned]
torch.save([one.detach() for one in results], sys.argv[1])
print(in_use())
"""


def test_switched_off_pytorch_computes_the_same(tmp_path: Path) -> None:
    said, results = [], []
    for number, value in enumerate(("0", "1")):
        path = tmp_path / f"{number}.pt"
        done = subprocess.run(
            [sys.executable, "-c", EVERY_OPERATION, str(path)],
            env={**os.environ, library.SWITCH: value},
            check=True,
            capture_output=True,
            text=True,
        )
        said.append(done.stdout.strip())
        results.append(torch.load(path))
    assert said[0] == "none"
    assert said[1] in library.NAMES
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)
    if said[1] != "none":
        assert not all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.usefixtures("_asked_anew")
def test_without_a_compiled_file_there_is_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    assert library.functions() is None
    assert (library.in_use(), library.why_none()) == ("none", "not compiled")
    (tmp_path / sources.LIBRARY).write_bytes(b"\x7fELF of another machine")
    library.functions.cache_clear()
    library.level.cache_clear()
    assert library.functions() is None
    assert library.level() == 0
    assert library.why_none().startswith("cannot be loaded: ")


#: Loads the compiled functions before or after PyTorch, and prints which OpenMP libraries are in the process.
OPENMP = """
import sys
from citris_cli.core.ops import library
for name in sys.argv[1:]:
    library.functions() if name == "functions" else __import__(name)
print(*{line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line or "libomp" in line})
"""


@pytest.mark.compiled
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")
@pytest.mark.parametrize("order", [["functions", "torch"], ["torch", "functions"]])
def test_no_second_openmp_library_is_loaded(order: list[str]) -> None:
    command = [sys.executable, "-c", OPENMP, *order]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert len(found) == 1


class Compiled:
    """A compiled file as ctypes shows it.

    Args:
        digest: of its sources.
        sizes: of its structures.
    """

    def __init__(self, digest: str, sizes: list[int]) -> None:
        def structure_sizes(into: Any) -> None:
            into[:] = sizes

        def own_sources() -> bytes:
            return digest.encode()

        self.sources, self.structure_sizes, self.level = own_sources, structure_sizes, lambda: 2


SIZES = [ctypes.sizeof(one) for one in STRUCTURES]


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_structures_of_another_size_do_not_fit(number: int) -> None:
    other = list(SIZES)
    other[number] += 8
    assert library.fits(Compiled(sources.digest(), SIZES))
    assert not library.fits(Compiled(sources.digest(), other))


def test_other_sources_and_earlier_versions_do_not_fit() -> None:
    assert not library.fits(Compiled("0" * 32, SIZES))
    assert not library.fits(SimpleNamespace(level=lambda: 2))
    assert not library.fits(SimpleNamespace(level=lambda: 2, sources=lambda: sources.digest().encode()))


@pytest.mark.compiled
@pytest.mark.usefixtures("_asked_anew")
@pytest.mark.parametrize("other", ["sources", "structures"])
def test_a_file_that_does_not_fit_is_not_used(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """What was compiled of sources that changed since, or of structures that ctypes has otherwise."""
    if other == "sources":
        monkeypatch.setattr(library, "digest", lambda: "0" * 32)
    else:
        monkeypatch.setattr(library, "STRUCTURES", (*STRUCTURES[1:], STRUCTURES[0]))
    assert library.functions() is None
    assert library.in_use() == "none"
    assert library.why_none() == "compiled of other sources; install citris again"
    assert not library.usable(torch.ones(3))


def test_the_hash_is_of_every_source_and_of_no_line_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = sources.digest()
    for path in sources.files():
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(sources, "FOLDER", tmp_path)
    assert sources.digest() == original
    for path in sources.files():
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert sources.digest() != original
        path.write_bytes(content)
    assert sources.digest() == original


def test_parts_are_as_many_as_threads_and_none_is_too_small(threads: int) -> None:
    assert library.number_of_parts(10_000) == threads
    assert library.number_of_parts(2 * library.LEAST_ROWS) == min(2, threads)
    assert library.number_of_parts(1) == library.number_of_parts(0) == 1
