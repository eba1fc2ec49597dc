"""Causal variables: their names, kinds and groups, and the spellings that people and published files use for them."""

from __future__ import annotations

import difflib
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, overload

from citris_cli.errors import InputError
from citris_cli.wording import counted, enumerated, legible

KINDS = ("continuous", "angle", "categorical")
MAX_NAME_LENGTH = 64
#: What stands for the latents of no variable wherever blocks have names: in files, in documents and on the screen.
REST = "psi(0)"


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which an é is one character however it was typed."""
    return unicodedata.normalize("NFC", name)


def _fold(name: str) -> str:
    return composed(name).strip().casefold().replace("-", "_").replace(" ", "_")


def _check_name(name: str) -> None:
    if not name.strip():
        raise InputError("a variable has an empty name; give every column a name")
    if len(name) > MAX_NAME_LENGTH:
        raise InputError(
            f"the variable name {name[:20]!r}… is {len(name)} characters long; use at most {MAX_NAME_LENGTH}"
        )
    # Names become parts of lists on the command line, of keys in .npz files and of lines in a terminal.
    if not name.isprintable() or name != name.strip() or any(character in ",/\\" for character in name):
        raise InputError(
            f"the variable name {name!r} holds characters that names cannot have; use letters, digits and _"
        )
    if _fold(name).replace("_", "") in (REST, "ψ(0)"):
        raise InputError(f"{name!r} is reserved for the latents of no variable; call the column something else")
    # In an .npz, x.npy is the name of the member that holds x.
    if name.endswith(".npy"):
        raise InputError(f"the variable name {name!r} ends like the name of a file; leave out the .npy")


@dataclass(frozen=True)
class Variable:
    """One causal variable.

    Attributes:
        name: what it is called, printable, at most 64 characters, without commas or slashes, and not psi(0); kept in
            Unicode's composed form (NFC).
        kind: "continuous", "angle" (radians, 0…2π, periodic) or "categorical" (0…categories−1).
        low: least value, or None where it is not known; 0 for an angle.
        high: greatest value, or None where it is not known; 2π for an angle.
        categories: number of categories, or None where it is not known or the kind is another.
        group: the name that it shares with others (`pos_o`), or None.
        members: names of the columns that were merged into it (:mod:`citris_cli.data.grouping`); empty for one that is
            a column itself.

    Raises:
        InputError: the name cannot be used, or the kind or the range is no such thing.
    """

    name: str
    kind: str = "continuous"
    low: float | None = None
    high: float | None = None
    categories: int | None = None
    group: str | None = None
    members: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", composed(self.name))
        object.__setattr__(self, "group", None if self.group is None else composed(self.group))
        object.__setattr__(self, "members", tuple(map(composed, self.members)))
        _check_name(self.name)
        if self.kind not in KINDS:
            raise InputError(f"variable {self.name!r} has the kind {self.kind!r}; a kind is {', '.join(KINDS)}")
        if self.kind == "angle":
            object.__setattr__(self, "low", 0.0)
            object.__setattr__(self, "high", 2 * math.pi)
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(
                f"variable {self.name!r} has the range {self.low}…{self.high}; its low end must be the lower"
            )

    def to_json(self) -> dict[str, Any]:
        """The variable as a dictionary that `json.dumps` takes."""
        return {**asdict(self), "members": list(self.members)}

    @classmethod
    def from_json(cls, data: Any) -> Variable:
        """The variable that `to_json` gave; InputError if `data` is nothing of the kind."""
        known = {field.name for field in fields(cls)}
        if not isinstance(data, dict) or not isinstance(data.get("name"), str) or not set(data) <= known:
            raise InputError("a variable's description is malformed; it needs a name, and optionally kind and range")
        numbers = [data.get(key) for key in ("low", "high", "categories")]
        texts = [data.get("kind", "continuous"), data.get("group") or ""]
        finite = all(n is None or (type(n) in (int, float) and math.isfinite(n)) for n in numbers)
        members = data.get("members", [])
        listed = isinstance(members, list | tuple) and all(isinstance(name, str) for name in members)
        if not finite or not listed or not all(isinstance(t, str) for t in texts):
            raise InputError(
                f"variable {data['name']!r} is malformed; its range must be numbers, its kind, group and members text"
            )
        return cls(**{**data, "members": tuple(members)})


class Variables(Sequence[Variable]):
    """An immutable sequence of variables with names that differ.

    Raises:
        InputError: two variables have the same name.
    """

    def __init__(self, variables: Iterable[Variable] = ()) -> None:
        self._items = tuple(variables)
        seen: set[str] = set()
        for variable in self._items:
            if variable.name in seen:
                raise InputError(f"two variables are called {variable.name!r}; give every column a name of its own")
            seen.add(variable.name)

    @overload
    def __getitem__(self, index: int) -> Variable: ...
    @overload
    def __getitem__(self, index: slice) -> Variables: ...
    def __getitem__(self, index: int | slice) -> Variable | Variables:
        return Variables(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Variables) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Variables({', '.join(self.names)})"

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(variable.name for variable in self._items)

    @property
    def groups(self) -> dict[str, list[str]]:
        """Each group's name with the names of its members, in order of appearance."""
        groups: dict[str, list[str]] = {}
        for variable in self._items:
            if variable.group is not None:
                groups.setdefault(variable.group, []).append(variable.name)
        return groups

    def owner(self, column: Variable) -> int | None:
        """The position of the variable that a column or true factor belongs to, by name; None if there is none.

        That is the variable of the same name, the one that the column was merged into, or the one that has the name of
        the column's group and does not say what was merged into it.
        """
        for index, variable in enumerate(self._items):
            if column.name == variable.name or column.name in variable.members:
                return index
        coarse = (i for i, item in enumerate(self._items) if item.name == column.group and not item.members)
        return next(coarse, None)

    # `Sequence.index` takes a value; here the name is what people know a variable by.
    def index(self, name: str) -> int:  # type: ignore[override]
        """The position of the variable with this name, in any spelling; InputError with a guess if there is none."""
        found = self._find(name)
        if len(found) != 1:
            raise InputError(f"{name!r} is a group of {len(found)} variables; name one of them")
        return found[0]

    def select(self, indices: Iterable[int]) -> Variables:
        """The variables at these positions, in this order."""
        return Variables(self._items[i] for i in indices)

    def resolve(self, text: str) -> list[int]:
        """Positions of what a comma list of names and groups means, each once, in order of mention.

        Names may be in the published spelling, in either case, with `-` or `_`.

        Raises:
            InputError: an empty list, or a name that is not there, with the nearest name and all of them.
        """
        found: dict[int, None] = {}
        for part in text.split(","):
            if not part.strip():
                raise InputError(f"{text!r} holds an empty name; the variables are {self._listing()}")
            found.update(dict.fromkeys(self._find(part.strip())))
        return list(found)

    def _find(self, name: str) -> list[int]:
        name = composed(name)
        if name in self.names:
            return [self.names.index(name)]
        wanted = {_fold(name), _fold(canonical_name(name))}
        found = [i for i, item in enumerate(self._items) if _fold(item.name) in wanted]
        if len(found) == 1:
            return found
        if not found:
            found = [i for i, item in enumerate(self._items) if item.group and _fold(item.group) in wanted]
            if found:
                return found
        whole = next((item for item in self._items if wanted & {_fold(member) for member in item.members}), None)
        if whole is not None:
            raise InputError(
                f"{name!r} was merged into {whole.name!r} when the model was trained ({' + '.join(whole.members)}); "
                f"name {whole.name!r}"
            )
        raise InputError(f"there is no variable {name!r}{self._guess(name)}; the variables are {self._listing()}")

    def _guess(self, name: str) -> str:
        spellings = {_fold(own): own for own in (*self.names, *self.groups)}
        spellings |= {alias: own for alias, own in _PUBLISHED.items() if own in self.names or own in self.groups}
        close = difflib.get_close_matches(_fold(name), spellings, n=1)
        return f" (did you mean {spellings[close[0]]!r}?)" if close else ""

    def _listing(self) -> str:
        groups = [f"{name} ({', '.join(members)})" for name, members in self.groups.items()]
        return enumerated(self.names) + (f", and the groups {enumerated(groups)}" if groups else "")

    def to_json(self) -> list[dict[str, Any]]:
        """The variables as a list that `json.dumps` takes."""
        return [variable.to_json() for variable in self._items]

    @classmethod
    def from_json(cls, data: Any) -> Variables:
        """The variables that `to_json` gave; InputError if `data` is nothing of the kind."""
        if not isinstance(data, list):
            raise InputError("the description of the variables is malformed; it needs to be a list")
        return cls(Variable.from_json(item) for item in data)


