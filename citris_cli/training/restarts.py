"""Several starts of one training, each with a seed of its own, of which the best is kept.

Which start is best is told without labels, by the loss that all of them minimise: a start that has left a variable with
psi(0), or what no intervention touches with a variable, predicts the next frame and the targets worse. Batches make the
loss of a step noisy, so it is averaged over the last tenth of the steps. It is comparable between starts of the same
settings on the same data, and between no others.

Each start is a training as ``--seed`` alone begins one, in a process of its own, with files of its own in a folder
beside the model: so it has its own state to go on from, and one that diverges spoils no other. On a CPU they go on side
by side, with an equal share of the cores each, on an accelerator one after the other. The model is a copy of the best.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from citris_cli.errors import CitrisError, InputError, InterruptedRunError, TrainingDivergedError
from citris_cli.loading import LoadedModel
from citris_cli.system import available_cores
from citris_cli.training.config import LARGEST_SEED
from citris_cli.training.files import RunFiles, same_run
from citris_cli.training.place import Left
from citris_cli.training.plan import Plan
from citris_cli.training.request import Request
from citris_cli.training.session import AnySession
from citris_cli.training.side_by_side import Train, train_side_by_side
from citris_cli.wording import counted

#: What is compared, and over which share of the steps, the last.
CRITERION, LAST = "loss", 0.1
#: In a log's line beside the losses.
_NO_LOSSES = ("step", "lr", "per_second", "gradient_norm")


@dataclass(frozen=True)
class Start:
    """One of the starts.

    Attributes:
        seed: its own.
        model: where its model goes.
    """

    seed: int
    model: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return f"seed {self.seed}"

    @property
    def files(self) -> RunFiles:
        """All that it writes."""
        return RunFiles.beside(self.model)

    @property
    def diverged(self) -> str:
        """What was found when it diverged; "" if it did not."""
        with suppress(OSError, ValueError, IndexError, TypeError, KeyError):
            return str(json.loads(self.files.metrics.read_text().splitlines()[-1])["diverged"])
        return ""

    def means(self, steps: int) -> dict[str, float]:
        """Means of its losses over the last of so many steps, by name.

        Raises:
            CitrisError: its log does not tell them.
        """
        sums: dict[str, float] = {}
        before = over = 0
        try:
            for line in map(json.loads, self.files.metrics.read_text().splitlines()):
                if CRITERION not in line:
                    continue
                if line["step"] > (1 - LAST) * steps:
                    taken = line["step"] - before  # a line tells the means since the one before
                    over += taken
                    for name, value in line.items():
                        if name not in _NO_LOSSES:
                            sums[name] = sums.get(name, 0.0) + taken * value
                before = line["step"]
            return {name: total / over for name, total in sums.items() if over} | {CRITERION: sums[CRITERION] / over}
        except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            raise CitrisError(
                f"{self.files.metrics}: does not say how this start ended; run without --resume to start over"
            ) from error


def require_restartable(session: AnySession) -> None:
    """Refuse several starts where there can be none.

    Raises:
        InputError: nothing is written, torchrun has started this process, or there are not so many seeds.
    """
    restarts, seed = session.request.restarts, session.request.changes.get("seed", 0)
    if restarts == 1:
        return
    if session.request.output is None:
        raise InputError("restarts are compared by their files; give an output path")
    if session.processes.size > 1:
        raise InputError("--restarts starts processes of its own; run it without torchrun")
    if seed + restarts - 1 > LARGEST_SEED:
        raise InputError(f"--seed {seed}: too large for {restarts} starts, whose seeds follow it; give a smaller one")


def starts_of(plan: Plan[Any, Any], restarts: int) -> list[Start]:
    """The starts of a training, with the seeds from the plan's on."""
    stem = plan.files.stem
    if stem is None:
        return []
    folder, first = stem.with_name(f"{stem.name}.starts"), plan.training.seed
    seeds = range(first, first + restarts)
    return [Start(seed, folder / f"{stem.name}-seed{seed}.safetensors") for seed in seeds]


