"""``python -m tests.benchmarks.gpu``: training steps on a CUDA device, in one table and in a JSON file.

Every step as it is replayed as a graph, as its operations are asked for one by one, and in the plain form; and what the
device could do at best: a step's matrix products and convolutions at the rate of a large product of the same precision,
or, where that takes longer, the bytes that these read and write at the rate of a large copy. In that floor everything
between them is free, as if it were done on the way.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from citris_cli.core.autoencoder import Autoencoder
from citris_cli.core.citris_nf import CitrisNF
from citris_cli.core.citris_vae import CitrisVAE
from citris_cli.core.config import AutoencoderConfig
from citris_cli.core.ops.adamw import ClippedAdamW
from citris_cli.data.batches import ShuffledBatches
from citris_cli.data.frames import Frames, as_model_input
from citris_cli.training.autoencoder import AutoencoderTask
from citris_cli.training.causal_latents import CLASSIFIER_WEIGHT_DECAY
from citris_cli.training.citris_nf import CitrisNFTask
from citris_cli.training.citris_vae import CitrisVAETask
from citris_cli.training.config import TrainingConfig
from citris_cli.training.devices import apart_from_other_work, compute_in
from citris_cli.training.presets import AUTOENCODER, CITRIS_NF, CITRIS_VAE
from citris_cli.training.processes import ALONE, BatchLoss
from citris_cli.training.steps import BY_HAND, SingleSteps, steps_of
from citris_cli.training.task import Task
from tests.benchmarks.causal_steps import products
from tests.benchmarks.measure import Row, counted
from tests.benchmarks.plain_autoencoder import PlainAutoencoder, as_images
from tests.benchmarks.plain_citris_nf import PlainCitrisNF
from tests.benchmarks.steps import plain_step
from tests.benchmarks.table import table

FRAMES = 4096
#: Side of the matrices whose product gives the device's rate, and bytes of the copy that gives its bandwidth.
SIDE, COPIED = 8192, 4 << 30
#: Operations that no form of a step can do without.
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """What the device does at best: operations a second by precision, bytes a second."""

    products: dict[str, float]
    bandwidth: float

    def floor(self, operations: int, moved: int, precision: str) -> float:
        """Seconds that products of so many operations on so many bytes take at least."""
        return max(operations / self.products[precision], moved / self.bandwidth)


class Moved(TorchDispatchMode):
    """Bytes that products and convolutions read and write, each tensor once an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in PRODUCTS:
            tensors = [one for one in tree_leaves((args, results)) if isinstance(one, Tensor)]
            self.bytes += sum(one.nbytes for one in tensors)
        return results


def seconds(forms: dict[str, Callable[[], object]], rounds: int = 5, block: float = 0.3) -> dict[str, float]:
    """Median seconds of every form, in blocks of many calls that end when the device is done, all forms in turn."""
    calls = {}
    for name, form in forms.items():
        for _ in range(6):  # the first few choose algorithms and record
            form()
        torch.cuda.synchronize()
        start = time.perf_counter()
        form()
        torch.cuda.synchronize()
        calls[name] = max(1, round(block / (time.perf_counter() - start)))
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(calls[name]):
                form()
            torch.cuda.synchronize()
            taken[name].append((time.perf_counter() - start) / calls[name])
    return {name: median(each) for name, each in taken.items()}


def ceilings(device: torch.device) -> Ceilings:
    """The device's, measured."""
    rates = {}
    generator = torch.Generator(device).manual_seed(0)
    one, other = torch.randn(2, SIDE, SIDE, device=device, generator=generator)
    for precision in ("float32", "tf32", "bf16"):
        with compute_in(precision, device):
            taken = seconds({"product": lambda: one @ other}, rounds=3)["product"]
            rates[precision] = 2 * SIDE**3 / taken
    source = torch.randint(256, (COPIED,), dtype=torch.uint8, device=device, generator=generator)
    target = torch.empty_like(source)
    return Ceilings(rates, 2 * COPIED / seconds({"copy": lambda: target.copy_(source)}, rounds=3)["copy"])


