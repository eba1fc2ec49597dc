"""What the ending of a name promises: whether a name that was given says another kind of file than is written."""

from __future__ import annotations

from pathlib import Path

from citris_cli.errors import InputError

#: Endings that tell everybody what a file is. Any other, or none, is the user's own affair: ``model.v2``.
KNOWN = (
    ".safetensors", ".npz", ".npy", ".json", ".jsonl", ".ckpt", ".pt", ".pth", ".pkl", ".h5", ".hdf5", ".mat", ".csv",
    ".tsv", ".txt", ".html", ".dot", ".svg", ".pdf", ".zip", ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif",
    ".tiff", ".gif", ".mp4", ".mov", ".avi", ".mkv", ".webm",
)  # fmt: skip


def names_a_file(path: Path) -> bool:
    """Whether a name ends as that of a file does whose kind everybody knows; a folder is hardly called so."""
    return path.suffix.lower() in KNOWN


def require_ending(path: Path, ending: str, what: str) -> None:
    """Refuse a name that says another kind of file than is going to be written there.

    Args:
        path: that the user gave.
        ending: of such files, such as ``.npz``.
        what: is written, such as "latents".

    Raises:
        InputError: the name ends as another kind of file does.
    """
    if names_a_file(path) and path.suffix.lower() != ending:
        raise InputError(f"-o {path}: citris writes {what} as {ending}; use a name that ends in {ending}")
