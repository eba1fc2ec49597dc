"""What fails today and is going to be mended: the list gets shorter, and whatever is not on it fails the tests."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A failure that is known.

    Attributes:
        pattern: found in ``KIND/MUTATION: COMMAND: PROBLEM`` of each such failure.
        why: one sentence.
        case: KIND/MUTATION of an example; "" of the commands that are killed, all of which are examples.
        seed: of the example.
    """

    pattern: str
    why: str
    case: str = ""
    seed: int = 0

    def covers(self, failure: str) -> bool:
        """Whether a failure is one of these."""
        return re.search(self.pattern, failure) is not None


KNOWN: tuple[Known, ...] = (
    Known(
        r"^(sequence|independent|triplets|latents)/\S+: .*memory: (more|it went)",
        "arrays are inflated, and text of names is read, whatever it takes beside the size of the file",
        "triplets/bomb",
    ),
    Known(
        r"^(png|gif|jpg|tiff|webp)/\S+: .*memory: (more|it went)",
        "a picture of up to 64 million pixels is decoded, 16-bit ones to 8 bytes a pixel",
        "jpg/large-picture",
    ),
    Known(
        r"(holds control characters|a line that the file forged)",
        "names and other text of files are printed as they are",
        "latents/hostile-names",
        100,
    ),
    Known(
        r"^checkpoint/\S+: .*unexpected OverflowError",
        "hyperparameters of a checkpoint are not bounded before they become floats",
        "checkpoint/hyper-parameter",
        129,
    ),
    Known(
        r"^(state|best)/\S+: train-nf: .*(unexpected|a line of more than 400)",
        "the settings of a state are not checked as a whole, and PyTorch's own words reach the user",
        "state/metadata-field",
        100,
    ),
    Known(
        r"^(ae|nf|vae|causal-encoder)/\S+: .*a line of more than 400",
        "a value of a configuration is quoted in full, however long it is",
        "nf/metadata-field",
        3005,
    ),
    Known(
        r"^ae/\S+: train-nf: unexpected TypeError: '<' not supported",
        "sizes in an autoencoder's configuration are compared before anyone looks whether they are numbers",
        "ae/metadata-field",
        3004,
    ),
    Known(
        r": info: no strict JSON: standard output",
        "NaN and infinity in the metadata of a file go into the JSON of info",
        "causal-encoder/metadata-field",
        3005,
    ),
    Known(
        r"unexpected UnicodeEncodeError",
        "text that is no UTF-8 (a lone surrogate) is printed as it is",
        "best/metadata-string",
        100,
    ),
    Known(
        r"/metadata-field: .*UserWarning of Python",
        "sizes of 0 in a configuration are found by PyTorch, which warns, and not before",
        "ae/metadata-field",
    ),
    Known(
        r"^(nf|vae)/(flip|unfit)-weights: intervene: (.*RuntimeWarning of Python|unexpected _LinAlgError)",
        "weights that are finite and absurd lead to infinite latents, which nothing looks for",
        "nf/flip-weights",
    ),
    Known(
        r"^places/[a-z-]+-onto-",
        "an output that is an input takes its place",
        "places/encode-onto-its-data",
    ),
    Known(
        r"-called-(dots|a-dot): .*wrote (outside|beside)",
        "a file's name becomes the name of a folder or of a result as it is",
        "places/encode-a-png-called-dots",
    ),
    Known(
        r"^places/(a-folder-under-runs-is|the-[a-z]+-(is|are))-a-link",
        "files of ours are written through links",
        "places/the-latents-are-a-link",
    ),
    Known(r"run again, a temporary file stays", "temporary files of killed commands are swept by nobody"),
    Known(
        r"^(simulate|eval-triplets|eval-correlation)/.*some of the files that belong together",
        "files that are one result are written one after the other",
    ),
    Known(
        r"^train-\S+/remove \S+\.(best|state)\.safetensors: .*one file more",
        "a training that is killed after its model was written is finished, and its state stays",
    ),
)
