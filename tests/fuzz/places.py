"""Good files in hostile places: an output that is an input, links, and names that lead elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.cases import NF, SAMPLES, SEQUENCE, TINY, Command
from tests.fuzz.run import fresh

#: The kind of these cases; their mutations are the names of the places.
NAME = "places"


@dataclass(frozen=True)
class Place:
    """A command, and what is laid out for it.

    Attributes:
        command: as it is called, in ``work``.
        inputs: samples that are copied into ``in``, and what they are called there.
        lay_out: what else is done in the case's folder.
    """

    command: Command
    inputs: tuple[tuple[str, str], ...]
    lay_out: Callable[[Path], object] = lambda folder: None


_DATA = ("boxes/val_indep.npz", "d.npz")
_SEQUENCE = ("boxes/train.npz", "d.npz")
_TRIPLETS = ("boxes/val_triplets.npz", "d.npz")
_MODEL = ("nf.safetensors", "m.safetensors")
_NF = ("-m", "../in/m.safetensors")


def _linked(folder: Path) -> None:
    (folder / "work/link").symlink_to("../in/d.npz")


def _hard_linked(folder: Path) -> None:
    os.link(folder / "in/d.npz", folder / "work/link")


def _result_leads_elsewhere(name: str) -> Callable[[Path], None]:
    def lay_out(folder: Path) -> None:
        (folder / "elsewhere").write_bytes(b"the user's own")
        (folder / "work/runs/d").mkdir(parents=True)
        (folder / "work/runs/d" / name).symlink_to("../../../elsewhere")

    return lay_out


def _called(name: str) -> tuple[tuple[str, str], ...]:
    return (("frame.png", f"{name}.png"), ("nf.ckpt", f"{name}.ckpt"), ("boxes/val_indep.npz", f"{name}.npz"))


PLACES: dict[str, Place] = {
    "encode-onto-its-data": Place(("encode", "../in/d.npz", *_NF, "-o", "../in/d.npz"), (_DATA, _MODEL)),
    "encode-onto-its-model": Place(("encode", "../in/d.npz", *_NF, "-o", "../in/m.safetensors"), (_DATA, _MODEL)),
    "encode-onto-a-link": Place(("encode", "../in/d.npz", *_NF, "-o", "link"), (_DATA, _MODEL), _linked),
    "encode-onto-a-hard-link": Place(("encode", "../in/d.npz", *_NF, "-o", "link"), (_DATA, _MODEL), _hard_linked),
    "encode-a-link-onto-its-data": Place(("encode", "link", *_NF, "-o", "../in/d.npz"), (_DATA, _MODEL), _linked),
    "intervene-onto-its-picture": Place(
        ("intervene", "../in/f.png", "--var", "box", "-n", "1", *_NF, "-o", "../in/f.png"),
        (("frame.png", "f.png"), _MODEL),
    ),
    "intervene-onto-the-other-picture": Place(
        ("intervene", f"{SAMPLES}/frame.gif", "--var", "box", "--from", "../in/f.png", *_NF, "-o", "../in/f.png"),
        (("frame.png", "f.png"), _MODEL),
    ),
    "triplets-onto-their-model": Place(
        ("eval-triplets", "../in/d.npz", *_NF, "-o", "../in/m"), (_TRIPLETS, ("nf.safetensors", "m"))
    ),
    "triplets-onto-the-encoder": Place(
        ("eval-triplets", "../in/d.npz", "-m", NF, "--causal-encoder", "../in/m", "-o", "../in/m"),
        (_TRIPLETS, ("ce.safetensors", "m")),
    ),
    "correlation-onto-its-model": Place(
        ("eval-correlation", "../in/d.npz", "-m", "../in/m", "-o", "../in/m"), (_DATA, ("nf.safetensors", "m"))
    ),
    "animate-onto-a-picture": Place(
        ("animate-latents", "../in/f.gif", "-m", NF, "-o", "../in/f.gif"), (("frame.gif", "f.gif"),)
    ),
    "train-onto-its-autoencoder": Place(
        ("train-nf", SEQUENCE, "--ae", "../in/m.safetensors", *TINY["train-nf"], "-o", "../in/m.safetensors"),
        (("ae.safetensors", "m.safetensors"),),
    ),
    "train-onto-its-data": Place(("train-ae", "../in/d.npz", *TINY["train-ae"], "-o", "../in/d.npz"), (_SEQUENCE,)),
    "export-onto-its-model": Place(("export", "../in/m.safetensors", "-o", "../in/m.safetensors"), (_MODEL,)),
    "import-onto-its-checkpoint": Place(("import-checkpoint", "../in/m", "-o", "../in/m"), (("nf.ckpt", "m"),)),
    "import-onto-its-autoencoder": Place(
        ("import-checkpoint", "../in/m", "--ae", "../in/ae", "-o", "../in/ae"),
        (("nf.ckpt", "m"), ("ae.safetensors", "ae")),
    ),
    "the-latents-are-a-link": Place(
        ("encode", "../in/d.npz", "-m", NF), (_DATA,), _result_leads_elsewhere("latents.npz")
    ),
    "the-model-is-a-link": Place(
        ("train-ae", "../in/d.npz", *TINY["train-ae"]), (_SEQUENCE,), _result_leads_elsewhere("ae.safetensors")
    ),
    "the-log-is-a-link": Place(
        ("train-ae", "../in/d.npz", *TINY["train-ae"]), (_SEQUENCE,), _result_leads_elsewhere("ae.metrics.jsonl")
    ),
    **{
        f"{command}-a-{suffix}-called-{told}": Place((command, f"../in/{name}.{suffix}", *options), _called(name))
        for name, told in (("..", "dots"), (".", "a-dot"), ("\x1b[31mred", "escapes"), ("[bold]b", "markup"))
        for command, suffix, options in (
            ("encode", "png", ("-m", NF)),
            ("intervene", "png", ("-m", NF, "--var", "box", "-n", "1")),
            ("animate-latents", "png", ("-m", NF)),
            ("encode", "npz", ("-m", NF)),
            ("train-ae", "npz", TINY["train-ae"]),
            ("import-checkpoint", "ckpt", ()),
        )
    },
}


def lay_out(place: Place, samples: Path, folder: Path) -> None:
    """Lay out a case's folder for a command."""
    fresh(folder)
    for name in ("in", "work"):
        (folder / name).mkdir()
    for sample, name in place.inputs:
        (folder / "in" / name).write_bytes((samples / sample).read_bytes())
    place.lay_out(folder)
