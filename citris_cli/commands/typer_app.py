"""Typer's app, with help that looks the same in all versions of Typer.

Typer 0.29 writes ``<bool>`` beside every flag, as if a value had to follow it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
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

    def narrowed(self, arguments: Sequence[str]) -> typer.Typer:
        """This app with the one command that the arguments begin with, or all of it if they begin with none.

        Typer makes the options of every command before it runs one of them, which takes longer than many commands do.
        """
        name = arguments[0] if arguments else None
        one = copy.copy(self)
        one.registered_commands = [command for command in self.registered_commands if command.name == name]
        one.registered_groups = [group for group in self.registered_groups if group.name == name]
        return one if one.registered_commands or one.registered_groups else self
