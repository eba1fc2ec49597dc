"""The page of a check: complete, well formed, small, safe with any name, and readable in a real browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citris_cli.data.identifiability import Finding
from citris_cli.evaluation.data_check.report import LAGS, Alignment, DataCheck, Pictures, VariableCheck
from citris_cli.evaluation.data_check.within_step import Condition
from citris_cli.show.check_page import BRIGHTEST, RAMP, check_page, heat_picture, places_in_words
from citris_cli.show.colours import PAPER_DARK, PAPER_LIGHT, rgb
from tests.browser import Browser

HOSTILE = (
    "<script>document.title='broken'</script>", "\"' onmouseover='alert(1)", "&lt;b&gt;", "x" * 64, "灯の色", "עומק",
    "a\u202eb\x1b", "</span></table>",
)  # fmt: skip
#: HTML elements that have no end.
VOID = {"meta", "link", "img", "br"}


def a_check(names: tuple[str, ...] = ("ball", "box"), size: tuple[int, int] = (32, 32), channels: int = 3) -> DataCheck:
    """The check of random frames, in which the i-th variable changes pixel (i, 2 i) by (i + 1) / 100."""
    rng = np.random.default_rng(0)
    count = len(names)
    variables = []
    for index, name in enumerate(names):
        heat = np.zeros(size, np.float32)
        heat[index % size[0], 2 * index % size[1]] = (index + 1) / 100
        variables.append(VariableCheck(name, 100 + index, 40 + index, 1.5 + index, True, heat, False))
    together = np.full((count, count), 7, np.int64)
    np.fill_diagonal(together, [one.interventions for one in variables])
    targets = rng.random((6, count)) < 0.5
    targets[0] = False
    return DataCheck(
        data="boxes.npz",
        frames=1000,
        steps=999,
        episodes=1,
        size=size,
        channels=channels,
        without=300,
        variables=tuple(variables),
        together=together,
        findings=(),
        within_step=(
            Condition("perfect interventions", None, ("lamp: who knows",)),
            Condition("targets that differ", True, ("well apart",)),
            Condition("acyclic effects", False, ("<a -> b -> a>",)),
        ),
        latents_needed=count,
        alignment=Alignment((0.98, 1.01, 1.75, 1.02, 1.0), 0, 0.97, "targets and frames belong together"),
        pictures=Pictures((), (), (), 0.01, False),
        sheet=rng.integers(0, 256, (6, *size, channels), dtype=np.uint8),
        sheet_targets=targets,
        problems=(),
        hints=(),
        unchecked=(),
    )


class Outline(HTMLParser):
    """What a page holds; it fails where an element is not closed, or in the wrong order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind that have certain ones."""
        return [found for name, found in self.elements if name == tag and attributes.items() <= found.items()]


def words(page: str) -> str:
    """All that is read on a page, on one line."""
    return " ".join(" ".join(Outline(page).texts).split())


def pictures(page: str, kind: str) -> list[Image.Image]:
    found = [one for one in Outline(page).all("img") if kind in (one.get("class") or "").split()]
    return [Image.open(io.BytesIO(base64.b64decode((one["src"] or "").partition(",")[2]))) for one in found]


@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_every_variable_is_there_with_its_numbers(count: int) -> None:
    check = a_check(tuple(f"joint_{index}" for index in range(count)))
    page = check_page(check)
    outline, read = Outline(page), words(page)
    for index in range(count):
        assert f"joint_{index} {100 + index} ({(100 + index) / 999:.1%}) {40 + index} {1.5 + index:.2f} yes no" in read
    headings = outline.all("th", scope="row")
    assert len(headings) == count + 5 + 3 + (count if count > 1 else 0)  # variables, lags, faults, the matrix
    assert len(pictures(page, "map")) == count
    # No address of a section leads nowhere.
    targets = {found["id"] for _, found in outline.elements if "id" in found}
    assert {(link["href"] or "").removeprefix("#") for link in outline.all("a")} <= targets


def test_the_verdict_says_what_is_wrong_and_what_was_not_checked() -> None:
    check = a_check()
    assert "No problem found: these data are fit to learn from" in words(check_page(check))
    unsure = words(check_page(dataclasses.replace(check, unchecked=("whether rows fit: too few steps",))))
    assert "No problem found, but not everything could be checked Not checked whether rows fit: too few steps" in unsure
    wrong = words(check_page(dataclasses.replace(check, problems=("a is late", "b is seen nowhere"), hints=("try c",))))
    assert "2 problems found Problems, the gravest first a is late b is seen nowhere Hints try c" in wrong
    assert "fit to learn from" not in unsure + wrong


def test_what_is_not_known_is_a_dash_and_no_number() -> None:
    check = a_check(("lamp",))
    nothing = VariableCheck("lamp", 1, 0, None, None, None, None)
    alignment = Alignment((None,) * len(LAGS), None, None, "too few steps to tell")
    page = check_page(dataclasses.replace(check, variables=(nothing,), alignment=alignment))
    read = words(page)
    assert "lamp – 1 (0.1%) 0 – cannot tell cannot tell" in read
    assert "Cannot tell: too few steps to tell." in read
    assert "Confidence" not in read
    assert read.count("earlier –") == read.count("later –") == 2
    assert not re.search(r"\b(None|nan|inf)\b", read)
    assert not pictures(page, "map")
    empty = dataclasses.replace(check, sheet=check.sheet[:0], sheet_targets=check.sheet_targets[:0], steps=0)
    assert "There are no frames." in words(check_page(empty))


@pytest.mark.parametrize("ratio", [0.0, 1e-30, 1.0, 1e9, float("inf"), float("nan")])
def test_a_bar_stays_in_its_track(ratio: float) -> None:
    check = a_check()
    page = check_page(
        dataclasses.replace(check, variables=(dataclasses.replace(check.variables[0], ratio=ratio), check.variables[1]))
    )
    bars = [tuple(map(float, bar)) for bar in re.findall(r'<i style="left:(.*?)%;width:(.*?)%">', page)]
    assert len(bars) == 7 - np.isnan(ratio)
    assert all(left >= 0 and width >= 0 and left + width <= 100.11 for left, width in bars)


def test_lags_are_told_as_what_to_do_with_the_targets() -> None:
    check = a_check()
    late = Alignment((1.0, 1.0, 1.1, 3.0, 1.0), 1, 0.9996, "your targets look one step late; move them")
    read = words(check_page(dataclasses.replace(check, alignment=late)))
    assert "Not aligned: your targets look one step late; move them. Confidence: more than 99.9%." in read
    assert "1 step earlier – fits best 3.00" in read
    itself = dataclasses.replace(late, sentence="your targets look one step late (confidence 0.9996)")
    assert words(check_page(dataclasses.replace(check, alignment=itself))).lower().count("confidence") == 1
    assert "0 steps, as they are – fits best 1.75" in words(check_page(check))


def test_no_option_goes_over_the_end_of_a_line(browser: Browser, tmp_path: Path) -> None:
    hint = "ball: depends on the frame before; train with --imperfect-variables ball"
    for width in range(360, 640, 40):
        opened(browser, tmp_path, dataclasses.replace(a_check(("ball",)), hints=(hint,)), width)
        assert browser.value("document.querySelector('#verdict .option').getClientRects().length") == 1


def test_names_and_sentences_are_text() -> None:
    check = dataclasses.replace(
        a_check(HOSTILE),
        data=HOSTILE[0],
        problems=HOSTILE,
        hints=HOSTILE,
        unchecked=HOSTILE,
        findings=tuple(Finding("equal", HOSTILE, name, False) for name in HOSTILE),
        alignment=Alignment((None,) * len(LAGS), None, None, HOSTILE[0]),
    )
    page = check_page(dataclasses.replace(check, sheet_targets=np.ones_like(check.sheet_targets)))
    outline = Outline(page)
    assert not outline.all("script")
    assert not any(name.startswith("on") for _, found in outline.elements for name in found)
    assert "\u202e" not in page
    assert "\x1b" not in page
    read = words(page)
    for name in HOSTILE:
        shown = r"a\u202eb\x1b" if name.startswith("a\u202e") else name
        assert read.count(shown) >= 8
    page.encode("utf-8")


def test_it_brings_everything_itself() -> None:
    page = check_page(a_check())
    addresses = [found[key] or "" for _, found in Outline(page).elements for key in ("src", "href") if key in found]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?:|@import|url\(", re.sub(r"base64,[^\"]*", "", page))
    policy = Outline(page).all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy[0]["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@pytest.mark.parametrize(
    ("count", "size", "channels", "frames"),
    [
        (20, (256, 256), 3, 24),
        (40, (256, 256), 8, 24),
        (40, (64, 64), 8, 24),
        (2, (96, 160), 1, 64),
        (9, (250, 90), 4, 14),
    ],
)
def test_it_stays_small_and_shows_every_frame(count: int, size: tuple[int, int], channels: int, frames: int) -> None:
    """Noise, which no compression makes smaller, is the worst that frames and changes can be."""
    rng = np.random.default_rng(0)
    check = a_check(tuple(f"v{index}" for index in range(count)), size, channels)
    noise = rng.random(size, dtype=np.float32)
    check = dataclasses.replace(
        check,
        variables=tuple(dataclasses.replace(one, heat=noise) for one in check.variables),
        sheet=rng.integers(0, 256, (frames, *size, channels), dtype=np.uint8),
        sheet_targets=rng.random((frames, count)) < 0.2,
    )
    page = check_page(check)
    assert len(page) < 3_000_000
    shown = [one["alt"] or "" for one in Outline(page).all("img") if (one["alt"] or "").startswith("Frame")]
    assert len(shown) == frames
    for number, alt in enumerate(shown[1:], 1):
        names = [f"v{index}" for index in np.flatnonzero(check.sheet_targets[number])]
        assert alt == f"Frame {number}, intervened on: {', '.join(names) or 'nothing'}"


def test_maps_have_one_scale_and_lose_no_pixel_when_they_are_made_smaller() -> None:
    """The smaller of two changes is the less bright, and a single pixel of 256 × 256 is still in a smaller map."""
    check = a_check(tuple("abcdefghijkl"), (256, 256))
    check = dataclasses.replace(check, sheet=np.zeros_like(check.sheet))
    found = pictures(check_page(check), "map")
    maps = [np.asarray(one.convert("L")) for one in found]
    assert maps[0].shape[0] < 256
    brightest = [int(one.max()) for one in maps]
    assert brightest == sorted(brightest)
    assert brightest[0] < brightest[-1] / 2
    factor = 256 // maps[0].shape[0]
    assert maps[5][5 // factor, 10 // factor] == brightest[5]
    assert np.count_nonzero(maps[5]) == 1
    assert RAMP[-1] in {colour for _, colour in found[-1].convert("RGB").getcolors() or ()}


def test_colours_of_a_map() -> None:
    change = np.array([[0.0, 0.5, 0.5], [0.0, 2.0, 0.125]])
    beneath = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    colours = np.asarray(heat_picture(change, beneath, 0.5).convert("RGB"))
    assert tuple(colours[0, 0]) == (0, 0, 0)
    assert tuple(colours[1, 0]) == (BRIGHTEST,) * 3
    assert tuple(colours[0, 1]) == tuple(colours[0, 2]) == tuple(colours[1, 1]) == RAMP[-1]
    np.testing.assert_allclose(colours[1, 2], np.array(RAMP[1]) / 2, atol=6)  # a quarter of it stands in the middle
    assert not np.asarray(heat_picture(change * 0, beneath * 0, 0.0).convert("RGB")).any()


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ((), "–"),
        ((4,), "4"),
        ((4, 5, 6, 9), "4 to 6, 9"),
        (tuple(range(0, 2000, 2)), ", ".join(map(str, range(0, 40, 2))) + " and 980 more"),
        (tuple(range(5000)), "0 to 4999"),
    ],
)
def test_places_are_a_list_that_ends(places: tuple[int, ...], told: str) -> None:
    assert places_in_words(places) == told


def test_faults_of_frames_are_counted_and_placed() -> None:
    faults = Pictures((3, 4, 5), (7,), (10, 12), 0.42, True)
    read = words(check_page(dataclasses.replace(a_check(), pictures=faults)))
    assert "equal to the frame before 3 (0.3%) 3 to 5" in read
    assert "not to the one before 1 (0.1%) 7" in read
    assert "inside an episode 2 (0.2%) 10, 12" in read
    assert "the frames flicker ; 42.0% of the variation" in read
    assert read.count("none –") == 0
    assert words(check_page(a_check())).count("none –") == 3


def opened(browser: Browser, folder: Path, check: DataCheck, width: int) -> None:
    path = folder / "page.html"
    path.write_text(check_page(check), encoding="utf-8")
    browser.events.clear()
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(path)


@pytest.mark.parametrize("width", [360, 720, 1200])
@pytest.mark.parametrize("count", [1, 40])
def test_only_the_matrix_scrolls_sideways(browser: Browser, tmp_path: Path, width: int, count: int) -> None:
    names = (*HOSTILE, *(f"joint_{index}" for index in range(32))) if count > 1 else ("x" * 64,)
    check = dataclasses.replace(
        a_check(names),
        data="d" * 300,
        problems=("y" * 300, *HOSTILE),
        pictures=Pictures(tuple(range(0, 99999, 3)), (), (), 0.0, False),
    )
    opened(browser, tmp_path, check, width)
    assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert browser.complaints() == []
    assert all(address.startswith(("file://", "data:")) for address in browser.requested())
    assert browser.value("[...document.images].every((picture) => picture.naturalWidth > 0)")
    if count == 40:
        box = "document.querySelector('#together .scroll')"
        assert browser.value(f"{box}.scrollWidth > {box}.clientWidth")
        browser.value(f"{box}.scrollTo(200, 200)")
        # Names stay in sight, beside their rows, and leave room for them.
        assert browser.value(
            f"[...{box}.querySelectorAll('tbody th')].every((name) => "
            f"name.getBoundingClientRect().left === {box}.getBoundingClientRect().left)"
        )
        assert browser.value(f"{box}.querySelector('tbody th').offsetWidth < {box}.clientWidth / 2")
        browser.value(f"{box}.focus()")
        assert browser.value(f"document.activeElement === {box}")


@pytest.mark.parametrize(("scheme", "paper"), [("light", PAPER_LIGHT), ("dark", PAPER_DARK)])
def test_everything_can_be_read(browser: Browser, tmp_path: Path, scheme: str, paper: str) -> None:
    """All text has a contrast of 4.5 or more with what is behind it."""
    check = a_check(("ball", "box", "lamp"))
    answers = [(True, True), (False, False), (None, None)]
    variables = tuple(
        dataclasses.replace(one, shows=shows, depends=depends)
        for one, (shows, depends) in zip(check.variables, answers, strict=True)
    )
    together = np.array([[9, 9, 7], [9, 99, 5], [7, 5, 9]])
    findings = tuple(Finding("equal", ("ball",), "a finding", identifiable) for identifiable in (True, False))
    told = {"problems": ("a",), "hints": ("b",), "unchecked": ("c",)}
    browser.prefer(scheme)
    for lag, lists in ((0, {}), (1, told), (None, {"unchecked": ("c",)})):
        alignment = dataclasses.replace(check.alignment, lag=lag)
        several = {"variables": variables, "together": together, "findings": findings, "alignment": alignment, **lists}
        opened(browser, tmp_path, dataclasses.replace(check, **several), 1200)
        assert browser.value("getComputedStyle(document.body).backgroundColor") == f"rgb{rgb(paper)}"
        pairs = browser.value(
            "[...document.querySelectorAll('body *')]"
            ".filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))"
            ".map((e) => { let b = e; const ground = (x) => getComputedStyle(x).backgroundColor;"
            "while (ground(b) === 'rgba(0, 0, 0, 0)') b = b.parentElement;"
            "return [e.textContent, getComputedStyle(e).color, ground(b)]; })"
        )
        assert len(pairs) > 60
        for text, *colours in pairs:
            darker, lighter = sorted(luminance(colour) for colour in colours)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, colours)


def luminance(colour: str) -> float:
    values = [float(value) / 255 for value in re.findall(r"[\d.]+", colour)[:3]]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def test_a_screen_reader_finds_tables_pictures_and_sections(browser: Browser, tmp_path: Path) -> None:
    for width in (360, 1200):
        opened(browser, tmp_path, a_check(), width)
        browser.call("Accessibility.enable")
        named: dict[str, list[str]] = {}
        for node in browser.call("Accessibility.getFullAXTree")["nodes"]:
            if not node.get("ignored"):
                named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
        for table in ("Interventions on each variable", "Change of the frame by lag", "Faults of the frames"):
            assert table in named["table"]
        assert {"ball", "box", "1 step earlier"} <= set(named["rowheader"])
        assert "Where the frame changes with box, most at pixel 2 from the left and 1 from the top" in named["image"]
        assert all(named["image"])
        assert {"Verdict", "The first frames", "Steps with interventions on two variables"} <= set(named["region"])


def test_what_effects_within_a_step_need_is_told() -> None:
    page = check_page(a_check())
    assert "Can effects within a step be identified?" in page
    for answer in (
        'Perfect interventions – <span class="unsure">cannot tell:</span> lamp: who knows',
        'Targets that differ – <span class="good">yes:</span> well apart',
        'Acyclic effects – <span class="bad">no:</span> &lt;a -&gt; b -&gt; a&gt;',
    ):
        assert answer in page