CAUSAL3DIDENT = Variables(
    [
        Variable("pos_x", "continuous", -2.0, 2.0, group="pos_o"),
        Variable("pos_y", "continuous", -2.0, 2.0, group="pos_o"),
        Variable("pos_z", "continuous", -2.0, 2.0, group="pos_o"),
        Variable("rot_alpha", "angle", group="rot_o"),
        Variable("rot_beta", "angle", group="rot_o"),
        Variable("rot_gamma", "angle", group="rot_o"),
        Variable("rot_s", "angle"),
        Variable("hue_o", "angle"),
        Variable("hue_s", "angle"),
        Variable("hue_b", "angle"),
        Variable("obj_s", "categorical", categories=7),
        Variable("obj_m", "categorical"),
    ]
)
"""The 12 columns of (Temporal) Causal3DIdent: the first 10 are `raw_latents`, the last two `shape_latents`."""

BALL_IN_BOXES = Variables([Variable("ball_x"), Variable("ball_y"), Variable("box", "categorical", categories=2)])
"""The columns of Ball-in-Boxes, published as ball_x, ball_y, ball_b."""

_KNOWN = {variable.name: variable for variable in (*CAUSAL3DIDENT, *BALL_IN_BOXES)}

# Folded published spellings, and the longer forms of them that people write, to our names.
_PUBLISHED = {
    "rot_spot": "rot_s",
    "rot_spotlight": "rot_s",
    "hue_object": "hue_o",
    "hue_obj": "hue_o",
    "hue_spot": "hue_s",
    "hue_spotlight": "hue_s",
    "hue_back": "hue_b",
    "hue_background": "hue_b",
    "obj_shape": "obj_s",
    "obj_material": "obj_m",
    "pos_obj": "pos_o",
    "pos_object": "pos_o",
    "rot_obj": "rot_o",
    "rot_object": "rot_o",
    "ball_b": "box",
}


