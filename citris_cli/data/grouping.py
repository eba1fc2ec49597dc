"""Several columns as one causal variable: a group is intervened on in a step where any of its columns is.

A causal variable may have several dimensions (Lippe et al., 2022, section 3.1). Which columns are variables of their
own is the user's to say: merged, columns are found together, and what would tell them apart is not looked for.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from citris_cli.data.datasets import SequenceData
from citris_cli.data.variables import Variable, Variables, composed
from citris_cli.errors import InputError


def merge_columns(data: SequenceData, text: str) -> SequenceData:
    """The same frames with some of the intervention columns merged into one variable each.

    A merged variable stands in the place of the first of its columns. It is continuous, without a range, and knows its
    columns as :attr:`~citris_cli.data.variables.Variable.members`; those that are never intervened on are left out.

    Args:
        data: sequences.
        text: comma list of groups: the name of one that the columns have (``pos_o``), or ``name=column+column``.

    Raises:
        InputError: no such group or column, a column in two groups, a group without a column that is ever intervened
            on, or a name that another variable has.
    """
    group_of: dict[str, str] = {}  # of a column's name
    notes = []
    for part in text.split(","):
        name, members = _group(part.strip(), data.columns)
        if taken := [member for member in members if member in group_of]:
            raise InputError(f"--group: {taken[0]} is in {group_of[taken[0]]} and in {name}; a column has one group")
        used = [member for member in members if member in data.variables.names]
        if not used:
            raise InputError(
                f"--group {part.strip()}: none of {', '.join(members)} is ever intervened on; leave it out"
            )
        if len(used) < len(members):
            unused = ", ".join(member for member in members if member not in used)
            notes.append(f"{name} is {' + '.join(used)} (without {unused}, never intervened on)")
        else:
            notes.append(f"{name} is {' + '.join(used)}")
        group_of |= dict.fromkeys(used, name)
    names = list(dict.fromkeys(group_of.get(name, name) for name in data.variables.names))
    variables, columns = [], []
    for name in names:
        members = [member for member in data.variables.names if group_of.get(member) == name]
        if not members:
            variables.append(data.variables[data.variables.names.index(name)])
        elif name in data.variables.names and name not in members:
            raise InputError(f"--group: {name} is another column's name; give the group a name of its own")
        else:
            variables.append(Variable(name, members=tuple(members)))
        own = data.targets[:, [data.variables.names.index(member) for member in members or [name]]]
        columns.append(own.amax(1))
        notes += _parted(name, own)
    return replace(
        data,
        targets=torch.stack(columns, dim=1),
        variables=Variables(variables),
        notes=(*data.notes, *notes),
    )


def _parted(name: str, targets: torch.Tensor) -> list[str]:
    """A note if interventions on a group leave some of its columns as they are, which then follow their past."""
    some, every = targets.amax(1) > 0, targets.amin(1) > 0
    parted = int((some & ~every).sum())
    if not parted:
        return []
    return [
        f"{name}: {parted / int(some.sum()):.0%} of the steps with an intervention on it have one on some of its "
        "columns alone, and the others follow their past: an imperfect intervention (--imperfect-variables)"
    ]


def spelled_groups(variables: Variables) -> str:
    """The merged ones among some variables, as :func:`merge_columns` takes them; empty if there are none."""
    return ",".join(f"{item.name}={'+'.join(item.members)}" for item in variables if item.members)


def _group(text: str, columns: Variables) -> tuple[str, list[str]]:
    """Name and columns of one group of a comma list."""
    name, equals, listed = (part.strip() for part in text.partition("="))
    if not name or (equals and not all(part.strip() for part in listed.split("+"))):
        raise InputError(f"--group: {text!r} does not name a group; write pos_o or name=column+column")
    if not equals:
        positions = columns.resolve(name)
        members = list(columns.select(positions).names)
        group = columns[positions[0]].group
        if group is None or columns.groups[group] != members:
            known = ", ".join(columns.groups) or "none"
            raise InputError(
                f"--group {name}: a single column, not a group; the data's groups are {known}, and others are written "
                "name=column+column"
            )
        return group, members
    return composed(name), [columns[columns.index(part)].name for part in listed.split("+")]
