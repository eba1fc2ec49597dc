import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from citris_cli.data.variables import (
    CAUSAL3DIDENT,
    Variable,
    Variables,
    canonical_name,
    infer_variables,
    parse_vars,
)
from citris_cli.errors import InputError

PUBLISHED = (
    "pos-x pos-y pos-z rot-alpha rot-beta rot-gamma rot-spot hue-object hue-spot hue-back obj-shape obj-material"
)


def test_causal3dident_is_as_published() -> None:
    assert " ".join(CAUSAL3DIDENT.names) == (
        "pos_x pos_y pos_z rot_alpha rot_beta rot_gamma rot_s hue_o hue_s hue_b obj_s obj_m"
    )
    assert CAUSAL3DIDENT.groups == {
        "pos_o": ["pos_x", "pos_y", "pos_z"],
        "rot_o": ["rot_alpha", "rot_beta", "rot_gamma"],
    }
    assert [v.kind for v in CAUSAL3DIDENT] == ["continuous"] * 3 + ["angle"] * 7 + ["categorical"] * 2
    assert (CAUSAL3DIDENT[0].low, CAUSAL3DIDENT[0].high) == (-2, 2)
    assert CAUSAL3DIDENT[3].high == pytest.approx(2 * math.pi)


@pytest.mark.parametrize(
    ("published", "ours"),
    list(
        zip(
            PUBLISHED.split(),
            CAUSAL3DIDENT.names,
            strict=True,
        )
    ),
)
def test_published_spellings(published: str, ours: str) -> None:
    for spelling in (published, published.upper(), published.replace("-", "_"), ours, f" {ours} "):
        assert canonical_name(spelling) == ours
        assert CAUSAL3DIDENT.resolve(spelling) == [CAUSAL3DIDENT.names.index(ours)]


def test_an_accented_letter_is_one_however_it_was_typed() -> None:
    one, two = "größe_é", "gro\u0308ße_e\u0301"
    named = parse_vars(f"{two}:angle,x")
    assert named.names == (one, "x")
    assert named.resolve(two) == named.resolve(one) == named.resolve(two.upper()) == [0]
    assert infer_variables(2, [two, "x"], (32, 32), None) == parse_vars(f"{one},x")
    assert Variables.from_json([{"name": two, "members": [two, "x"], "group": two}]) == Variables(
        [Variable(one, members=(one, "x"), group=one)]
    )
    with pytest.raises(InputError, match="two variables are called"):
        parse_vars(f"{one},{two}")


@pytest.mark.parametrize("name", ["psi(0)", "PSI(0)", "Psi (0)", "ψ(0)"])
def test_no_variable_has_the_name_of_what_belongs_to_none(name: str) -> None:
    with pytest.raises(InputError, match=r"is reserved for the latents of no variable; call the column something"):
        Variable(name)
    with pytest.raises(InputError, match=r"^a\.npz: in 'keys' .* is reserved for the latents of no variable"):
        infer_variables(1, [name], (32, 32), None, "a.npz")
    assert parse_vars("psi0,psi_0,psi").names == ("psi0", "psi_0", "psi")


def test_resolve_takes_groups_and_lists_each_once() -> None:
    assert CAUSAL3DIDENT.resolve("rot_o") == [3, 4, 5]
    assert CAUSAL3DIDENT.resolve("Hue-Back, POS_O,pos_x") == [9, 0, 1, 2]
    assert CAUSAL3DIDENT.select([0, 1, 9]).resolve("pos-o") == [0, 1]
    assert CAUSAL3DIDENT.index("hue-back") == 9
    with pytest.raises(InputError, match="group of 3"):
        CAUSAL3DIDENT.index("rot_o")


def test_resolve_keeps_the_users_own_spelling_apart() -> None:
    both = parse_vars("X,x,My-Var")
    assert both.resolve("x") == [1]
    assert both.resolve("X") == [0]
    assert both.resolve("my_var") == [2]


