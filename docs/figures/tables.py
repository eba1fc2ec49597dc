"""Fills the tables of measurements in README.md and docs/ from the benchmarks' JSON files beside this script.

``python docs/figures/tables.py`` rewrites what stands between ``<!-- figures: NAME -->`` and
``<!-- end of figures -->``, where NAME is one of ``TABLES``. The files are written by the benchmarks::

    python -m tests.benchmarks --json docs/figures/cpu.json
    python -m tests.benchmarks --threads 1 --json docs/figures/cpu-one-thread.json
    python -m tests.benchmarks.gpu --json docs/figures/gpu-h200.json

results.json is written by hand from the JSON of ``citris eval-correlation`` and ``citris eval-triplets``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))  # for tests.benchmarks, wherever this is run

from tests.benchmarks.table import number  # noqa: E402

MARKED = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
#: A row of a benchmark's file: its name, unit, numbers and ratios.
Row = dict[str, Any]

CITRIS_NF = "CITRIS-NF step (64 pairs, M 32, K 9, S 8, F 4, c 64)"
#: Rows for users: what they are called, the row, the file, and what the reference is called if it is another than the
#: plain implementation.
USERS = (
    ("Training step of CITRIS-NF, two threads", CITRIS_NF, "cpu", ""),
    ("Training step of CITRIS-NF, one thread", CITRIS_NF, "cpu-one-thread", ""),
    (
        "Training step of CITRIS-NF, imperfect interventions",
        "CITRIS-NF step, MLP, imperfect (64 pairs, M 32, K 9, S 8, F 4, c 64)",
        "cpu",
        "",
    ),
    (
        "Training step of CITRIS-NF, autoregressive prior",
        "CITRIS-NF step, autoregressive, perfect (64 pairs, M 32, K 9, S 8, F 4, c 64)",
        "cpu",
        "",
    ),
    (
        "Training step of the autoencoder, `paper` (64 frames of 64×64)",
        "autoencoder step, paper (batch 64, 64x64, c 64, M 32)",
        "cpu",
        "",
    ),
    (
        "Training step of the autoencoder, `small` (64 frames of 64×64)",
        "autoencoder step, small (batch 64, 64x64, c 64, M 24)",
        "cpu",
        "",
    ),
    (
        "Training step of CITRIS-VAE (64 windows of 64×64)",
        "CITRIS-VAE step, standard prior (64 windows, 64x64, c 32, M 16)",
        "cpu",
        "",
    ),
    *(
        (
            f"Prior of iCITRIS-{name}, assignment {stage}, one thread (processor time)",
            f"iCITRIS's prior, {name}, {row} ({sizes}, 8 graphs)",
            "cpu-one-thread",
            "",
        )
        for name, sizes in (("VAE", "K 6, M 12, c 32, 512 pairs"), ("NF", "K 5, M 24, c 64, 64 pairs"))
        for stage, row in (("undecided", "owners open"), ("decided", "owners decided"))
    ),
    ("Encoding, `paper`", "encode, paper (64x64, c 64)", "cpu", ""),
    ("Encoding, `small`", "encode, small (64x64, c 64)", "cpu", ""),
    (
        "`citris encode` of 100,000 frames, reading and writing included",
        "citris encode of 100,000 frames, against the encoder alone",
        "cpu",
        "the encoder alone",
    ),
    ("Inverse of the flow, 512 points", "flow inverse, batch 512 (M 32, 4 layers, h 16)", "cpu", ""),
    ("Inverse of the flow, 1 point", "flow inverse, batch 1 (M 32, 4 layers, h 16)", "cpu", ""),
    ("`citris eval-correlation` (1,000 frames)", "eval-correlation (1,000 frames, K 9, M 32)", "cpu", ""),
    ("`citris intervene` on one picture, after imports", "intervene on one picture, after imports", "cpu", ""),
    (
        "`citris encode` of one picture, beyond `import torch`",
        "citris encode of a picture, beyond import torch",
        "cpu",
        "",
    ),
    ("`citris --help`", "citris --help", "cpu", ""),
    ("Drawing Ball-in-Boxes", "render Ball-in-Boxes (32x32)", "cpu", ""),
    (
        "Reading 1 GB of frames from a compressed `.npz`",
        "frames in a compressed .npz, 1 GB, against NumPy",
        "cpu",
        "NumPy",
    ),
    ("Memory for the same", "frames in a compressed .npz, 1 GB, memory", "cpu", ""),
    ("Memory of `citris train-ae` on 3 GB of frames", "memory of train-ae, 3 GB of frames", "cpu", ""),
)
#: Models on a GPU: what they are called, and their row.
MODELS = (
    ("autoencoder, bf16 (256 frames)", "autoencoder, paper (batch 256, 64x64), bf16"),
    ("autoencoder, TF32 (256 frames)", "autoencoder, paper (batch 256, 64x64), tf32"),
    ("CITRIS-NF, TF32 (512 pairs)", "CITRIS-NF, paper (batch 512, M 32, K 9, S 8), tf32"),
    ("CITRIS-VAE, bf16 (512 windows)", "CITRIS-VAE, paper (batch 512 windows of 2, 64x64), bf16"),
)
ENCODE = "encode, paper, bf16 beside float32"
#: The operations of docs/operations.md, as their rows begin, with the test that holds each to its reference.
OPERATIONS = {
    "network": "test_networks.py",
    "separate_networks": "test_networks.py",
    "composed": "test_flow.py",
    "affine_inverse": "test_flow.py",
    "marginal_nll": "test_marginal_score.py",
    "gaussian_nll_over_sample_pairs": "test_sample_pairs.py",
    "gumbel_softmax": "test_gumbel.py",
    "target_losses": "test_classifier.py",
    "update_target_means": "test_classifier.py",
    "conv3x3": "test_convolution.py",
    "add_to_all": "test_position.py",
    "ClippedAdamW": "test_adamw.py",
}


def measured(file: str) -> dict[str, Any]:
    """A benchmark's file, by its name without ``.json``."""
    return json.loads((HERE / f"{file}.json").read_text("utf-8"))