def canonical_name(name: str) -> str:
    """Our spelling of a known variable or group (`Rot-Spot` → `rot_s`); any other name as it is, stripped."""
    folded = _fold(name)
    if folded in _PUBLISHED:
        return _PUBLISHED[folded]
    return folded if folded in _KNOWN or folded in ("pos_o", "rot_o") else composed(name).strip()


def parse_vars(text: str, known: Variables | None = None) -> Variables:
    """The variables that `--vars x,theta:angle,shape:categorical` describes, one a column, in order.

    A name without a kind is continuous, unless it is a known one; a name never sets what a given kind contradicts.

    Args:
        text: what was given.
        known: variables whose kind and range a name without a kind takes over, such as a model's.

    Raises:
        InputError: an empty or unusable name, an unknown kind, a name twice.
    """
    variables = []
    for part in text.split(","):
        name, colon, kind = part.partition(":")
        kind = kind.strip().lower()
        if colon and kind not in KINDS:
            raise InputError(f"--vars: {part.strip()!r} has the kind {kind!r}; write name:kind with {', '.join(KINDS)}")
        variable = _described(_named(name), known)
        if colon and variable.kind != kind:
            variable = Variable(variable.name, kind, group=variable.group)
        variables.append(variable)
    return Variables(variables)


def infer_variables(
    columns: int,
    keys: Sequence[str] | None,
    frame_size: tuple[int, int],
    given: Variables | None,
    where: str = "the file",
    known: Variables | None = None,
    kinds: Sequence[str] | None = None,
) -> Variables:
    """What the columns of a file are: as given, else by its keys, else as known, else Causal3DIdent's, else var_0….

    Args:
        columns: number of intervention columns.
        keys: the file's own names of the columns, or None.
        frame_size: (height, width) of the frames in pixels; 12 columns and 64×64 mean Causal3DIdent.
        given: the user's `--vars`, or None.
        where: file and key, for messages.
        known: columns of the data that this file belongs to, or None. The file's keys take kind and range from those
            of the same name; a file without keys has these columns if they are as many.
        kinds: the file's own kinds of the columns, or None. They count for more than what is known of the names; a
            known range stays where the kind is the same.

    Raises:
        InputError: `given`, `keys` or `kinds` are for another number of columns, a name cannot be used, or a kind is
            none of `KINDS`.
    """
    if given is not None:
        if len(given) != columns:
            raise InputError(
                f"{where}: --vars names {counted(len(given), 'variable')} for {counted(columns, 'column')}; "
                "name every column"
            )
        return given
    if keys is not None:
        variables = _by_keys(keys, columns, where, known)
    elif known is not None and len(known) == columns:
        variables = known
    elif columns == len(CAUSAL3DIDENT) and frame_size == (64, 64):
        variables = CAUSAL3DIDENT
    else:
        variables = Variables(Variable(f"var_{i}") for i in range(columns))
    return variables if kinds is None else _of_kinds(variables, kinds, where)


