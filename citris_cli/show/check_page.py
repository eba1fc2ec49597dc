"""What a check of a dataset found, as one self-contained HTML page: verdict, tables, heat-maps, first frames."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from citris_cli.evaluation.data_check.report import LAGS, Alignment, DataCheck, VariableCheck
from citris_cli.show.check_style import STYLE
from citris_cli.show.colours import variable_colours
from citris_cli.show.heat import heat, ink
from citris_cli.show.page import beginning, data_uri, scrolling, text
from citris_cli.show.panels import panel_count, panels
from citris_cli.wording import counted, described_channels

#: Bytes that all pixels of the heat-maps, and all of the first frames, may take before they are compressed.
HEAT_BYTES, SHEET_BYTES = 500_000, 1_300_000
#: Places that are listed of one fault, and names below one frame.
MOST_PLACES, MOST_MARKS = 20, 8
#: More variables than this have small heat-maps, and a matrix in small letters on paper.
MANY = 12
#: Shades of a heat-map: of the frame beneath and of the change above. Their product is all that a palette can hold.
GREYS, SHADES = 8, 32
#: Colours of the change, from little to much; its square root is how far along it stands and how much it covers.
RAMP = ((120, 28, 109), (237, 105, 37), (252, 255, 164))
#: The brightest grey of a frame beneath a heat-map, 0 … 255, so that the largest changes are the brightest of all.
BRIGHTEST = 120
#: A bar of ratios reaches to this at least, so that small differences look small.
LEAST_AXIS = 2.0

#: Words for what is so, what is not and what cannot be told, and the tone of each where yes is good.
_ANSWERS = {True: ("yes", "good"), False: ("no", "bad"), None: ("cannot tell", "unsure")}

Array = np.ndarray[Any, Any]


def check_page(check: DataCheck) -> str:
    """The page.

    It has no scripts, fetches nothing, and takes less than 3 MB whatever the size of the frames.

    Args:
        check: what was found. Names and sentences may hold anything; they are shown as text.
    """
    sections = (
        ("variables", "Do the interventions show?", _variables(check)),
        ("together", "Which variables are intervened on together?", _together(check)),
        ("identifiability", "Can the variables be identified?", _identifiability(check)),
        ("within-step", "Can effects within a step be identified?", _within_step(check)),
        ("alignment", "Do targets and frames belong together?", _alignment(check.alignment)),
        ("faults", "Are the frames sound?", _faults(check)),
        ("sheet", "The first frames", _sheet(check)),
    )
    parts = [
        beginning(f"{check.data}: citris check", STYLE),
        f'<main class="{"many" if len(check.variables) > MANY else "few"}"><h1>Check of {text(check.data)}</h1>',
        _facts(check),
        _verdict(check),
        '<nav aria-label="Sections">',
        *(f'<a href="#{name}">{title}</a>' for name, title, _ in sections),
        "</nav>",
        *(
            f'<section id="{name}" aria-labelledby="{name}-title">'
            f'<h2 id="{name}-title">{title}</h2>\n{content}</section>'
            for name, title, content in sections
        ),
        "</main></body></html>\n",
    ]
    return "\n".join(parts)


def _facts(check: DataCheck) -> str:
    height, width = check.size
    facts = {
        "Frames": f"{check.frames:,}",
        "Size": f"{width} × {height} pixels",
        "Channels": f"{check.channels} ({described_channels(check.channels)})",
        "Steps": f"{check.steps:,} in {counted(check.episodes, 'episode')}",
        "Without intervention": f"{counted(check.without, 'step')}{_share(check.without, check.steps)}",
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts.items())}</dl>"


def _share(part: int, whole: int) -> str:
    return f" ({part / whole:.1%})" if whole else ""


def _verdict(check: DataCheck) -> str:
    if check.problems:
        tone, verdict = "bad", f"{counted(len(check.problems), 'problem')} found"
    elif check.unchecked:
        tone, verdict = "unsure", "No problem found, but not everything could be checked"
    else:
        tone, verdict = "good", "No problem found: these data are fit to learn from"
    lists = {"Problems, the gravest first": check.problems, "Hints": check.hints, "Not checked": check.unchecked}
    told = "".join(f"<h3>{title}</h3>{_list(map(_sentence, items))}" for title, items in lists.items() if items)
    return f'<section id="verdict" class="{tone}" aria-label="Verdict"><p>{verdict}</p>{told}</section>'


def _sentence(words: str) -> str:
    """A sentence in which no option, such as ``--imperfect-variables``, goes over the end of a line."""
    return re.sub(r"--[a-z]+(?:-[a-z]+)*", r'<span class="option">\g<0></span>', text(words))


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _note(words: str) -> str:
    return f'<p class="quiet">{words}</p>'


def _name(name: str) -> str:
    """A name in any script, which does not turn the direction of what stands beside it."""
    return f"<bdi>{text(name)}</bdi>"


def _variables(check: DataCheck) -> str:
    if not check.variables:
        return _note("No variable is intervened on.")
    top = max((float(one.heat.max()) for one in check.variables if one.heat is not None), default=0.0)
    axis = _axis([one.ratio for one in check.variables])
    columns = (
        "Variable", "Where the frame changes", "Interventions", "Alone", "Change ratio", "Shows",
        "Depends on the past",
    )  # fmt: skip
    rows = "".join(_variable(one, check, top, axis, columns) for one in check.variables)
    note = _note(
        "Change ratio: how much the frame changes in steps with an intervention on the variable, divided by how much "
        "it changes in steps with none. Bars start at 1, where nothing shows, and are logarithmic. A perfect "
        "intervention sets a value whatever the frame before was; where values still depend on the past, see "
        "<code>--imperfect-variables</code>."
    )
    return note + _table("Interventions on each variable", columns, rows, _legend(top))


def _table(label: str, columns: Sequence[str], rows: str, caption: str = "", kind: str = "folding") -> str:
    """A table; by its roles it stays one to screen readers in every layout.

    Args:
        label: what it is called, plain text.
        columns: plain text.
        rows: HTML, of :func:`_row`.
        caption: HTML.
        kind: ``folding``, a row's cells stand below each other on a narrow page, or ``short``, for few columns.
    """
    head = "".join(f'<th role="columnheader" scope="col">{column}</th>' for column in columns)
    above = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<table class="list {kind}" role="table" aria-label="{label}">{above}'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{rows}</tbody></table>'
    )


def _row(columns: Sequence[str], heading: str, cells: Sequence[str]) -> str:
    named = zip(columns[1:], cells, strict=True)
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{heading}</th>'
        + "".join(f'<td role="cell" data-label="{column}"><div>{cell}</div></td>' for column, cell in named)
        + "</tr>\n"
    )


def _variable(
    one: VariableCheck, check: DataCheck, top: float, axis: tuple[float, float], columns: Sequence[str]
) -> str:
    shows, tone = _ANSWERS[one.shows]
    depends = _ANSWERS[one.depends][0]
    hint = ' class="unsure"' if one.depends else ""
    cells = (
        _map(one, check, top),
        f"{one.interventions:,}{_share(one.interventions, check.steps)}",
        f"{one.alone:,}",
        _bar(one.ratio, axis),
        f'<span class="{tone}">{shows}</span>',
        f"<span{hint}>{depends}</span>",
    )
    return _row(columns, _name(one.name), cells)


def _map(one: VariableCheck, check: DataCheck, top: float) -> str:
    if one.heat is None:
        return '<span class="quiet">–</span>'
    factor = _reduction(len(check.variables) * one.heat.size, HEAT_BYTES)
    picture = heat_picture(_largest(one.heat, factor), _beneath(check, factor), top)
    if one.heat.max() > 0:
        row, column = np.unravel_index(int(one.heat.argmax()), one.heat.shape)
        where = f", most at pixel {column} from the left and {row} from the top"
    else:
        where = ": nowhere"
    return _img(picture, f"Where the frame changes with {one.name}{where}", "map")


def _img(picture: Image.Image, alt: str, kind: str = "") -> str:
    """A picture; one of few pixels is enlarged without smoothing."""
    kind = f"{kind} pixels" if picture.width <= 128 else kind
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img class="{kind.strip()}" {size} alt="{text(alt)}" style="height:auto" src="{data_uri(picture)}">'


def _reduction(size: int, most: int) -> int:
    """By what whole factor pictures are made smaller to take no more pixels than allowed."""
    return max(1, math.ceil(math.sqrt(size / most)))


def _largest(values: Array, factor: int) -> Array:
    """A map made smaller by a whole factor; a pixel is the largest of those it stands for, so that nothing is lost."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % factor), (0, -width % factor)), mode="edge")
    return padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor).max((1, 3))


