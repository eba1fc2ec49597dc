"""The options of a training's settings, made of its configurations' fields: help, bounds and defaults stand there."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import partial
from typing import Annotated, Any

import typer

from citris_cli.commands.options import MODEL, TRAINING, choice
from citris_cli.core.config import PRIOR_CONFIGS, WIDTHS, PriorConfig
from citris_cli.training.presets import PRESETS, WIDTH_STEPS

#: Settings that were given, by name.
Changes = Mapping[str, Any]
#: The parameter of a command in whose place the options stand.
CHANGES = "changes"
PresetOf = Callable[[str, int], tuple[Any, Any]]


def with_settings(preset_of: PresetOf) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a training's settings in the place of its parameter ``changes``.

    Args:
        preset_of: configurations of model and training by the name of a preset and the width of the frames.

    Returns:
        A decorator; the command gets those settings that were given, by name.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        derived = {parameter.name: parameter for parameter in _parameters(functools.cache(preset_of))}
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            parameters += derived.values() if parameter.name == CHANGES else [parameter]

        @functools.wraps(command)
        def run(**given: Any) -> None:
            changes = {name: _plain(given.pop(name)) for name in derived}
            command(**given, **{CHANGES: {name: value for name, value in changes.items() if value is not None}})

        # What Typer reads; the signature and the hints of the wrapped command are not looked at.
        keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        vars(run)["__signature__"] = inspect.Signature(keyword)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        del vars(run)["__wrapped__"]
        return run

    return decorate


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _parameters(preset_of: PresetOf) -> Iterator[inspect.Parameter]:
    model, training = preset_of(PRESETS[0], WIDTHS[0])
    for panel, number, config in ((MODEL, 0, model), (TRAINING, 1, training)):
        for field in dataclasses.fields(config):
            if "help" not in field.metadata:
                continue
            value = getattr(config, field.name)
            yield _parameter(field, value, panel, _shown(field, partial(_part, preset_of, number)))
            if isinstance(value, PriorConfig):
                yield from _of_priors(partial(_prior, preset_of, field.name))


def _part(preset_of: PresetOf, number: int, name: str, width: int) -> Any:
    """Configuration of the model (0) or the training (1) that a preset gives for frames of a width."""
    return preset_of(name, width)[number]


def _prior(preset_of: PresetOf, field: str, name: str, width: int) -> PriorConfig:
    """Configuration of the prior that a preset gives."""
    return getattr(preset_of(name, width)[0], field)


def _of_priors(prior_of: Callable[[str, int], PriorConfig]) -> Iterator[inspect.Parameter]:
    """Options of all priors that come with the package, each name once."""
    seen: set[str] = set()
    for form in PRIOR_CONFIGS:
        for field in dataclasses.fields(form):
            if field.name not in seen:
                seen.add(field.name)
                yield _parameter(field, getattr(form(), field.name), MODEL, _shown(field, prior_of))


def _parameter(field: dataclasses.Field[Any], value: Any, panel: str, shown: str) -> inspect.Parameter:
    """The option of one field; without it the preset's value holds."""
    said, option = field.metadata, f"--{field.name.replace('_', '-')}"
    others = ["--method"] if isinstance(value, PriorConfig) else []  # what sets methods apart is their prior
    text = f"{said['help']}  \\[{shown}]"
    common: dict[str, Any] = {"help": text, "rich_help_panel": panel, "show_default": False}
    kind: Any = type(value)
    if isinstance(value, PriorConfig):
        kind = str
    elif kind is bool:
        option += f"/--{said['off'] or 'no-' + field.name.replace('_', '-')}"
    elif kind is str and said["choices"]:
        kind = choice(said["choices"])
    elif kind is tuple:  # of variables, by their names
        kind = str
        common["metavar"] = "LIST"
    elif kind in (int, float):
        common |= {"min": said["least"], "max": said["most"]}
    annotation = Annotated[kind | None, typer.Option(option, *others, **common)]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _shown(field: dataclasses.Field[Any], of: Callable[[str, int], Any]) -> str:
    """What the presets give, as help shows it: ``default: 4``, or ``small: 6, 4 above 32 pixels; paper: 4``."""
    if field.metadata["shown"]:
        return f"default: {field.metadata['shown']}"
    each = {}
    for name in PRESETS:
        first, *wider = (
            _word(field, getattr(of(name, width), field.name, field.default))
            for width in (WIDTHS[0], *(step + WIDTHS.step for step in WIDTH_STEPS))
        )
        each[name], before = first, first
        for step, word in zip(WIDTH_STEPS, wider, strict=True):
            each[name] += f", {word} above {step} pixels" if word != before else ""
            before = word
    if len(set(each.values())) == 1:
        return f"default: {each[PRESETS[0]]}"
    return "; ".join(f"{name}: {word}" for name, word in each.items())


def _word(field: dataclasses.Field[Any], value: Any) -> str:
    if isinstance(value, PriorConfig):
        return value.name
    if isinstance(value, bool):
        yes, no = field.name.replace("_", "-"), field.metadata["off"] or f"no-{field.name.replace('_', '-')}"
        return yes if value else no
    return f"{value:g}" if isinstance(value, float) else str(value)
