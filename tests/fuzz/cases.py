"""Kinds of files and the commands that read them; good samples of each to begin with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz.mutations import MUTATIONS
from tests.fuzz.run import citris, forked, fresh

Command = tuple[str, ...]

#: Options of trainings that take a moment.
TINY: dict[str, Command] = {
    "train-ae": ("--steps", "2", "--latents", "4", "--channels", "4", "--batch-size", "4"),
    "train-nf": ("--steps", "2", "--batch-size", "4", "--samples", "2", "--hidden", "4", "--flow-layers", "2"),
    "train-vae": ("--steps", "2", "--latents", "4", "--channels", "4", "--flow-layers", "1", "--batch-size", "4"),
    "train-causal-encoder": ("--steps", "2", "--channels", "4", "--batch-size", "4"),
}
#: From a case's current folder to the good files.
SAMPLES = "../../samples"
AE, NF, ENCODER = f"{SAMPLES}/ae.safetensors", f"{SAMPLES}/nf.safetensors", f"{SAMPLES}/ce.safetensors"
SEQUENCE, INDEPENDENT, TRIPLETS = (f"{SAMPLES}/boxes/{split}.npz" for split in ("train", "val_indep", "val_triplets"))
PICTURES = ("png", "gif", "jpg", "tiff", "webp")


@dataclass(frozen=True)
class Kind:
    """A kind of file that is damaged, and what reads it.

    Attributes:
        form: of its bytes, a key of :data:`tests.fuzz.mutations.MUTATIONS`.
        sample: the good file, within the samples.
        place: where the bad one is put, within a case's folder; commands run in ``work`` there.
        commands: that read it.
        beside: other samples that have to lie near it, and where.
        replaced: what commands may write to though it was there before: the file itself, or what lies beside it.
        digest: whether it is of ours and carries a digest, so that no damage to it may be believed.
    """

    form: str
    sample: str
    place: str
    commands: tuple[Command, ...]
    beside: tuple[tuple[str, str], ...] = ()
    replaced: tuple[str, ...] = ()
    digest: bool = False


def _model(name: str, *commands: Command) -> Kind:
    path = f"../in/{name}"
    told = (("info", path), ("info", path, "--json"), ("export", path, "-o", "out.safetensors"))
    return Kind("safetensors", name, f"in/{name}", (*told, *commands), digest=True)


def _causal(name: str) -> Kind:
    model = ("-m", f"../in/{name}")
    return _model(
        name,
        ("encode", INDEPENDENT, *model, "-o", "z.npz"),
        ("intervene", f"{SAMPLES}/frame.png", "--var", "ball_y", "-n", "2", *model, "-o", "x.npz"),
        ("intervene", f"{SAMPLES}/frame.png", "--var", "box", "--sweep", "3", *model, "-o", "x.png"),
        ("rollout", f"{SAMPLES}/frame.png", "--do", "1:box", "--steps", "2", *model, "-o", "r.png"),
        ("eval-triplets", TRIPLETS, *model, "--causal-encoder", ENCODER, "-o", "t.json"),
        ("eval-correlation", INDEPENDENT, *model, "-o", "c.json"),
        ("animate-latents", SEQUENCE, *model, "--frames", "3", "-o", "a.html"),
    )


def _picture(suffix: str) -> Kind:
    path = f"../in/frame.{suffix}"
    commands: tuple[Command, ...] = (
        ("encode", path, "-m", NF, "-o", "z.npz"),
        ("intervene", path, "--var", "ball_y", "-n", "1", "-m", NF, "-o", "x.png"),
        ("animate-latents", path, "-m", NF, "-o", "a.gif"),
    )
    return Kind("picture", f"frame.{suffix}", f"in/frame.{suffix}", commands)


def _packed(film: str, table: str) -> Command:
    return ("pack", film, "--targets", table, "--lead", "in", "--size", "32", "-o", "p")


_RESUMED = ("train-nf", SEQUENCE, "--ae", AE, *TINY["train-nf"], "--steps", "6", "--resume", "-o", "m.safetensors")
_RUN = tuple((f"run/m.{part}", f"work/m.{part}") for part in ("state.safetensors", "metrics.jsonl"))
_STATE = tuple(f"work/m.{part}" for part in ("state.safetensors", "best.safetensors", "metrics.jsonl"))
_VALIDATED = (*_RESUMED, "--val", f"{SAMPLES}/boxes")

KINDS: dict[str, Kind] = {
    "sequence": Kind(
        "npz",
        "boxes/train.npz",
        "in/d.npz",
        (
            ("info", "../in/d.npz"),
            ("info", "../in/d.npz", "--json"),
            ("check", "../in/d.npz", "-o", "check.json"),
            ("pack", "../in/d.npz", "-o", "p.npz"),
            ("encode", "../in/d.npz", "-m", NF, "-o", "z.npz"),
            ("animate-latents", "../in/d.npz", "-m", NF, "--frames", "3", "-o", "a.html"),
            ("rollout", "../in/d.npz#1", "--truth", "--steps", "2", "-m", NF, "-o", "r.npz"),
            ("train-ae", "../in/d.npz", *TINY["train-ae"], "-o", "m.safetensors"),
            ("train-nf", "../in/d.npz", "--ae", "../in/ae.safetensors", *TINY["train-nf"], "-o", "m.safetensors"),
            ("train-vae", "../in/d.npz", *TINY["train-vae"]),
        ),
        beside=(("ae.safetensors", "in/ae.safetensors"),),
    ),
    "independent": Kind(
        "npz",
        "boxes/val_indep.npz",
        "in/d.npz",
        (
            ("info", "../in/d.npz"),
            ("encode", "../in/d.npz#3", "-m", NF, "-o", "z.npz"),
            ("eval-correlation", "../in/d.npz", "-m", NF, "-o", "c.json"),
            ("eval-correlation", "../in/d.npz", "-m", NF, "--json", "-o", "c.html"),
            ("train-causal-encoder", "../in/d.npz", *TINY["train-causal-encoder"], "-o", "m.safetensors"),
        ),
    ),
    "triplets": Kind(
        "npz",
        "boxes/val_triplets.npz",
        "in/d.npz",
        (
            ("info", "../in/d.npz"),
            ("eval-triplets", "../in/d.npz", "-m", NF, "-o", "t.json"),
            ("eval-triplets", "../in/d.npz", "-m", NF, "--causal-encoder", ENCODER, "--json", "-o", "t.png"),
        ),
    ),
    "latents": Kind(
        "npz",
        "latents.npz",
        "work/runs/frame/latents.npz",
        (
            ("info", "runs/frame/latents.npz"),
            ("info", "runs/frame/latents.npz", "--json"),
            ("encode", f"{SAMPLES}/frame.png", "-m", NF),
        ),
        replaced=("work/runs/frame/latents.npz",),
    ),
    "report": Kind(
        "json",
        "c.json",
        "work/c/correlation.json",
        (("eval-correlation", INDEPENDENT, "-m", "c/nf.safetensors"),),
        beside=(("nf.safetensors", "work/c/nf.safetensors"),),
        replaced=("work/c/correlation.json",),
    ),
    "ae": _model("ae.safetensors", ("train-nf", SEQUENCE, "--ae", "../in/ae.safetensors", *TINY["train-nf"])),
    "nf": _causal("nf.safetensors"),
    "vae": _causal("vae.safetensors"),
    "causal-encoder": _model(
        "ce.safetensors",
        ("eval-triplets", TRIPLETS, "-m", NF, "--causal-encoder", "../in/ce.safetensors", "-o", "t.json"),
    ),
    "state": Kind(
        "safetensors",
        "run/m.state.safetensors",
        "work/m.state.safetensors",
        (("info", "m.state.safetensors"), _RESUMED),
        beside=_RUN,
        replaced=_STATE,
        digest=True,
    ),
    "best": Kind(
        "safetensors",
        "val/m.best.safetensors",
        "work/m.best.safetensors",
        (("info", "m.best.safetensors"), _VALIDATED),
        beside=tuple((sample.replace("run/", "val/"), place) for sample, place in _RUN),
        replaced=_STATE,
        digest=True,
    ),
    "log": Kind("lines", "run/m.metrics.jsonl", "work/m.metrics.jsonl", (_RESUMED,), beside=_RUN, replaced=_STATE),
    "cache": Kind(
        "safetensors",
        "cache",
        "in/cache",
        (("info", "../in/cache"), ("train-nf", SEQUENCE, "--ae", "../in/ae.safetensors", *TINY["train-nf"])),
        beside=(("ae.safetensors", "in/ae.safetensors"),),
        replaced=("in/cache",),
        digest=True,
    ),
    "checkpoint": Kind(
        "checkpoint",
        "nf.ckpt",
        "in/nf.ckpt",
        (
            ("info", "../in/nf.ckpt"),
            ("info", "../in/nf.ckpt", "--json"),
            ("import-checkpoint", "../in/nf.ckpt"),
            ("import-checkpoint", "../in/nf.ckpt", "--part", "autoencoder", "-o", "m.safetensors"),
        ),
    ),
    "published": Kind(
        "safetensors",
        "published.safetensors",
        "in/p.safetensors",
        (("info", "../in/p.safetensors"), ("import-checkpoint", "../in/p.safetensors", "-o", "m.safetensors")),
    ),
    "film": Kind("bytes", "film.mp4", "in/film.mp4", (_packed("../in/film.mp4", f"{SAMPLES}/film.csv"),)),
    "table": Kind("bytes", "film.csv", "in/t.csv", (_packed(f"{SAMPLES}/film.mp4", "../in/t.csv"),)),
    "hdf5": Kind("bytes", "e.h5", "in/e.h5", (("pack", "../in/e.h5", "--targets", "acts", "-o", "p"),)),
    **{suffix: _picture(suffix) for suffix in PICTURES},
}


@dataclass(frozen=True)
class Case:
    """A file of a kind, a mutation of it and the seed of that; all commands of the kind read it.

    ``python -m tests.fuzz --seed SEED --case KIND/MUTATION`` repeats it.
    """

    kind: str
    mutation: str
    seed: int

    def __str__(self) -> str:
        return f"--seed {self.seed} --case {self.kind}/{self.mutation}"

    def content(self, samples: Path) -> bytes:
        """The bad file, of the good one among the samples; the same for the same case and sample."""
        kind = KINDS[self.kind]
        mutation, good = MUTATIONS[kind.form][self.mutation], (samples / kind.sample).read_bytes()
        return mutation(Random(f"{self.kind}/{self.mutation}/{self.seed}"), good)


def every_pair() -> list[tuple[str, str]]:
    """Every kind of file with every mutation that there is of its form."""
    return [(name, mutation) for name, kind in KINDS.items() for mutation in MUTATIONS[kind.form]]


def few_samples() -> None:
    """Make simulated datasets small (in the process that simulates)."""
    from citris_cli.worlds import dataset

    dataset.LEAST_HELD_OUT, dataset.LEAST_INDEPENDENT, dataset.LEAST_TRIPLETS = 10, 40, 8


def make_samples(root: Path) -> Path:
    """A good file of every kind, made by the commands themselves, in ``samples`` under a folder."""
    folder = fresh(root / "samples")
    _make(folder, "simulate", "ball-in-boxes", "-o", "boxes", "--frames", "14", before=few_samples)
    _make(folder, "train-ae", "boxes/train.npz", *TINY["train-ae"], "-o", "ae.safetensors")
    flow = ("train-nf", "boxes/train.npz", "--ae", "ae.safetensors", *TINY["train-nf"])
    _make(folder, *flow, "-o", "nf.safetensors")
    (folder / "cache").write_bytes(next(folder.glob("encodings-*.safetensors")).read_bytes())
    _make(folder, "train-vae", "boxes/train.npz", *TINY["train-vae"], "-o", "vae.safetensors")
    _make(folder, "train-causal-encoder", "boxes/val_indep.npz", *TINY["train-causal-encoder"], "-o", "ce.safetensors")
    unfinished = ("--steps", "4", "--save-every", "0")
    _make(folder, *flow, *unfinished, "-o", "run/m.safetensors", before=_keep_the_state)
    _make(folder, *flow, *unfinished, "--val", "boxes", "-o", "val/m.safetensors", before=_keep_the_state)
    done = forked(lambda: _save_others(folder), folder)
    if done.status != 0:
        raise RuntimeError(done.stderr.decode())
    _make(folder, "eval-correlation", "boxes/val_indep.npz", "-m", "nf.safetensors", "-o", "c.json")
    _make(folder, "export", "nf.safetensors", "-o", "published.safetensors")
    _make(folder, "encode", "frame.png", "-m", "nf.safetensors", "-o", "latents.npz")
    for name in ("home", "tmp"):
        shutil.rmtree(root / name)
    return folder


def place(kind: Kind, content: bytes, samples: Path, folder: Path) -> None:
    """Lay out a case's folder: ``in`` with what is read, ``work`` to run in.

    Args:
        kind: of the file.
        content: of the file, in the place of the good one.
        samples: see :func:`make_samples`.
        folder: a case's folder; what is in it goes.
    """
    fresh(folder)
    for name in ("in", "work"):
        (folder / name).mkdir()
    for sample, target in (*kind.beside, (kind.sample, kind.place)):
        path = folder / _named(target, samples)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if target == kind.place else (samples / sample).read_bytes())


def arguments(command: Command, samples: Path) -> Command:
    """A command as it is called, with the cache's own name in place of ``cache``."""
    return tuple(_named(argument, samples) for argument in command)