def _by_keys(keys: Sequence[str], columns: int, where: str, known: Variables | None) -> Variables:
    if len(keys) != columns:
        raise InputError(
            f"{where}: 'keys' names {counted(len(keys), 'variable')} for {counted(columns, 'column')}; "
            "name them with --vars"
        )
    try:
        return Variables(_described(_named(key), known) for key in keys)
    except InputError as error:
        raise InputError(f"{where}: in 'keys' {error}, or name the columns with --vars") from None


def _of_kinds(variables: Variables, kinds: Sequence[str], where: str) -> Variables:
    """The variables with the kinds that a file gives them."""
    if len(kinds) != len(variables):
        raise InputError(
            f"{where}: 'kinds' has {counted(len(kinds), 'kind')} for {counted(len(variables), 'column')}; "
            "give every column a kind, or name them with --vars"
        )
    folded = [kind.strip().lower() for kind in kinds]
    for variable, kind in zip(variables, folded, strict=True):
        if kind not in KINDS:
            raise InputError(
                f"{where}: 'kinds' gives {variable.name!r} the kind '{legible(kind, 20)}'; "
                f"a kind is {', '.join(KINDS)}, or name the columns with --vars"
            )
    return Variables(_of_kind(variable, kind) for variable, kind in zip(variables, folded, strict=True))


def _of_kind(variable: Variable, kind: str) -> Variable:
    """The variable with this kind: as it is, or as its name is known, where they agree; else without a range."""
    agreeing = (item for item in (variable, _named(variable.name)) if item.kind == kind)
    return next(agreeing, Variable(variable.name, kind, group=variable.group, members=variable.members))


def _named(name: str) -> Variable:
    canonical = canonical_name(name)
    return replace(_KNOWN[canonical]) if canonical in _KNOWN else Variable(canonical)


def _described(variable: Variable, known: Variables | None) -> Variable:
    """The known variable of the same name where there is one, else the variable as it is."""
    return next((item for item in known or () if item.name == variable.name), variable)