def best_start(session: AnySession, plan: Plan[Any, Any], train: Train, ae: LoadedModel | None = None) -> LoadedModel:
    """Train all starts of a plan, those that are not finished yet, and write the best one's model as the plan's.

    Args:
        session: the data; the plan's place is held.
        plan: of the training whose starts these are.
        train: what a request with one seed is given to, in another process.
        ae: the autoencoder of a flow.

    Raises:
        InterruptedRunError: a signal came; all starts have saved their states.
        TrainingDivergedError: all of them diverged.
        CitrisError: one has failed otherwise; the others are finished.
    """
    request = session.request
    starts = starts_of(plan, request.restarts)
    if not plan.resume:
        for one in starts:
            one.files.remove_all()
    plan.files.save_state(plan.files.mark(0))  # its place is taken, and --resume finds what it is
    waiting = [one for one in starts if not _ended(one, plan)]
    cores = available_cores()
    jobs = min(len(waiting), cores) if session.device.type == "cpu" else 1
    threads = max(1, min(torch.get_num_threads(), cores // max(1, jobs)))
    if waiting:
        side = f"{jobs} at a time, with {counted(threads, 'thread')} each" if jobs > 1 else "one after the other"
        done = "" if len(waiting) == len(starts) else f" ({len(starts) - len(waiting)} ended before)"
        session.note(
            f"{len(starts)} starts, seeds {starts[0].seed} to {starts[-1].seed}{done}, {side}; their files are in "
            f"{starts[0].model.parent}"
        )
    if ae is not None:  # for other processes, wherever they compute
        ae = dataclasses.replace(ae, network=copy.deepcopy(ae.network).cpu())
    requests = [(one.name, _request_of(one, request, plan, ae)) for one in waiting]
    failed = train_side_by_side(session, train, requests, jobs, threads)
    if session.stop.signal_number is not None and not all(_ended(one, plan) for one in starts):
        raise InterruptedRunError(
            f"stopped; {', '.join(_how_far(one, plan) for one in starts)}; the states are saved in "
            f"{starts[0].model.parent}: run the same command with --resume to continue",
            session.stop.signal_number,
        )
    return _keep(session, plan, starts, failed)


def _request_of(start: Start, request: Request, plan: Plan[Any, Any], ae: LoadedModel | None) -> Request:
    """What one start is asked for: the training of its seed alone, settled as the plan is."""
    training, begun = plan.training, Left.at(start.model, plan.kind).begun
    return dataclasses.replace(
        request,
        output=start.model,
        model=plan.model,
        training=training,
        changes={"seed": start.seed, "steps": training.steps, "precision": training.precision},
        ae=ae,
        rounds=1,
        restarts=1,
        resume=begun,
        overwrite=True,  # their folder is the plan's
        check=False,
    )


def _ended(start: Start, plan: Plan[Any, Any]) -> bool:
    """Whether a start has come to its end, or has diverged on its way there."""
    left = Left.at(start.model, plan.kind)
    own = {name: value for name, value in plan.files.settings.items() if name not in ("rounds", "restarts")}
    own["training"] = {**own["training"], "seed": start.seed}
    return bool(start.diverged) or (bool(left.what) and not left.unfinished and same_run(left.model, own))


def _how_far(start: Start, plan: Plan[Any, Any]) -> str:
    if _ended(start, plan):
        return f"{start.name} has ended"
    with suppress(CitrisError):
        if step := start.files.saved_step():
            return f"{start.name} is at step {step:,} of {plan.training.steps:,}"
    return f"{start.name} has not started"


def _keep(
    session: AnySession, plan: Plan[Any, Any], starts: Sequence[Start], failed: Mapping[str, CitrisError]
) -> LoadedModel:
    """Write the model of the best of the starts, which all have ended."""
    diverged = {one.seed: one.diverged for one in starts if one.diverged}
    for seed, what in diverged.items():
        session.note(f"the start with seed {seed} diverged ({what}) and is left out")
    if len(diverged) == len(starts):
        first = next(iter(failed.values()), None)
        raise TrainingDivergedError(f"all {len(starts)} starts diverged{f'; the first: {first}' if first else ''}")
    if others := {one.name: failed[one.name] for one in starts if one.name in failed and one.seed not in diverged}:
        name, error = next(iter(others.items()))
        if len(others) == len(starts):
            raise error
        raise CitrisError(
            f"{len(others)} of {len(starts)} starts did not finish ({name}: {error}); run the same command with "
            "--resume to continue with what is left"
        )
    means = {one.seed: one.means(plan.training.steps) for one in starts if one.seed not in diverged}
    best = min(means, key=lambda seed: (means[seed][CRITERION], seed))
    rest = ", ".join(f"seed {seed} {values[CRITERION]:.4g}" for seed, values in means.items() if seed != best)
    session.note(
        f"kept the start with seed {best}: its loss over the last tenth of the steps is the lowest, "
        f"{means[best][CRITERION]:.4g}{f' ({rest})' if rest else ''}"
    )
    told = {
        "kept": best,
        "criterion": f"the lowest mean {CRITERION} over the last tenth of the steps",
        "means": {f"seed {seed}": values for seed, values in means.items()},
        "diverged": {f"seed {seed}": what for seed, what in diverged.items()},
    }
    return plan.adopt(session, next(one.model for one in starts if one.seed == best), {"starts": told})
