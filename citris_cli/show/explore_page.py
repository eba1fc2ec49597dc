"""The page to play with a model, as HTML: what it knows of the model; all else it asks of the server that it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from citris_cli.show.latents import Group
from citris_cli.show.page import STYLE, embedded_json, filled, text
from citris_cli.wording import counted, size_in_words

TEMPLATE = "explore_page.html"


@dataclass(frozen=True)
class PageVariable:
    """A variable with its control.

    Attributes:
        latents: its name, its latents and its colours.
        control: ``slider``, ``dial``, ``buttons``, or ``none`` where nothing can be set.
        places: how many values the control has.
        group: the name that it shares with other variables, or None.
    """

    latents: Group
    control: str
    places: int
    group: str | None


@dataclass(frozen=True)
class PageModel:
    """What the page knows before it asks anything.

    Attributes:
        name: of the model.
        place: where it comes from.
        width, height: of a frame in pixels, with all its panels.
        variables: in order.
        rest: psi(0).
        samples: their names.
    """

    name: str
    place: str
    width: int
    height: int
    variables: Sequence[PageVariable]
    rest: Group
    samples: Sequence[str]


def explore_page(model: PageModel, most_bytes: int, nonce: str) -> str:
    """The page.

    Args:
        model: what it knows.
        most_bytes: of a picture's file that the server takes.
        nonce: what its scripts and styles carry, so that the server's policy lets them be.
    """
    data = {
        "width": model.width,
        "height": model.height,
        "variables": [
            {
                **_group(one.latents),
                "control": one.control,
                "places": one.places,
                "group": one.group,
            }
            for one in model.variables
        ],
        "rest": _group(model.rest),
        "samples": list(model.samples),
        "mostBytes": most_bytes,
        "mostSaid": size_in_words(most_bytes),
    }
    latents = sum(len(one.latents.latents) for one in model.variables) + len(model.rest.latents)
    values = {
        "style": STYLE,
        "name": text(model.name),
        "about": text(f"{counted(len(model.variables), 'variable')}, {counted(latents, 'latent')}: {model.place}"),
        "data": embedded_json(data),
        "nonce": text(nonce),
    }
    return filled(TEMPLATE, values)


def _group(group: Group) -> dict[str, object]:
    return {"name": group.name, "latents": len(group.latents), "light": group.light, "dark": group.dark}