def rows(file: str) -> list[Row]:
    """The rows of a benchmark's file."""
    return measured(file)["rows"]


def row(file: str, what: str, after: int = 0) -> Row:
    """One row of a file, or that which stands so many rows after it."""
    every = rows(file)
    for index, one in enumerate(every):
        if one["what"] == what:
            return every[index + after]
    raise SystemExit(f"docs/figures/{file}.json has no row {what!r}; run the whole benchmark again")


def operation(one: Row) -> str:
    """What a row's name begins with, which is an operation's name where the row is of one."""
    return re.split(r"[ ,]", one["what"], maxsplit=1)[0]


def ratio(value: float | None) -> str:
    """A ratio for a table; nothing where there is none."""
    return "" if value is None else f"{value:.3g}×"


def markdown(heads: Iterable[str], lines: Iterable[Iterable[str]], text: int = 1) -> str:
    """A table of Markdown: the first ``text`` columns at the left, the others at the right."""
    heads = list(heads)
    rule = "|".join(["---"] * text + ["---:"] * (len(heads) - text))
    return "\n".join([f"| {' | '.join(heads)} |", f"|{rule}|", *(f"| {' | '.join(cells)} |" for cells in lines)]) + "\n"


def cpu() -> str:
    """What a user gains on a CPU."""
    lines = []
    for title, what, file, reference in USERS:
        one = row(file, what)
        beside = number(one["plain"], one["unit"])
        lines.append(
            (
                title,
                number(one["ours"], one["unit"]),
                f"{beside} ({reference})" if reference else beside,
                ratio(one["ratio"]),
            )
        )
    return markdown(("", "citris", "reference", "speed-up"), lines)


def cpu_all() -> str:
    """Every row of the CPU's benchmarks but those of single operations, with its lower bound and its target."""
    lines = []
    for file, where in (("cpu", ""), ("cpu-one-thread", ", one thread")):
        for one in rows(file):
            if operation(one) not in OPERATIONS:
                values = (number(one[key], one["unit"]) for key in ("ours", "plain", "floor"))
                ratios = (ratio(one[key]) for key in ("ratio", "above_floor"))
                lines.append((one["what"].strip() + where, *values, *ratios, target(one)))
    heads = ("", "citris", "reference", "lower bound", "speed-up", "by lower bound", "target")
    return markdown(heads, lines)


def target(one: Row) -> str:
    """A row's target, and whether it is met."""
    wanted = one["target"]
    if wanted is None:
        return ""
    bound = number(wanted["bound"], one["unit"]) if wanted["of"] == "ours" else f"{wanted['bound']:g}×"
    of = {"ours": "", "ratio": " speed-up", "floor": " lower bound"}[wanted["of"]]
    return f"{'≥' if wanted['least'] else '≤'} {bound}{of}, {'met' if one['met'] else '**missed**'}"


