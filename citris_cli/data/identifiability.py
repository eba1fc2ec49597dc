"""What intervention targets can tell apart, and what no training can: said before time is spent on one.

CITRIS identifies the (minimal) causal variables if no variable's intervention target is a function of another's: for
no two variables i and j is there an f with ``I_i = f(I_j)`` in every step (Lippe et al., 2022, section 3). With
targets of 0 and 1, such an f is a constant, the identity or the negation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from citris_cli.data.datasets import SequenceData
from citris_cli.wording import counted, enumerated

#: Two columns that differ in fewer steps than this are told apart by hardly anything.
FEW_STEPS = 20
#: More names than this are not all listed.
MOST_LISTED = 20
#: Fewer frames, pairs or windows than these do not fill a usual batch, let alone tell anything of others.
FEW_SAMPLES = 64
#: A column is called a function of several others if chance would make it one less often than this.
BY_CHANCE = 1e-6

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Finding:
    """One thing that the targets say of some variables.

    Attributes:
        kind: ``never``, ``always``, ``equal``, ``opposite``, ``nearly equal``, ``function`` or ``direction``.
        variables: the names concerned.
        sentence: what it is, why, and what can be done.
        identifiable: whether the variables can be identified nevertheless.
    """

    kind: str
    variables: tuple[str, ...]
    sentence: str
    identifiable: bool


def findings(data: SequenceData) -> tuple[Finding, ...]:
    """What can be told apart in some sequences and what not, the gravest first; empty where nothing stands in the way.

    Args:
        data: sequences; columns that were merged count as one.
    """
    found = [_never(data.dropped.names)] if data.dropped else []
    patterns, steps = np.unique(data.targets[data.starts].numpy().astype(bool), axis=0, return_counts=True)
    return (*found, *_of_patterns(patterns, steps, np.array(data.variables.names)))


def direction_findings(data: SequenceData) -> tuple[Finding, ...]:
    """Of which variables the direction of an effect within a step can hardly be told; empty where nothing hinders it.

    An effect and its reverse are told apart in steps that set one of the two variables and not the other: there a cause
    still acts, and what was set does not (Lippe et al., iCITRIS, 2023). That interventions are perfect and that effects
    within a step go round in no circle are conditions, too, which targets say nothing of.

    Args:
        data: sequences; columns that were merged count as one.
    """
    targets = data.targets[data.starts].numpy().astype(bool)
    names, found = data.variables.names, []
    for i, j in combinations(range(len(names)), 2):
        apart = int((targets[:, i] != targets[:, j]).sum())
        if 0 < apart < FEW_STEPS:  # those that are never apart are not even told from each other
            found.append(
                Finding(
                    "direction",
                    (names[i], names[j]),
                    f"only {counted(apart, 'step')} {'sets' if apart == 1 else 'set'} one of {names[i]} and "
                    f"{names[j]} without the other: which of them acts on the other within a step can hardly be "
                    "determined; record more such steps",
                    identifiable=True,
                )
            )
    return tuple(found)


def few_samples(samples: int, unit: str) -> str:
    """A clause on how few samples there are and how many are needed; "" where there are enough.

    Args:
        samples: frames, pairs or windows that are trained on.
        unit: which of them, in the singular.
    """
    if samples >= FEW_SAMPLES:
        return ""
    return f"the data are too few: {counted(samples, unit)}; at least {FEW_SAMPLES} are needed, and thousands are usual"


def few_latents(variables: int, latents: int, command: str = "") -> str:
    """A sentence where there are more variables than latents, before time is spent; "" where there are not.

    Args:
        variables: K that are intervened on.
        latents: M of the model.
        command: with a space after it, whose option ``--latents`` says how many there are; "" for the training's own.
    """
    if variables <= latents:
        return ""
    without = variables - latents
    return (
        f"{variables} variables and {counted(latents, 'latent')}: at least {without} of the variables can have no "
        f"latents; give {variables} or more with '{command}--latents' (psi(0) needs some, too)"
    )


def _of_patterns(patterns: Array, steps: Array, names: Array) -> list[Finding]:
    """Findings about the distinct rows of targets, bool [patterns, K], and the number of steps that have each."""
    always = patterns.all(axis=0)
    found = [_always(name) for name in names[always].tolist()]
    # Of columns that are equal, one stands for all in what follows.
    classes: dict[bytes, list[int]] = {}
    for column in np.flatnonzero(~always).tolist():
        classes.setdefault(patterns[:, column].tobytes(), []).append(column)
    found += [_equal(names[members].tolist()) for members in classes.values() if len(members) > 1]
    distinct = [members[0] for members in classes.values()]
    pairs = [_of_pair(patterns, steps, i, j, names) for i, j in combinations(distinct, 2)]
    found += sorted((pair for pair in pairs if pair is not None), key=lambda pair: pair.identifiable)
    explained = {name for finding in found if finding.kind == "opposite" for name in finding.variables}
    for index in distinct:
        if names[index] not in explained and (finding := _function(patterns, steps, index, distinct, names)):
            found.append(finding)
            explained |= set(finding.variables)  # of a relation that can be read in several ways, one is enough
    return found


def _never(names: Sequence[str]) -> Finding:
    one = len(names) == 1
    return Finding(
        "never",
        tuple(names),
        f"{_listed(names)} {'is' if one else 'are'} never intervened on: dropped, since nothing distinguishes "
        f"{'it' if one else 'them'} from the rest; what the frames show of {'it' if one else 'them'} goes to psi(0)",
        identifiable=False,
    )


def _always(name: str) -> Finding:
    return Finding(
        "always",
        (name,),
        f"{name} is intervened on in every step: its own mechanism is never seen, so it cannot be identified; record "
        "steps without intervention on it",
        identifiable=False,
    )


def _equal(names: Sequence[str]) -> Finding:
    return Finding(
        "equal",
        tuple(names),
        f"{_listed(names)} are always intervened on in the same steps: nothing shows which latents belong to which; "
        f"vary them apart, or make them one variable, as with --group together={'+'.join(names)}",
        identifiable=False,
    )


def _of_pair(patterns: Array, steps: Array, i: int, j: int, names: Array) -> Finding | None:
    differ = int(steps[patterns[:, i] != patterns[:, j]].sum())
    either = int(steps[patterns[:, i] | patterns[:, j]].sum())
    pair = (str(names[i]), str(names[j]))
    if differ == steps.sum():
        return Finding(
            "opposite",
            pair,
            f"{pair[0]} is intervened on exactly where {pair[1]} is not: each target is a function of the other, so "
            "nothing shows which latents belong to which; record steps with both and with neither",
            identifiable=False,
        )
    # Few in themselves, and few beside the steps with either: rare targets that never meet are well apart.
    if differ < FEW_STEPS and 2 * differ < either:
        return Finding(
            "nearly equal",
            pair,
            f"{pair[0]} and {pair[1]} are intervened on in the same steps but for {differ}: hardly anything shows "
            "which latents belong to which; vary them apart more often",
            identifiable=True,
        )
    return None


def _function(patterns: Array, steps: Array, index: int, candidates: list[int], names: Array) -> Finding | None:
    """The finding that a column follows from several others together, if it does and not by chance."""
    others = [other for other in candidates if other != index]
    odds = _log_odds(patterns, steps, index, others) if len(others) > 1 else None
    if odds is None:
        return None
    for other in list(others):  # as few as are needed
        fewer = [one for one in others if one != other]
        without = _log_odds(patterns, steps, index, fewer) if fewer else None
        if without is not None:
            others, odds = fewer, without
    if odds > math.log(BY_CHANCE) or len(others) < 2:
        return None
    return Finding(
        "function",
        (str(names[index]), *names[others].tolist()),
        f"the target of {names[index]} follows from those of {_listed(names[others].tolist())} together; none of "
        "these determines it alone, so it can still be identified, but steps that break the rule make it easier",
        identifiable=True,
    )


def _log_odds(patterns: Array, steps: Array, index: int, others: list[int]) -> float | None:
    """Log-probability that a target drawn by chance were a function of others; None if it is no such function.

    Within every pattern of the others, a target drawn with its own rate p would have to be constant: probability
    ``p^c + (1-p)^c`` for a pattern of c steps.
    """
    _, pattern = np.unique(patterns[:, others], axis=0, return_inverse=True)
    count = np.bincount(pattern.ravel(), weights=steps)
    ones = np.bincount(pattern.ravel(), weights=steps * patterns[:, index])
    if ((ones > 0) & (ones < count)).any():
        return None
    rate = ones.sum() / count.sum()
    return float(np.logaddexp(count * math.log(rate), count * math.log1p(-rate)).sum())


def _listed(names: Sequence[str]) -> str:
    if len(names) > MOST_LISTED:
        return enumerated(names)
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"
