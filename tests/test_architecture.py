"""Who may import whom, and what may stand where: the arrows of the package, read off its sources.

A rule that does not hold is named with file and line, so that what it says can be looked at.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "citris_cli"
ROOT = Path(__file__).parents[1]
#: Parts of the package in which no ``assert`` may stand: under ``python -O`` it would say nothing.
WITHOUT_ASSERT = (PACKAGE,)
#: Where it is decided how an operation is computed, and by how many threads.
OPERATIONS = f"{PACKAGE}.core.ops"


class Import(NamedTuple):
    """A module that another one imports.

    Attributes:
        source: the importing module.
        target: the imported one, a module and not a name in it.
        line: where.
        late: whether only when a function is called.
        typing: whether only for type checkers.
    """

    source: str
    target: str
    line: int
    late: bool
    typing: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by name."""
    return {_name(path): ast.parse(path.read_text()) for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


def _targets(source: str, node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    origin = node.module or ""
    if node.level:
        is_package = (ROOT / source.replace(".", "/") / "__init__.py").exists()
        base = source.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
        origin = ".".join([*base, *([node.module] if node.module else [])])
    # ``from package import module`` imports the module.
    return [f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in modules() else origin for alias in node.names]


def _found(source: str, nodes: Iterable[ast.AST], late: bool = False, typing: bool = False) -> Iterator[Import]:
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for target in _targets(source, node):
                yield Import(source, target, node.lineno, late, typing)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _found(source, node.body, late, True)
            yield from _found(source, node.orelse, late, typing)
        else:
            inside = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _found(source, ast.iter_child_nodes(node), inside, typing)


@lru_cache
def imports() -> tuple[Import, ...]:
    """Every import of the package, those inside functions and for type checkers too."""
    return tuple(one for name, tree in modules().items() for one in _found(name, tree.body))


def within(module: str, *packages: str) -> bool:
    """Whether a module is one of these or inside of one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def in_package(*names: str) -> tuple[str, ...]:
    return tuple(f"{PACKAGE}.{name}" for name in names)


def test_the_sources_are_read() -> None:
    """That the rules below look at something."""
    assert len(modules()) > 80
    assert {one.late for one in imports()} == {one.typing for one in imports()} == {False, True}
    tree = ast.parse(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import x\n"
        "def f():\n    from citris_cli.core import flow\n"
    )
    assert [(one.target, one.late, one.typing) for one in _found(f"{PACKAGE}.a", tree.body)] == [
        ("typing", False, False), ("x", False, True), (f"{PACKAGE}.core.flow", True, False),
    ]  # fmt: skip
    relative = ast.parse("from . import flow\nfrom .ops.flow import composed\nfrom ..core.ops import library")
    assert [one.target for one in _found(f"{PACKAGE}.core.masked", relative.body)] == [
        f"{PACKAGE}.core.flow", f"{PACKAGE}.core.ops.flow", f"{PACKAGE}.core.ops.library",
    ]  # fmt: skip


#: Packages, what of this package they may import (if that is bounded), and what they may not.
ARROWS: dict[str, tuple[tuple[str, ...] | None, tuple[str, ...]]] = {
    "core.ops": (in_package("core.ops"), ()),
    "core": (in_package("core"), ()),
    "data": (None, in_package("training", "commands", "show", "evaluation", "worlds", "recordings", "exploring")),
    "artifacts": (None, in_package("training", "commands", "show", "evaluation", "worlds", "recordings", "exploring")),
    "training": (None, in_package("commands", "show", "recordings", "exploring")),
    "evaluation": (None, in_package("commands", "show", "training", "recordings", "exploring")),
    "show": (None, in_package("commands", "training", "exploring")),
    "worlds": (None, in_package("commands", "training", "exploring")),
    "exploring": (None, in_package("commands", "training", "worlds", "recordings")),
    "recordings": (None, in_package("commands", "training", "show", "evaluation", "worlds")),
}
#: Modules of ``training`` that know those before them and none after, those in one place nothing of each other.
ORDER = (
    ("config",), ("task",), ("files",), ("place", "processes"), ("steps", "record"), ("loop",),
    ("settling", "side_by_side"), ("resuming",), ("plan",), ("restarts",), ("run",), ("api",),
)  # fmt: skip


@pytest.mark.parametrize("package", ARROWS)
def test_arrows_between_packages_point_one_way(package: str) -> None:
    allowed, refused = ARROWS[package]
    wrong = [
        str(one)
        for one in imports()
        if within(one.source, f"{PACKAGE}.{package}")
        and within(one.target, PACKAGE)
        and (within(one.target, *refused) or not (allowed is None or within(one.target, *allowed)))
    ]
    assert not wrong


def test_trainings_are_made_of_layers() -> None:
    place = {f"{PACKAGE}.training.{name}": number for number, names in enumerate(ORDER) for name in names}
    assert place.keys() <= modules().keys()
    wrong = [
        str(one)
        for one in imports()
        if one.source in place
        and one.target in place
        and one.source != one.target
        and place[one.target] >= place[one.source]
    ]
    assert not wrong


def test_the_model_is_in_torch_alone() -> None:
    """And what is for GPUs in Triton, which comes with PyTorch."""
    known = sys.stdlib_module_names | {"torch", PACKAGE}
    wrong = [
        str(one)
        for one in imports()
        if within(one.source, f"{PACKAGE}.core")
        and one.target.partition(".")[0] not in known | ({"triton"} if one.source.endswith("_triton") else set())
    ]
    assert not wrong


def _circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected modules, by Tarjan's algorithm; a module that imports itself is one, too."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(edges[module]):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1 or module in edges[module]:
                circles.append(sorted(circle))

    for module in edges:
        if module not in index:
            visit(module)
    return circles


def _edges(typing_in: tuple[str, ...]) -> dict[str, set[str]]:
    """Imports at module level between modules; those for type checkers of some packages alone."""
    edges: dict[str, set[str]] = {name: set() for name in modules()}
    for one in imports():
        counts = not one.late and (not one.typing or within(one.source, *typing_in))
        if counts and one.target in edges:
            edges[one.source].add(one.target)
    return edges


def test_circles_are_found() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": {"a"}}) == [["b", "c"], ["d"]]
    assert not _circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_no_module_imports_itself_by_way_of_others() -> None:
    """In trainings not even for type checkers: two that know each other's types are one."""
    assert not _circles(_edges(in_package("training")))


def test_how_an_operation_is_computed_is_decided_in_one_place() -> None:
    """Files that state the mathematics ask for no compiled form, no gradient by hand and no number of threads."""
    wrong = []
    for name, tree in modules().items():
        if not within(name, f"{PACKAGE}.core") or within(name, OPERATIONS):
            continue
        for node in ast.walk(tree):
            said = {"usable", "once_differentiable", "get_num_threads", "set_num_threads"}
            if isinstance(node, ast.Attribute):
                used = node.attr in said or ast.unparse(node).endswith("autograd.Function")
            elif isinstance(node, ast.Name):
                used = node.id in said
            else:
                used = isinstance(node, (ast.Import, ast.ImportFrom)) and any(
                    alias.name in {*said, "Function", "ctypes", "library", "c_types"} for alias in node.names
                )
            if used:
                wrong.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert not wrong


def test_nothing_depends_on_assertions() -> None:
    wrong = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, tree in modules().items()
        if within(name, *WITHOUT_ASSERT)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    assert not wrong


#: What takes long to import, and what a command needs only once it runs.
HEAVY = ("torch", "scipy", "PIL", "imageio", "numpy", "safetensors", "skimage")
#: What commands share once they run.
ONCE_THEY_RUN = (f"{PACKAGE}.commands.given_model", f"{PACKAGE}.commands.inputs")


def test_command_modules_are_light() -> None:
    """Help and mistakes in what was typed come at once: nothing heavy is imported before a command runs."""
    names = [name for name in modules() if within(name, f"{PACKAGE}.commands") and name not in ONCE_THEY_RUN]
    script = f"import importlib, sys\nfor name in {[*names, f'{PACKAGE}.app']!r}:\n    importlib.import_module(name)\n"
    command = [sys.executable, "-c", f"{script}print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert {*names, f"{PACKAGE}.app"} <= set(loaded)
    assert not {*HEAVY, *ONCE_THEY_RUN} & set(loaded)


#: What only some operating systems have, or what is another thing on some (``os.kill(process, 0)`` asks whether there
#: is a process, or on Windows interrupts it): modules, and names in them. ``system.py`` knows what to do without.
NOT_EVERYWHERE = {
    "fcntl", "msvcrt", "resource", "windll", "sysconf", "madvise", "MADV_DONTNEED", "SIGHUP", "O_DIRECTORY",
    "sched_getaffinity", "getuid", "fork", "kill",
}  # fmt: skip


def test_what_differs_between_operating_systems_stands_in_one_place() -> None:
    wrong = []
    for name, tree in modules().items():
        if name == f"{PACKAGE}.system":
            continue
        for node in ast.walk(tree):
            said: set[str] = set()
            if isinstance(node, ast.Attribute):
                said = {node.attr}
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                said = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said = {node.value} if node.value in NOT_EVERYWHERE else set(node.value.split("/")[1:2]) & {"proc"}
            if said & (NOT_EVERYWHERE | {"proc"}):
                wrong.append(f"{name}:{node.lineno} says {', '.join(sorted(said))}")
    assert not wrong


def test_that_place_knows_nothing_of_the_package() -> None:
    assert not [str(one) for one in imports() if one.source == f"{PACKAGE}.system" and within(one.target, PACKAGE)]
