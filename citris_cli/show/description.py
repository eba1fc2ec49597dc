"""A document of ``citris info`` as lines for people: where its numbers and lists become words."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from citris_cli.wording import described_channels, shortened, size_in_words, visible

#: Headings of keys that are not called like the key.
HEADINGS = {
    "bytes": "size",
    "steps_with_intervention": "intervened on",
    "never_intervened": "never intervened on",
    "triplets_from_image_2": "taken from image 2",
    "latents_per_variable": "latents of",
    "unused": "keys not used",
    "entries": "files",
}
#: Keys under which each key is of the document's own, as above; under all others it is a name, and shown as it is.
OWN = ("training", "measuring", "evaluation")
#: Keys without a line: what they say is said on standard error.
WITHOUT_LINE = ("reason",)
#: What stands for a condition that holds, that does not, and of which nobody can tell.
_ANSWERS = {True: "yes", False: "no", None: "cannot tell"}
#: What is shown at most: characters of a name and of a value, and entries below one key; ``--json`` has all.
MOST_OF_NAME, MOST_OF_VALUE, MOST_ENTRIES = 200, 2000, 500


def description_lines(document: Mapping[str, Any]) -> list[str]:
    """``key  value`` lines, aligned, nested entries indented below their key.

    Nothing in them acts on a terminal, and neither a line nor what stands below a key is endless.

    Args:
        document: as docs/json.md lists its keys.
    """
    return _lines(_entries(document), "")


def _lines(entries: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    shown = [(shortened(visible(key), MOST_OF_NAME), value) for key, value in islice(entries.items(), MOST_ENTRIES)]
    width = max((len(key) for key, value in shown if not isinstance(value, Mapping)), default=0)
    for key, value in shown:
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key.ljust(width)}  {shortened(visible(str(value)), MOST_OF_VALUE)}".rstrip())
    if len(entries) > MOST_ENTRIES:
        lines.append(f"{indent}… and {len(entries) - MOST_ENTRIES:,} more (--json has all)")
    return lines


def _entries(document: Mapping[str, Any]) -> dict[str, Any]:
    """Headings with what stands beside or below each: text, or entries of its own."""
    entries: dict[str, Any] = {}
    for key, value in document.items():
        unsaid = (key == "usable" and value) or (key in ("never_intervened", "notes", "unused") and not value)
        if key not in WITHOUT_LINE and not unsaid:
            entries[HEADINGS.get(key, key.replace("_", " "))] = _shown(key, value, document)
    return entries


def _shown(key: str, value: Any, document: Mapping[str, Any]) -> Any:
    """What stands beside or below a key of a document."""
    if key in _SHOWN:
        return _SHOWN[key](value)
    if key in _SHARES:
        of = document[_SHARES[key]]
        return {name: f"{count / of:.1%}" for name, count in value.items()}
    if key in OWN:
        return _entries(value)
    if type(value) is int:
        return f"{value:,}"
    return _named(key, value)


def _named(key: str, value: Any) -> Any:
    """A value that stands under a name, and whatever is in it."""
    if isinstance(value, Mapping) and value:
        return {name: _named(name, one) for name, one in value.items()}
    return shlex.join(map(str, value)) if key == "command" else _words(value)


def _words(value: Any) -> str:
    """A value by itself; of lists of lists, the rows of a matrix, each in brackets."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"[{_words(one)}]" if isinstance(one, list) else _words(one) for one in value) or "none"
    return "none" if value is None or value == {} else str(value)


def _size(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _array(array: Mapping[str, Any]) -> str:
    return f"{array['dtype']} {array['shape']}" + (" (memory-mapped)" if array["memory_mapped"] else "")


def _graph(graph: Mapping[str, Any]) -> Any:
    """Edges with their probabilities, and what is the matter with them."""
    shown: dict[str, Any] = {f"{one['from']} -> {one['to']}": f"{one['probability']:.3f}" for one in graph["edges"]}
    for one in graph["cycle_edges"]:
        shown[f"{one['from']} -> {one['to']}"] += " (the least certain of a cycle: read the graph without it)"
    if not graph["settled"]:
        shown["undecided"] = "at the end of the training run, some edge was neither certain nor certainly absent"
    return shown or "no edges"


def _kind(column: Mapping[str, Any]) -> str:
    """What a variable is: its kind and range, or the columns that were merged into it."""
    if column["members"]:
        return " + ".join(column["members"])
    if column["kind"] == "categorical" and column["categories"] is not None:
        return f"categorical, {column['categories']} categories"
    if column["kind"] == "continuous" and column["low"] is not None and column["high"] is not None:
        return f"continuous, {column['low']:g} … {column['high']:g}"
    return str(column["kind"])


def _content(content: Mapping[str, Any]) -> Any:
    """What is said of one of several, below its name."""
    return _entries({key: value for key, value in content.items() if key not in ("file", "directory")})


def _identifiability(findings: Sequence[Mapping[str, Any]]) -> Any:
    found = {", ".join(one["variables"]): one["sentence"] for one in findings}
    return found or "every variable's target tells it from all others"


def _effects(conditions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {one["condition"]: f"{_ANSWERS[one['holds']]}: {'; '.join(one['sentences'])}" for one in conditions}


#: Keys whose values are told in a way of their own.
_SHOWN: dict[str, Callable[[Any], Any]] = {
    "arrays": lambda arrays: {name: _array(array) for name, array in arrays.items()},
    "bytes": size_in_words,
    "channels": lambda channels: f"{channels} ({described_channels(channels)})",
    "columns": lambda columns: {column["name"]: _kind(column) for column in columns},
    "contents": lambda files: {str(one.get("file", one.get("directory"))): _content(one) for one in files},
    "effects_within_step": _effects,
    "entries": lambda files: {Path(one["file"]).name: size_in_words(one["bytes"]) for one in files},
    "frame_size": _size,
    "frame_sizes": lambda sizes: ", ".join(map(_size, sizes)),
    "graph": _graph,
    "groups": lambda groups: {name: " + ".join(members) for name, members in groups.items()},
    "identifiability": _identifiability,
    "notes": "; ".join,
}
#: Counts by name that are told as shares, and the key of what they are shares of.
_SHARES = {"steps_with_intervention": "steps", "triplets_from_image_2": "triplets"}