class Forms:
    """A training's step in our two forms, each with a model of its own.

    Args:
        make: makes the task, on the device.
        config: how it is trained.
        device: where.
    """

    def __init__(self, make: Callable[[], Task], config: TrainingConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self.task = make()
        self.graph = self._steps(self.task, True)
        for _ in range(2 * BY_HAND):
            self.graph()
        torch.cuda.synchronize()
        self.held = torch.cuda.max_memory_reserved()
        self.single = self._steps(make(), False)

    def _steps(self, task: Task, recorded: bool) -> Callable[[], object]:
        generator = torch.Generator(self._device).manual_seed(0)
        task.begin(generator)
        task.model.train()
        optimizer = ClippedAdamW(task.parameter_groups(), self._config.clip)
        rates = [group["lr"] for group in optimizer.param_groups]
        config, loss = self._config, BatchLoss(task, ALONE)
        steps = (
            steps_of(task, loss, optimizer, generator, config)
            if recorded
            else SingleSteps(loss, optimizer, generator, lambda: compute_in(config.precision, self._device))
        )
        numbers = iter(range(1 << 30))
        return lambda: steps.take(next(numbers), rates)

    def rows(
        self, what: str, unit: str, operations: int, moved: int, limits: Ceilings, plain: float | None
    ) -> list[Row]:
        """Rows of the graph beside the plain form and beside single operations, and of the memory held.

        Args:
            what: is trained.
            unit: of the rates.
            operations, moved: floating-point operations and bytes of a step's products.
            limits: of the device.
            plain: seconds a step of the plain form, if it was measured.
        """
        batch, precision = self.task.batch_size, self._config.precision
        taken = seconds({"graph": self.graph, "single": self.single})
        floor = limits.floor(operations, moved, precision)
        beside = None if plain is None else batch / plain
        return [
            Row(f"{what}, {precision}", unit, batch / taken["graph"], beside, batch / floor),
            Row("  the same, one operation at a time", unit, batch / taken["graph"], batch / taken["single"]),
            Row("  memory, with the frames", "GB", self.held / 1e9),
        ]


@contextmanager
def fresh() -> Iterator[None]:
    """A measurement with the device's memory to itself."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield
    gc.collect()
    torch.cuda.empty_cache()


def pixels() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 3), dtype=np.uint8)


def autoencoder(device: torch.device, limits: Ceilings, precision: str) -> list[Row]:
    """The published autoencoder at its preset's batch; the plain form in PyTorch's own precision."""
    sizes, config = AUTOENCODER["paper"]
    config = dataclasses.replace(config, precision=precision)
    frames = Frames([pixels()]).to(device)

    def make() -> AutoencoderTask:
        model = Autoencoder(sizes, torch.Generator().manual_seed(0)).to(device)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return AutoencoderTask(model, frames, None, config)

    forms = Forms(make, config, device)
    with counted() as counter:
        forms.single()
    with Moved() as moved:
        forms.single()
    plain = _plain_autoencoder(sizes, config, device) if precision == "tf32" else None
    what = f"autoencoder, paper (batch {config.batch_size}, 64x64)"
    return forms.rows(what, "frames/s", counter.get_total_flops(), moved.bytes, limits, plain)


def _plain_autoencoder(sizes: AutoencoderConfig, config: TrainingConfig, device: torch.device) -> float:
    plain = PlainAutoencoder(Autoencoder(sizes, torch.Generator().manual_seed(0))).to(device).train()
    batches = ShuffledBatches(FRAMES, config.batch_size, config.seed)
    frames = torch.from_numpy(pixels())

    def loss(step: int, generator: torch.Generator) -> Tensor:
        images = as_images(frames[batches.at(step)]).to(device)
        with torch.device(device):  # the plain form says nothing of devices
            return plain.loss(images, generator)

    return seconds({"plain": plain_step(plain, loss, [{"params": plain.parameters()}], config)}, rounds=3)["plain"]


def citris_nf(device: torch.device, limits: Ceilings) -> list[Row]:
    """The published CITRIS-NF at its preset's batch."""
    sizes, config = CITRIS_NF["paper"]
    config = dataclasses.replace(config, precision="tf32")
    generator = torch.Generator().manual_seed(0)
    encodings = torch.randn(FRAMES, sizes.latents, generator=generator).to(device)
    targets = (torch.rand(FRAMES, sizes.variables, generator=generator) < 0.1).to(torch.uint8)
    starts = torch.arange(FRAMES - 1)

    def model() -> CitrisNF:
        small = AutoencoderConfig(width=32, latents=sizes.latents, channels=8, patch=2)
        return CitrisNF(sizes, Autoencoder(small, generator), generator).to(device)

    forms = Forms(lambda: CitrisNFTask(model(), encodings, starts, targets, config), config, device)
    _, needed = products(forms.task.model, forms.single)
    with Moved() as moved:
        forms.single()
    theirs = PlainCitrisNF(model()).to(device).train()
    theirs.classifier.frozen.requires_grad_(False)
    batches, targets = ShuffledBatches(FRAMES - 1, config.batch_size, config.seed, device), targets.to(device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        index = batches.at(step)
        pairs = torch.stack([encodings[index], encodings[index + 1]], dim=1)
        with torch.device(device):
            return theirs.loss(pairs, targets[index], generator)

    main = [*theirs.flow.parameters(), theirs.logits, *theirs.prior.parameters()]
    classifier = {"params": theirs.classifier.network.parameters(), "weight_decay": CLASSIFIER_WEIGHT_DECAY}
    plain = seconds({"plain": plain_step(theirs, loss, [{"params": main}, classifier], config)}, rounds=1)["plain"]
    what = f"CITRIS-NF, paper (batch {config.batch_size}, M 32, K 9, S 8)"
    return forms.rows(what, "pairs/s", needed, moved.bytes, limits, plain)


def citris_vae(device: torch.device, limits: Ceilings) -> list[Row]:
    """The published CITRIS-VAE on 64x64 frames at its preset's batch."""
    sizes, config = CITRIS_VAE["paper"]
    config = dataclasses.replace(config, precision="bf16")
    frames = Frames([pixels()]).to(device)
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(FRAMES, sizes.variables, generator=generator) < 0.1).to(torch.uint8)

    def make() -> CitrisVAETask:
        model = CitrisVAE(sizes, torch.Generator().manual_seed(0)).to(device)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return CitrisVAETask(model, frames, torch.arange(FRAMES - 1), targets, None, config)

    forms = Forms(make, config, device)
    _, needed = products(forms.task.model, forms.single)  # type: ignore[arg-type]
    with Moved() as moved:
        forms.single()
    what = f"CITRIS-VAE, paper (batch {config.batch_size} windows of 2, 64x64)"
    return forms.rows(what, "windows/s", needed, moved.bytes, limits, None)


def encode(device: torch.device) -> list[Row]:
    """The published encoder, frames on the device."""
    frames = Frames([pixels()]).to(device)
    model = Autoencoder(AUTOENCODER["paper"][0], torch.Generator().manual_seed(0)).to(device).eval()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run() -> None:
        with torch.inference_mode():
            for chunk in frames.chunks(512):
                model.encode(as_model_input(chunk))

    rates = {}
    for precision in ("float32", "bf16"):
        with compute_in(precision, device):
            rates[precision] = FRAMES / seconds({"encode": run}, rounds=3)["encode"]
    return [Row("encode, paper, bf16 beside float32", "frames/s", rates["bf16"], rates["float32"])]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("benchmarks-gpu.json"), help="default: %(default)s")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA device")
    device = torch.device("cuda", torch.cuda.current_device())
    limits = ceilings(device)
    rows: list[Row] = []
    for measure in (
        lambda: autoencoder(device, limits, "bf16"),
        lambda: autoencoder(device, limits, "tf32"),
        lambda: citris_nf(device, limits),
        lambda: citris_vae(device, limits),
        lambda: encode(device),
    ):
        with fresh(), apart_from_other_work(device):
            rows += measure()
    name = torch.cuda.get_device_name(device)
    rates = ", ".join(f"{key} {value / 1e12:.0f} TFLOP/s" for key, value in limits.products.items())
    title = f"citris on one {name}; products {rates}; copies {limits.bandwidth / 1e12:.2f} TB/s"
    Console(width=150).print(table(rows, title))
    entries = [{**dataclasses.asdict(row), "ratio": row.ratio, "above_floor": row.above_floor} for row in rows]
    result = {"device": name, "torch": torch.__version__, **dataclasses.asdict(limits), "rows": entries}
    given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