def replaced(kind: Kind, samples: Path) -> set[str]:
    """See :class:`Kind`; with the cache's own name."""
    return {_named(name, samples) for name in kind.replaced}


def _named(name: str, samples: Path) -> str:
    return name.replace("in/cache", f"in/{next(samples.glob('encodings-*.safetensors')).name}")


def _make(folder: Path, *command: str, before: Callable[[], object] | None = None) -> None:
    done = forked(citris(*command, before=before), folder)
    if done.status != 0:
        raise RuntimeError(f"citris {' '.join(command)}: {done.stderr.decode()}")


def _keep_the_state() -> None:
    """Leave the state of a finished training where it lies, as if it had been killed after its last step."""
    from citris_cli.training.files import RunFiles

    RunFiles.remove_state = lambda self: None


def _save_others(folder: Path) -> None:
    import torch
    from PIL import Image

    from citris_cli.artifacts.models import read_model, write_model
    from tests.published_models import checkpoint_of, small_model

    for name in ("nf", "vae"):  # every variable gets latents, as after a training that is not tiny
        model = read_model(folder / f"{name}.safetensors")
        model.tensors["assignment.logits"] = torch.eye(3)[[1, 0, 2, 1]]
        write_model(folder / f"{name}.safetensors", model)
    torch.save(checkpoint_of(small_model("nf")), folder / "nf.ckpt")
    with np.load(folder / "boxes/train.npz", allow_pickle=False) as file:
        frame = Image.fromarray(file["images"][0])
    for suffix in PICTURES:
        frame.save(folder / f"frame.{suffix}")
    _save_recordings(folder)


def _save_recordings(folder: Path) -> None:
    """A film and its table, and an HDF5 file; where their libraries are not installed, what is refused at once."""
    (folder / "film.mp4").write_bytes(b"\0\0\0\x14ftypisom")
    (folder / "e.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (folder / "film.csv").write_text("frame,x,y\n" + "".join(f"{row},{row % 2},{row % 3 // 2}\n" for row in range(12)))
    frames = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), np.uint8)
    with suppress(ImportError):
        import av

        with av.open(str(folder / "film.mp4"), "w") as film:
            stream = film.add_stream("mpeg4", rate=10)
            stream.width, stream.height = 64, 48
            for pixels in frames:
                film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            film.mux(stream.encode())
    with suppress(ImportError):
        import h5py

        with h5py.File(folder / "e.h5", "w") as file:
            for name in ("one", "two"):
                file.create_dataset(f"{name}/obs", data=frames[:6], chunks=(1, 48, 64, 3), compression="gzip")
                file[f"{name}/acts"] = np.arange(10).reshape(5, 2) % 3 == 0