def gpu() -> str:
    """Rates of training on both GPUs."""
    lines = []
    for title, what in MODELS:
        best, other = row("gpu-h200", what), row("gpu-h100", what)
        memory = row("gpu-h200", what, after=2)
        rates = (number(one["ours"], one["unit"]) for one in (best, other))
        lines.append((title, *rates, ratio(best["ratio"]), number(memory["ours"], "GB")))
    best, other = row("gpu-h200", ENCODE), row("gpu-h100", ENCODE)
    for precision, key in (("bf16", "ours"), ("float32", "plain")):
        rates = (number(one[key], "frames/s") for one in (best, other))
        lines.append((f"encoding, {precision}", *rates, "", ""))
    return markdown(("", "H200", "H100", "speed-up over the reference (H200)", "memory"), lines)


def gpu_all(file: str) -> Callable[[], str]:
    """Everything that was measured on one GPU."""

    def drawn() -> str:
        lines = []
        for title, what in MODELS:
            one, single, memory = (row(file, what, after) for after in range(3))
            rates = (one["ours"], single["plain"], one["plain"], one["floor"])
            values = (number(rate, one["unit"]) for rate in rates)
            ratios = (ratio(value) for value in (single["ratio"], one["ratio"], one["above_floor"]))
            lines.append((title, *values, *ratios, number(memory["ours"], "GB")))
        heads = ("", "CUDA graph", "single operations", "reference", "upper bound")
        table = markdown((*heads, "graph / single", "graph / reference", "bound / graph", "memory"), lines)
        device = measured(file)
        products = ", ".join(f"{name} {rate / 1e12:.0f} TFLOP/s" for name, rate in device["products"].items())
        return f"{table}\nLarge products: {products}; a large copy: {device['bandwidth'] / 1e12:.1f} TB/s.\n"

    return drawn


def operations() -> str:
    """Each operation against its reference, on one thread and on two."""
    one_thread = {one["what"]: one for one in rows("cpu-one-thread")}
    lines = []
    for one in rows("cpu"):
        if (name := operation(one)) in OPERATIONS:
            sizes = one["what"].removeprefix(name).replace(" (", ", ").removesuffix(")").lstrip(", ")
            ratios = (ratio(each["ratio"]) for each in (one_thread[one["what"]], one))
            lines.append((f"`{name}`", sizes, f"`{OPERATIONS[name]}`", *ratios))
    return markdown(("operation", "sizes", "test", "one thread", "two threads"), lines, text=3)


def results() -> str:
    """R² of the models, on test data: the mean over seeds, and the worst of several."""
    lines = []
    for one in rows("results"):
        diag, sep = ([seed[name] for seed in one["seeds"]] for name in ("diag", "sep"))
        count = len(diag)
        found = f"**{sum(diag) / count:.3f} / {sum(sep) / count:.3f}**"
        if count > 1:
            found += f" (of {count} runs, worst diag {min(diag):.3f}, worst sep {max(sep):.3f})"
        scores = [seed["score"] for seed in one["seeds"] if "score" in seed] or [one["score"]]
        score = "" if None in scores else f"{sum(scores) / len(scores):.3f}"
        if len(scores) > 1:
            score += f" (worst {min(scores):.3f})"
        lines.append((one["data"], one["model"], one["budget"], found, score, one["published"]))
    return markdown(("data", "model", "budget", "R², diag / sep", "triplets", "published"), lines, text=6)


TABLES: dict[str, Callable[[], str]] = {
    "results": results,
    "cpu": cpu,
    "cpu-all": cpu_all,
    "gpu": gpu,
    "gpu-h200": gpu_all("gpu-h200"),
    "gpu-h100": gpu_all("gpu-h100"),
    "operations": operations,
}


def documents() -> list[Path]:
    """The files that may have tables: README.md, and all of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """A document with its tables as the benchmarks' files have them."""

    def table(marked: re.Match[str]) -> str:
        if marked[2] not in TABLES:
            raise SystemExit(f"there is no table {marked[2]}; the tables are {', '.join(TABLES)}")
        return f"{marked[1]}\n{TABLES[marked[2]]()}\n{marked[3]}"

    return MARKED.sub(table, text)


def main() -> None:
    """Fill the tables of every document."""
    for path in documents():
        text = path.read_text("utf-8")
        if (new := filled(text)) != text:
            path.write_text(new, "utf-8", newline="\n")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