def _beneath(check: DataCheck, factor: int) -> Array:
    """The first frame in grey, float [H, W] of 0 … 1, to see what is where; black where there is no frame."""
    height, width = check.size
    if len(check.sheet) == 0:
        return np.zeros((-(-height // factor), -(-width // factor)))
    colours = panels(check.sheet[0])[:height]
    return np.asarray(Image.fromarray(colours).convert("L").reduce(factor)) / 255


def heat_picture(change: Array, beneath: Array, top: float) -> Image.Image:
    """A map of changes in colour over a dim frame.

    Args:
        change: float [H, W], 0 or more.
        beneath: float [H, W], grey of 0 … 1.
        top: the change with the last colour of :data:`RAMP`.

    Returns:
        A picture with a palette, of H × W pixels.
    """
    share = np.sqrt((change / top).clip(0, 1)) if top > 0 else np.zeros_like(change)
    entries = (beneath * (GREYS - 1)).round() * SHADES + (share * (SHADES - 1)).round()
    picture = Image.fromarray(entries.astype(np.uint8))
    along = np.linspace(0, 1, SHADES)
    colours = np.stack([np.interp(along, np.linspace(0, 1, len(RAMP)), channel) for channel in zip(*RAMP, strict=True)])
    greys = np.linspace(0, BRIGHTEST, GREYS)[:, None, None]
    palette = greys * (1 - along)[:, None] + (colours.T * along[:, None])
    picture.putpalette(palette.round().astype(np.uint8).tobytes())
    return picture


def _legend(top: float) -> str:
    if top == 0:
        return ""
    ramp = np.tile(np.linspace(0, 1, 192) ** 2, (16, 1))
    beneath = np.repeat([0.0, 1.0], 8)[:, None].repeat(192, 1)
    colours = f'<img class="ramp" alt="" src="{data_uri(heat_picture(ramp, beneath, 1.0))}">'
    numbers = "".join(f"<span>{value:.2g}</span>" for value in (0, top / 4, top))
    return (
        f'<span class="scale" role="img" aria-label="Colours from 0 to {top:.2g}">{colours}{numbers}</span><br>'
        '<span class="quiet">Mean change of a pixel beyond that in steps with none, for intensities of 0 to 1; above '
        "dark and above bright parts of the first frame.</span>"
    )


def _axis(ratios: Iterable[float | None]) -> tuple[float, float]:
    """Ends of the axis that ratios share, as logarithms: 0, which stands for a ratio of 1, is on it."""
    logs = [math.log(ratio) for ratio in ratios if ratio is not None and 0 < ratio < math.inf]
    return max(-math.log(100), min([0.0, *logs])), max([math.log(LEAST_AXIS), *logs])


def _bar(ratio: float | None, axis: tuple[float, float]) -> str:
    if ratio is None or math.isnan(ratio):
        return '<span class="quiet">–</span>'
    low, high = axis
    value = min(max(math.log(ratio), low), high) if ratio > 0 else low
    start, zero = ((one - low) / (high - low) * 100 for one in (min(value, 0.0), 0.0))
    length = abs(value) / (high - low) * 100
    shown = "∞" if ratio == math.inf else f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"
    return (
        f'<span class="bar"><b>{shown}</b><span class="track" aria-hidden="true">'
        f'<i style="left:{start:.1f}%;width:{length:.1f}%"></i><u style="left:{zero:.1f}%"></u></span></span>'
    )


def _together(check: DataCheck) -> str:
    names = [one.name for one in check.variables]
    if len(names) < 2:
        return _note("Only one variable is intervened on." if names else "No variable is intervened on.")
    counts = check.together
    labels = [f'<span title="{text(name)}">{_name(name)}</span>' for name in names]
    rows = "".join(
        f'<tr><th scope="row">{label}</th>{"".join(_cell(counts, i, j) for j in range(len(names)))}</tr>\n'
        for i, label in enumerate(labels)
    )
    head = "".join(f'<th scope="col">{label}</th>' for label in labels)
    table = f'<table class="matrix"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>'
    note = _note(
        "Number of steps with interventions on both; framed, those on the variable itself. The darker a cell, the "
        "greater its share of the interventions on the rarer of the two: in the darkest, that one is never intervened "
        "on without the other."
    )
    return note + scrolling(table, "Steps with interventions on two variables")


def _cell(counts: Array, i: int, j: int) -> str:
    if i == j:
        return f'<td class="own">{counts[i, i]:,}</td>'
    share = float(counts[i, j] / max(1, min(counts[i, i], counts[j, j])))
    (red, green, blue), (r, g, b) = heat(share), ink(share)
    return f'<td style="background:#{red:02x}{green:02x}{blue:02x};color:#{r:02x}{g:02x}{b:02x}">{counts[i, j]:,}</td>'


def _identifiability(check: DataCheck) -> str:
    if not check.variables and not check.findings:
        return _note("No variable is intervened on.")
    words = {True: ("Harder to identify", "unsure"), False: ("Not identifiable", "bad")}
    found = _list(
        f'<span class="{words[finding.identifiable][1]}">{words[finding.identifiable][0]}:</span> '
        f"{text(finding.sentence)}"
        for finding in check.findings
    )
    told = found if check.findings else "<p>Judging by the targets, every variable can be identified.</p>"
    return told + f"<p>A model of these data needs at least {counted(check.latents_needed, 'latent')}.</p>"


def _within_step(check: DataCheck) -> str:
    items = [
        f'{text(one.name.capitalize())} – <span class="{_ANSWERS[one.holds][1]}">{_ANSWERS[one.holds][0]}:</span> '
        f"{text('; '.join(one.sentences))}"
        for one in check.within_step
    ]
    note = _note(
        "Only where variables act on each other before the next frame is taken, and --method icitris is to find how. "
        "It needs all three."
    )
    return note + _list(items)


def _alignment(alignment: Alignment) -> str:
    axis = _axis(alignment.ratios)
    columns = ("Targets moved by", "Change ratio")
    moved = {0: "0 steps, as they are"} | {
        lag: f"{counted(abs(lag), 'step')} {'earlier' if lag > 0 else 'later'}" for lag in LAGS if lag != 0
    }
    rows = "".join(
        _row(columns, moved[lag] + (" – fits best" if lag == alignment.lag else ""), [_bar(ratio, axis)])
        for lag, ratio in zip(LAGS, alignment.ratios, strict=True)
    )
    verdict, tone = {None: ("Cannot tell", "unsure"), 0: ("Aligned", "good")}.get(alignment.lag, ("Not aligned", "bad"))
    sure = ""
    if alignment.confidence is not None and "confidence" not in alignment.sentence:  # which may say it itself
        sure = f" Confidence: {_confidence(alignment.confidence)}."
    note = _note(
        "How much the frame changes in steps with an intervention, divided by how much it changes in the others, with "
        "the targets moved against the frames. It is highest where each target stands at its own step. Bars start at "
        "1 and are logarithmic."
    )
    sentence = text(alignment.sentence.removesuffix("."))
    return (
        f'<p><span class="{tone}">{verdict}:</span> {sentence}.{sure}</p>{note}'
        f"{_table('Change of the frame by lag', columns, rows, kind='short')}"
    )


def _confidence(confidence: float) -> str:
    """A confidence in percent that says 100 % of nothing that is not certain."""
    return "more than 99.9%" if 0.999 < confidence < 1 else f"{confidence:.1%}"


def _faults(check: DataCheck) -> str:
    pictures = check.pictures
    kinds = {
        "Frozen": (pictures.frozen, "equal to the frame before"),
        "Duplicate": (pictures.duplicates, "equal to an earlier frame, not to the one before"),
        "Cuts": (pictures.cuts, "where the picture changes as a whole inside an episode"),
    }
    columns = ("Fault", "Frames", "Where")
    rows = "".join(
        _row(
            columns,
            f'{kind}<br><span class="quiet" style="font-weight:400">{meaning}</span>',
            [
                # Not in the colour of problems: whether they are one is for the verdict to say.
                f"<b>{len(places):,}{_share(len(places), check.frames)}</b>" if places else "none",
                places_in_words(places),
            ],
        )
        for kind, (places, meaning) in kinds.items()
    )
    tone, verdict = {
        True: ("bad", "the frames flicker"),
        False: ("good", "no flicker"),
        None: ("unsure", "cannot tell, too few steps are without an intervention"),
    }[pictures.flickers]
    flicker = (
        f'<p>Brightness: <span class="{tone}">{verdict}</span>; {pictures.flicker:.1%} of the variation over time is '
        "brightness of the frame as a whole, in steps without an intervention.</p>"
    )
    return _table("Faults of the frames", columns, rows) + flicker + _note("Frames are counted from 0 over all files.")


def places_in_words(places: Sequence[int]) -> str:
    """Numbers of frames in a list that ends; neighbours are joined: ``3, 7 to 12 and 5 more``.

    Args:
        places: ascending.
    """
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1] + 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    shown = runs[:MOST_PLACES]
    words = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in shown)
    left = len(places) - sum(last - first + 1 for first, last in shown)
    return words + f" and {left:,} more" if left else words or "–"


def _sheet(check: DataCheck) -> str:
    if len(check.sheet) == 0:
        return _note("There are no frames.")
    names, several = [one.name for one in check.variables], panel_count(check.channels) > 1
    shown = panels(check.sheet)
    if check.channels < 3:
        shown = shown[..., 0]
    # A channel that is shown in grey beside colours is written three times, which compresses to two at most.
    written = check.channels if check.channels <= 3 else 2 * check.channels - 3
    factor = _reduction(check.sheet[..., 0].size * written, SHEET_BYTES)
    frames = "".join(
        _frame(number, Image.fromarray(picture).reduce(factor), [i for i, on in enumerate(targets) if on], names)
        for number, (picture, targets) in enumerate(zip(shown, check.sheet_targets, strict=True))
    )
    below = f" Below {'the first' if check.channels < 3 else 'RGB'}, the other channels in grey." if several else ""
    note = _note(
        f"The first {counted(len(check.sheet), 'frame')} of the first episode, and what was intervened on in the step "
        f"into each.{below}"
    )
    return f"{note}<ol>{frames}</ol>"


def _frame(number: int, picture: Image.Image, marked: Sequence[int], names: Sequence[str]) -> str:
    colours = variable_colours(len(names))
    happened = ", ".join(names[index] for index in marked) or "nothing"
    into = "start" if number == 0 else "" if marked else "no intervention"
    alt = f"Frame {number}" + (f", intervened on: {happened}" if number else "")
    marks = "".join(
        f'<span class="mark" title="{text(names[index])}" style="--light:{colours[index][0]};'
        f'--dark:{colours[index][1]}">{_name(names[index])}</span>'
        for index in marked[:MOST_MARKS]
    )
    if len(marked) > MOST_MARKS:
        marks += f'<span class="quiet" title="{text(happened)}">and {len(marked) - MOST_MARKS} more</span>'
    words = f"{number}{f' <span class=quiet>{into}</span>' if into else ''}"
    return f"<li><figure>{_img(picture, alt)}<figcaption>{words}{marks}</figcaption></figure></li>\n"