@pytest.mark.parametrize(
    ("wrong", "guess"),
    [("rot_alfa", "rot_alpha"), ("rot-alhpa", "rot_alpha"), ("hue-bakc", "hue_b"), ("rot_oo", "rot_o")],
)
def test_wrong_names_get_a_guess_and_the_list(wrong: str, guess: str) -> None:
    with pytest.raises(InputError) as caught:
        CAUSAL3DIDENT.resolve(wrong)
    assert f"no variable {wrong!r} (did you mean {guess!r}?); " in str(caught.value)
    assert "pos_x, pos_y" in str(caught.value)
    assert "pos_o (pos_x" in str(caught.value)


def test_hopeless_and_empty_names() -> None:
    with pytest.raises(InputError) as caught:
        CAUSAL3DIDENT.resolve("qqqq")
    assert "did you mean" not in str(caught.value)
    for text in ("", "pos_x,,pos_y", ","):
        with pytest.raises(InputError, match="empty name"):
            CAUSAL3DIDENT.resolve(text)


def test_json_round_trip() -> None:
    text = json.dumps(CAUSAL3DIDENT.to_json())
    assert Variables.from_json(json.loads(text)) == CAUSAL3DIDENT
    assert hash(CAUSAL3DIDENT) == hash(Variables(list(CAUSAL3DIDENT)))
    assert isinstance(CAUSAL3DIDENT[:3], Variables)


@pytest.mark.parametrize(
    "bad",
    [
        {},
        [1],
        [{}],
        [{"name": 3}],
        [{"name": "x", "extra": 1}],
        [{"name": "x", "kind": 3}],
        [{"name": "x", "low": "0"}],
        [{"name": "x", "low": 2.0, "high": 1.0}],
        [{"name": "x", "high": float("nan")}],
        [{"name": "x"}, {"name": "x"}],
        [{"name": "x\x1b[2J"}],
    ],
)
def test_malformed_json_is_refused(bad: object) -> None:
    with pytest.raises(InputError):
        Variables.from_json(bad)


