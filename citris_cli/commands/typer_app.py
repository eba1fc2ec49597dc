"""Typer's app, with help that looks the same in all versions of Typer.

Typer 0.29 writes ``<bool>`` beside every flag, as if a value had to follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _plain(super().get_params(ctx))


def _plain(parameters: list[Any]) -> list[Any]:
    """Parameters of which the flags, Typer's own --help among them, have no type in the help."""
    for one in parameters:
        if getattr(one, "is_flag", False):  # arguments have no such attribute
            one.metavar = ""
    return parameters


class App(typer.Typer):
    """A Typer app whose commands, and itself, give no type to options that take no value."""

    def __init__(self, **settings: Any) -> None:
        # The help texts are Rich's markup, which is the default of some versions of Typer only.
        super().__init__(cls=_Group, rich_markup_mode="rich", **settings)

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """As Typer's own."""
        return super().command(name, cls=_Command, **settings)
