"""The page of latents: whole in itself, safe with any name, and driven in a real browser with real keys."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from citris_cli.show.colours import PAPER_DARK, PAPER_LIGHT, rgb
from citris_cli.show.latents import LatentSequence, latent_groups
from citris_cli.show.latents_page import (
    SHEET,
    frames_that_fit,
    latents_page,
    sheet_columns,
    sprite_sheet,
)
from citris_cli.show.page import embedded_json
from tests.browser import Browser
from tests.show.sequences import NAMES, sequence

#: What would end the script, run one of its own, or be replaced once more.
HOSTILE = ("</script><script>document.title='broken'</script>", "<img src=x onerror=alert(1)>&amp;\"'", "{{sheet}}")


def data_of(page: str) -> dict:
    """The numbers that a page brings, found as a browser finds them: up to the first end of a script."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script', page, re.DOTALL | re.IGNORECASE)
    assert found is not None
    return json.loads(found[1])


def test_it_brings_everything_itself() -> None:
    page = latents_page(sequence(5), 5.0)
    text = re.sub(r"base64,[^\"]*", "", page)
    assert not re.search(r"https?:|//\w|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    addresses = re.findall(r"(?:src|href)\s*=\s*[\"']?([^\"'>\s]*)", page)
    assert len(addresses) == 2
    assert all(address.startswith("data:") for address in addresses)
    policy = re.search(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    assert "{{" not in page


def test_it_has_the_numbers_and_the_frames() -> None:
    shown = sequence(5, width=64, first=40)
    page = latents_page(shown, 2.5)
    data = data_of(page)
    np.testing.assert_allclose(data["z"], shown.z, atol=1e-4)
    np.testing.assert_allclose(data["ranges"], shown.ranges, atol=1e-4)
    assert (data["first"], data["rate"], data["width"]) == (40, 2.5, 64)
    assert [(group["name"], group["latents"]) for group in data["groups"]] == [
        ("ball_y", [0, 3]),
        ("box", [2]),
        ("lamp", []),
        ("psi(0)", [1]),
    ]
    assert data["marked"] == [[], [1], [2], [], []]
    assert data["captions"][2] == "intervened on: lamp, wind"
    sheet = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert sheet is not None
    with Image.open(io.BytesIO(base64.b64decode(sheet[1]))) as picture:
        pixels = np.asarray(picture)
    for number, image in enumerate(shown.images):
        y, x = number // data["columns"] * 64, number % data["columns"] * 64
        np.testing.assert_array_equal(pixels[y : y + 64, x : x + 64], image)


def test_names_stay_names() -> None:
    shown = dataclasses.replace(sequence(3, names=HOSTILE), title=HOSTILE[0] + HOSTILE[2], source="a\u202eb")
    page = latents_page(shown, 5.0)
    assert page.lower().count("<script") == page.lower().count("</script") == 2
    assert "<img src=x" not in page
    data = data_of(page)
    assert [group["name"] for group in data["groups"]] == [*HOSTILE, "psi(0)"]
    assert "{{sheet}}</h1>" in page
    assert data["source"] == r"a\u202eb"
    text = embedded_json(["</script>", "<!--", "]]>", "&lt;", "\u2028"])
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == ["</script>", "<!--", "]]>", "&lt;", "\u2028"]


@pytest.mark.parametrize("panels", range(1, 7))
@pytest.mark.parametrize("width", [32, 48, 64, 128, 208, 256])
def test_as_many_frames_as_fit_make_a_sheet_that_browsers_show(width: int, panels: int) -> None:
    height = panels * width
    most = frames_that_fit(width, height, 16)
    for count in (most, most - 1, most // 2, 1):
        columns = sheet_columns(count, height, width)
        assert columns * width <= SHEET
        assert -(-count // columns) * height <= SHEET
    assert frames_that_fit(width, height, 1_000_000) == 2
    one = sprite_sheet(np.full((1, height, width, 3), 7, np.uint8), sheet_columns(1, height, width))
    assert one.size == (width, height)


def opened(browser: Browser, folder: Path, shown: LatentSequence, rate: float = 5.0) -> None:
    path = folder / "page.html"
    path.write_text(latents_page(shown, rate), encoding="utf-8")
    browser.events.clear()
    browser.open(path)


def check(browser: Browser, shown: LatentSequence, number: int) -> None:
    """The page shows a frame: its pixels, its number, its values and bars, its interventions, its slider."""
    assert browser.value("slider.value") == str(number)
    assert browser.value("document.getElementById('number').textContent") == f"frame {shown.first + number}"
    assert browser.value("document.getElementById('caption').textContent") == shown.caption(number)
    width = shown.images.shape[1]
    pixels = browser.value(f"Array.from(context.getImageData(0, 0, {width}, {width}).data)")
    np.testing.assert_array_equal(np.reshape(pixels, (width, width, 4))[..., :3], shown.images[number])
    latents = [latent for group in shown.groups for latent in group.latents]
    values = browser.value("[...document.querySelectorAll('[role=meter]')].map((m) => m.getAttribute('aria-valuenow'))")
    np.testing.assert_allclose([float(value) for value in values], shown.z[number, latents], atol=1e-4)
    texts = browser.value("[...document.querySelectorAll('.row > :last-child')].map((node) => node.textContent)")
    numbers = [float(text.replace("−", "-")) for text in texts]
    np.testing.assert_allclose(numbers, shown.z[number, latents], atol=6e-4)
    # Bars end where their values are on the axis, as seen on the screen.
    boxes = browser.value(
        "[...document.querySelectorAll('.track')].map((track) => { const all = track.getBoundingClientRect();"
        "const bar = track.querySelector('.bar').getBoundingClientRect();"
        "return [(bar.left - all.left) / all.width, (bar.right - all.left) / all.width]; })"
    )
    low, high = shown.limits
    ends = np.sort(np.stack([np.zeros(len(latents)), shown.z[number, latents]], axis=1), axis=1)
    np.testing.assert_allclose(boxes, (ends - low) / (high - low), atol=0.01)
    marked = browser.value("[...document.querySelectorAll('.group')].map((g) => g.classList.contains('marked'))")
    assert [index for index, on in enumerate(marked) if on] == shown.marked(number)


def test_keys_and_the_slider_move_through_the_frames(browser: Browser, tmp_path: Path) -> None:
    shown = sequence(25, first=100)
    opened(browser, tmp_path, shown)
    check(browser, shown, 0)
    for key, number in (
        ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("PageDown", 11), ("End", 24), ("ArrowRight", 24),
        ("PageUp", 14), ("Home", 0), ("ArrowLeft", 0),
    ):  # fmt: skip
        browser.press(key)
        check(browser, shown, number)
    browser.value("slider.focus()")
    browser.press("ArrowRight")
    check(browser, shown, 1)  # one frame, although the slider understands the key too
    assert browser.value("slider.getAttribute('aria-valuetext')") == "frame 101, intervened on: box"
    browser.click("#slider")
    check(browser, shown, 12)
    assert browser.complaints() == []
    assert all(address.startswith(("file://", "data:")) for address in browser.requested())


def test_it_plays_and_pauses(browser: Browser, tmp_path: Path) -> None:
    shown = sequence(4)
    opened(browser, tmp_path, shown, rate=20.0)
    label = "document.getElementById('play').textContent"
    assert browser.value(label) == "Play"
    for start in (lambda: browser.press(" "), lambda: browser.click("#play")):
        browser.value("window.seen = new Set()")
        browser.value("window.timer_ = setInterval(() => window.seen.add(slider.value), 5); 0")
        start()
        assert browser.value(label) == "Pause"
        browser.wait("window.seen.size === 4")  # to the end, and from the start again
        start()
        assert browser.value(label) == "Play"
        stopped = int(browser.value("clearInterval(window.timer_); slider.value"))
        browser.value("new Promise((done) => setTimeout(done, 200))")
        check(browser, shown, stopped)


def test_variables_are_chosen_and_values_hovered(browser: Browser, tmp_path: Path) -> None:
    shown = sequence(3)
    opened(browser, tmp_path, shown)
    visible = "[...document.querySelectorAll('.group')].map((group) => group.offsetHeight > 0)"
    assert browser.value(visible) == [True] * 4
    browser.click("#choices label:nth-child(2) input")
    assert browser.value(visible) == [True, False, True, True]
    browser.press(" ")  # the box that has the focus takes the key, and nothing plays
    assert browser.value(visible) == [True] * 4
    assert browser.value("document.getElementById('play').textContent") == "Play"
    browser.point_at("#group-0 .row:nth-of-type(2) .track")
    tip = "document.getElementById('tip').hidden ? null : document.getElementById('tip').textContent"
    assert browser.value(tip) == "z3 of ball_y: 0.400 (0.400 … 1.200 over these frames)"
    browser.press("ArrowRight")
    assert browser.value(tip) == "z3 of ball_y: 0.800 (0.400 … 1.200 over these frames)"
    browser.point_at("h1")
    assert browser.value(tip) is None


def test_light_and_dark_and_every_control_named(browser: Browser, tmp_path: Path) -> None:
    shown = sequence(3)
    opened(browser, tmp_path, shown)
    for scheme, paper, name in (("dark", PAPER_DARK, "dark"), ("light", PAPER_LIGHT, "light")):
        browser.prefer(scheme)
        background = browser.value("getComputedStyle(document.body).backgroundColor")
        assert background == f"rgb{rgb(paper)}"
        bar = browser.value("getComputedStyle(document.querySelector('#group-0 .bar')).backgroundColor")
        assert bar == f"rgb{rgb(getattr(shown.groups[0], name))}"
    browser.call("Accessibility.enable")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert named["slider"] == ["Frame"]
    assert named["button"] == ["Play"]
    assert named["checkbox"] == ["ball_y (2)", "box (1)", "lamp (0)", "psi(0) (1)"]
    owners = ((0, NAMES[0]), (3, NAMES[0]), (2, NAMES[1]), (1, "psi(0)"))
    assert named["meter"] == [f"latent z{latent} of {name}" for latent, name in owners]
    assert all(named["combobox"])
    assert "frame 0" in named["image"]


def test_of_many_panels_the_controls_stay_in_sight(browser: Browser, tmp_path: Path) -> None:
    tall = np.zeros((3, 32, 32, 8), np.uint8)
    opened(browser, tmp_path, dataclasses.replace(sequence(3), images=tall))
    box = browser.value("frame.getBoundingClientRect().toJSON()")
    assert box["height"] == pytest.approx(6 * box["width"], rel=0.02)
    assert browser.value("slider.getBoundingClientRect().bottom < innerHeight")


def test_hostile_names_do_nothing_and_many_latents_start_thin(browser: Browser, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    groups = latent_groups(HOSTILE, np.repeat([0, 1, 2, 3], [2, 2, 2, 34]))
    shown = dataclasses.replace(
        sequence(3), title=HOSTILE[0], groups=groups, z=rng.normal(size=(3, 40)).astype(np.float32)
    )
    opened(browser, tmp_path, shown)
    check(browser, shown, 0)
    assert browser.value("document.title") == f"{HOSTILE[0]}: causal latents"
    headings = browser.value("[...document.querySelectorAll('.group h2 > :nth-child(2)')].map((n) => n.textContent)")
    assert headings == [*HOSTILE, "psi(0)"]
    assert browser.complaints() == []
    height = "document.getElementById('group-3').offsetHeight"
    thin = browser.value(height)
    edges = browser.value(
        "[...document.querySelectorAll('#group-3 .bar')].map((b) => b.getBoundingClientRect())"
        ".map((b) => [b.top, b.bottom])"
    )
    assert all(bottom - top >= 3 for top, bottom in edges)
    assert all(above[1] <= below[0] for above, below in pairwise(edges))
    assert len(edges) == 34
    browser.click("#group-3 button")
    assert browser.value(height) > 2 * thin
    assert browser.value("document.querySelector('#group-3 button').getAttribute('aria-expanded')") == "true"