def test_parse_vars() -> None:
    found = parse_vars("x, theta:angle,shape:Categorical,y:continuous,rot-spot,ball_b,hue_o:continuous")
    assert found.names == ("x", "theta", "shape", "y", "rot_s", "box", "hue_o")
    kinds = ["continuous", "angle", "categorical", "continuous", "angle", "categorical", "continuous"]
    assert [v.kind for v in found] == kinds
    assert found[5].categories == 2
    assert found[6].high is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x:angel", "'angel'; write name:kind"),
        ("x:", "write name:kind"),
        ("x,,y", "empty"),
        ("", "empty"),
        ("x,x", "two variables are called 'x'"),
        ("ball_b,box", "two variables are called 'box'"),
        ("a/b", "'a/b'"),
        ("a\tb", "characters"),
        ("a\u202eb", "characters"),
        ("n" * 65, "65 characters"),
    ],
)
def test_parse_vars_refuses(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_vars(text)
    assert message in str(caught.value)


def test_infer_variables_in_order_of_authority() -> None:
    given = parse_vars("a,b")
    assert infer_variables(2, ["c", "d"], (64, 64), given) == given
    assert infer_variables(3, ["ball_x", "ball_y", "ball_b"], (32, 32), None).names == ("ball_x", "ball_y", "box")
    assert infer_variables(12, None, (64, 64), None) == CAUSAL3DIDENT
    assert infer_variables(12, None, (32, 32), None).names[11] == "var_11"
    assert infer_variables(2, None, (64, 64), None).names == ("var_0", "var_1")
    with pytest.raises(InputError, match=r"d\.npz: --vars names 2 variables for 3 columns"):
        infer_variables(3, None, (64, 64), given, "d.npz")
    with pytest.raises(InputError, match="'keys' names 1 variable for 3 columns"):
        infer_variables(3, ["x"], (64, 64), None)
    for keys in (["x", "x"], ["x", ""], ["x", "a,b"], ["x", "y" * 65], ["x", "\n"]):
        with pytest.raises(InputError, match=r"d\.npz: in 'keys'"):
            infer_variables(2, keys, (64, 64), None, "d.npz")


def test_what_is_known_of_the_columns_describes_a_files_own() -> None:
    known = parse_vars("x,theta:angle,lamp:categorical,rot_s:continuous")
    # By name, in whatever order the file has them; a name that nobody knows is continuous.
    found = infer_variables(4, ["theta", "new", "x", "rot-spot"], (32, 32), None, known=known)
    kinds = [("theta", "angle"), ("new", "continuous"), ("x", "continuous"), ("rot_s", "continuous")]
    assert [(variable.name, variable.kind) for variable in found] == kinds
    # Without names of its own, a file has the known ones if they are as many.
    assert infer_variables(4, None, (64, 64), None, known=known) == known
    assert infer_variables(3, None, (64, 64), None, known=known).names == ("var_0", "var_1", "var_2")
    assert infer_variables(12, None, (64, 64), None, known=known) == CAUSAL3DIDENT
    given = parse_vars("theta,b")
    assert infer_variables(2, ["x", "theta"], (32, 32), given, known=known) == given


def test_a_files_kinds_count_for_more_than_what_is_known_of_the_names() -> None:
    known = Variables(
        [
            Variable("x", low=0.0, high=5.0),
            Variable("theta"),
            Variable("pos_x", "angle"),
            Variable("lamp", group="lamps"),
        ]
    )
    keys = ["x", "theta", "pos_x", "lamp", "rot_s", "hue_o", "new"]
    kinds = ["continuous", "angle", "continuous", "categorical", "angle", "continuous", "Categorical "]
    found = infer_variables(7, keys, (32, 32), None, known=known, kinds=kinds)
    assert found.names == tuple(keys)
    assert [variable.kind for variable in found] == [kind.strip().lower() for kind in kinds]
    # Where the kinds agree, the range stays: of the training data, else that by which the name is known.
    assert (found[0].low, found[0].high) == (0, 5)
    assert found[2] == CAUSAL3DIDENT[0]
    assert found[4] == CAUSAL3DIDENT[6]
    # Where they do not, there is none; the group is no matter of kind.
    assert (found[3].low, found[3].categories, found[3].group) == (None, None, "lamps")
    assert (found[5].low, found[5].high) == (None, None)


def test_kinds_without_keys_go_with_the_names_that_are_inferred() -> None:
    kinds = ["angle", "continuous"]
    found = infer_variables(2, None, (32, 32), None, kinds=kinds)
    assert [(variable.name, variable.kind) for variable in found] == [("var_0", "angle"), ("var_1", "continuous")]
    known = parse_vars("a,b:angle")
    found = infer_variables(2, None, (32, 32), None, known=known, kinds=kinds)
    assert [(variable.name, variable.kind) for variable in found] == [("a", "angle"), ("b", "continuous")]
    twelve = [variable.kind for variable in CAUSAL3DIDENT]
    assert infer_variables(12, None, (64, 64), None, kinds=twelve) == CAUSAL3DIDENT


def test_what_the_user_gives_counts_for_more_than_a_files_kinds() -> None:
    given = parse_vars("a,b:angle")
    for kinds in (["categorical", "categorical"], ["angle"], ["nonsense", "angle"]):
        assert infer_variables(2, None, (32, 32), given, kinds=kinds) == given


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (["angle"], r"d\.npz: 'kinds' has 1 kind for 2 columns; give every column a kind, or name them with --vars"),
        (["angle", "angel"], r"d\.npz: 'kinds' gives 'y' the kind 'angel'; a kind is continuous, angle, categorical"),
        (["", "angle"], r"'kinds' gives 'x' the kind ''"),
        (["angle", "\x1b[2J" * 99], r"'kinds' gives 'y' the kind '\\x1b\[2j"),
    ],
)
def test_kinds_that_are_none_are_refused(kinds: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        infer_variables(2, ["x", "y"], (32, 32), None, "d.npz", kinds=kinds)


def test_names_given_without_a_kind_have_the_known_one() -> None:
    known = parse_vars("x,theta:angle,lamp:categorical")
    found = parse_vars("lamp,theta,x:angle,rot_s,new", known)
    assert [variable.kind for variable in found] == ["categorical", "angle", "angle", "angle", "continuous"]
    assert parse_vars("theta:continuous", known)[0].kind == "continuous"


def test_variable_is_checked() -> None:
    with pytest.raises(InputError, match="kind"):
        Variable("x", "ordinal")
    with pytest.raises(InputError, match="range"):
        Variable("x", low=1.0, high=1.0)


def test_light_modules_import_neither_torch_nor_pillow() -> None:
    code = "import sys, citris_cli.data.variables, citris_cli.data.npz; print({'torch', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "set()"
