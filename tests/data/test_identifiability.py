"""What targets cannot tell apart is found, and nothing that they can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from citris_cli.data.datasets import load_sequences
from citris_cli.data.identifiability import Finding, direction_findings, few_latents, findings

STEPS = 400


def found(targets: np.ndarray, names: str = "a,b,c,d") -> dict[tuple[str, ...], Finding]:
    keys = np.array(names.split(",")[: targets.shape[1]])
    return {finding.variables: finding for finding in _findings(targets, keys)}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _findings(targets: np.ndarray, keys: np.ndarray) -> tuple[Finding, ...]:
    np.savez("d.npz", images=np.zeros((len(targets) + 1, 32, 32, 3), np.uint8), interventions=targets, keys=keys)
    return findings(load_sequences([Path("d.npz")]))


def drawn(columns: int = 4, rate: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(0).random((STEPS, columns)) < rate).astype(int)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5, 0.9])
def test_independent_targets_tell_everything_apart(rate: float) -> None:
    assert not found(drawn(rate=rate))


def test_few_steps_of_many_columns_are_no_function_of_each_other() -> None:
    targets = (np.random.default_rng(0).random((60, 12)) < 0.5).astype(int)
    assert not found(targets, ",".join("abcdefghijkl"))  # every pattern occurs once: any column "follows"


def test_one_target_at_a_time_can_be_told_apart_though_the_last_follows_from_the_others() -> None:
    targets = np.eye(4, dtype=int)[np.random.default_rng(0).integers(0, 4, STEPS)]
    (names,) = found(targets)
    assert set(names) == set("abcd")
    finding = found(targets)[names]
    assert finding.kind == "function"
    assert finding.identifiable
    targets[::7] = 0  # steps with none: now nothing follows
    assert not found(targets)


def test_columns_that_are_always_equal() -> None:
    targets = drawn()
    targets[:, 2] = targets[:, 3] = targets[:, 0]
    ((names, finding),) = found(targets).items()
    assert names == ("a", "c", "d")
    assert (finding.kind, finding.identifiable) == ("equal", False)
    assert "--group together=a+c+d" in finding.sentence
    targets[5, 2] = 1 - targets[5, 2]  # a single step more: hardly, but told
    kinds = {names: finding.kind for names, finding in found(targets).items()}
    assert kinds == {("a", "d"): "equal", ("a", "c"): "nearly equal"}


def test_columns_that_are_always_opposite() -> None:
    targets = drawn()
    targets[:, 1] = 1 - targets[:, 3]
    ((names, finding),) = found(targets).items()
    assert names == ("b", "d")
    assert (finding.kind, finding.identifiable) == ("opposite", False)


def test_never_and_always() -> None:
    targets = drawn()
    targets[:, 0], targets[:, 2] = 0, 1
    both = found(targets)
    assert {names: finding.kind for names, finding in both.items()} == {("a",): "never", ("c",): "always"}
    assert not any(finding.identifiable for finding in both.values())


def test_a_column_that_is_a_function_of_two_others() -> None:
    targets = drawn()
    targets[:, 3] = targets[:, 0] ^ targets[:, 2]
    ((names, finding),) = found(targets).items()
    assert set(names) == {"a", "c", "d"}
    assert finding.kind == "function"
    targets = drawn()
    targets[:, 3] = targets[:, 0] | targets[:, 1] | targets[:, 2]
    ((names, finding),) = found(targets).items()
    assert names == ("d", "a", "b", "c")


def test_rare_targets_that_never_meet_are_not_nearly_equal() -> None:
    targets = np.zeros((STEPS, 2), int)
    targets[3, 0] = targets[9, 0] = targets[200, 1] = targets[330, 1] = 1
    assert not found(targets)


def test_more_variables_than_latents() -> None:
    assert few_latents(16, 16) == few_latents(2, 16) == ""
    assert few_latents(50, 16) == (
        "50 variables and 16 latents: at least 34 of the variables can have no latents; "
        "give 50 or more with '--latents' (psi(0) needs some, too)"
    )
    assert "with 'citris train-ae --latents'" in few_latents(3, 2, "citris train-ae ")


def test_real_targets(real_data: Path) -> None:
    for name in ("causal3d/train.npz", "tutorial/causal3d.npz"):
        (finding,) = findings(load_sequences([real_data / name]))
        assert finding.variables == ("rot_gamma", "obj_s", "obj_m")
        assert finding.kind == "never"
    slider = {f.variables: f.kind for f in findings(load_sequences([real_data / "tutorial/data_slider.npz"]))}
    assert slider[("pos_x", "pos_y", "pos_z")] == "equal"


def test_what_leaves_the_direction_of_an_effect_open() -> None:
    targets = drawn()
    keys = np.array(list("abcd"))
    assert _directions(targets, keys) == ()
    targets[:, 1] = targets[:, 0]
    assert _directions(targets, keys) == ()  # they are not even told apart, which findings say
    targets[:12, 1] = 1 - targets[:12, 0]
    (finding,) = _directions(targets, keys)
    assert (finding.kind, finding.variables) == ("direction", ("a", "b"))
    assert finding.sentence.startswith("only 12 steps set one of a and b without the other")


def _directions(targets: np.ndarray, keys: np.ndarray) -> tuple[Finding, ...]:
    np.savez("d.npz", images=np.zeros((len(targets) + 1, 32, 32, 3), np.uint8), interventions=targets, keys=keys)
    return direction_findings(load_sequences([Path("d.npz")]))
