"""The page in a real browser, with real keys, a real mouse and the real server."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from citris_cli.causal_model import CausalModel
from citris_cli.exploring.answers import Sample
from citris_cli.exploring.server import ExploreServer
from citris_cli.exploring.workbench import PLACES
from citris_cli.show.colours import DARK, LIGHT, PAPER_DARK, PAPER_LIGHT, rgb
from tests.browser import Browser
from tests.exploring.models import HOSTILE, VARIABLES, small_model
from tests.exploring.serving import served
from tests.exploring.test_workbench import FRAMES, png

#: What the page can set, in order.
SET = [name for name in VARIABLES.names if name != "lost"]


def offered(count: int) -> list[Sample]:
    """So many samples."""
    return [Sample(f"folder/s{number}.png", FRAMES[number % 3]) for number in range(count)]


@pytest.fixture(scope="module")
def server() -> Iterator[ExploreServer]:
    with served(small_model(), offered(30)) as made:
        yield made


@pytest.fixture
def page(browser: Browser, server: ExploreServer) -> Iterator[Browser]:
    """The page, which has done nothing yet."""
    size(browser, 1360, 900)
    opened(browser, server.url)
    yield browser
    assert browser.complaints() == []
    assert all(address.startswith((server.url, "data:")) for address in browser.requested())


def size(browser: Browser, width: int, height: int, mobile: bool = False) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)


def opened(browser: Browser, url: str) -> None:
    browser.call("Page.navigate", url="about:blank")
    browser.wait("location.href === 'about:blank'")
    browser.events.clear()
    browser.open(url)


def settle(page: Browser) -> None:
    """Wait until nothing is being computed."""
    page.wait("!asking && queue.length === 0")


def text(page: Browser, selector: str) -> str:
    return page.value(f"document.querySelector({selector!r}).textContent")


def state(page: Browser) -> dict[str, Any]:
    """The step that is shown, as the page keeps it."""
    return page.value("(({z, moved, places, set, start}) => ({z, moved, places, set, before: start.z}))(steps[at])")


def shown(page: Browser, name: str = "picture") -> np.ndarray:
    """The pixels of a picture on the page."""
    address = page.value(f"document.getElementById('{name}').src")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture)


def changed(page: Browser, do: Callable[[], object]) -> list[int]:
    """Which latents something changes; the picture is then that of the new ones."""
    before = state(page)["z"]
    do()
    settle(page)
    after = state(page)["z"]
    return [index for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]


def check(page: Browser, model: CausalModel) -> None:
    """What stands on the page is what the model says of the latents that the page has."""
    now = state(page)
    picture = model.decode(np.array([now["z"]]))
    np.testing.assert_array_equal(shown(page), picture[0])
    moved = model.moved(np.array([now["before"]]), model.encode(picture))
    rows = page.value(
        "[...document.querySelectorAll('#report tbody tr')]"
        ".map((row) => [row.cells[0], row.cells[2]].map((cell) => cell.textContent))"
    )
    assert [name for name, _ in rows] == [*SET, "psi(0)"]
    for name, value in rows:
        assert float(value) == pytest.approx(moved[name][0], abs=0.006)
    marked = page.value("[...document.querySelectorAll('#report .set th')].map((cell) => cell.textContent)")
    assert marked == now["set"]


def test_it_starts_with_the_first_sample(page: Browser, server: ExploreServer) -> None:
    np.testing.assert_array_equal(shown(page, "original"), FRAMES[0, 0])
    assert text(page, "#original-name") == "s0.png"
    assert state(page)["set"] == []
    disabled = "['undo', 'redo', 'reset'].map((id) => document.getElementById(id).disabled)"
    assert page.value(disabled) == [True, True, True]
    check(page, small_model())


def test_a_slider_moves_one_variable_with_keys_and_mouse(page: Browser) -> None:
    page.value("document.querySelector('.walk input').focus()")
    assert changed(page, lambda: page.press("End")) == [0]
    assert state(page)["places"][0] == PLACES - 1
    assert changed(page, lambda: page.press("ArrowLeft")) == [0]
    assert state(page)["places"][0] == PLACES - 2
    assert page.value("document.querySelector('.walk input').getAttribute('aria-valuetext')") == "place 47 of 48"
    assert state(page)["set"] == ["x"]
    check(page, small_model())
    assert page.value("steps.length") == 2  # moves of one slider at once are one step
    assert changed(page, lambda: page.click(".walk input")) == [0]
    assert state(page)["places"][0] in range(PLACES // 2 - 2, PLACES // 2 + 2)
    check(page, small_model())


def test_a_dial_is_closed(page: Browser) -> None:
    dial = "document.querySelector('.dial')"
    page.value(f"{dial}.focus()")
    page.press("Home")
    settle(page)
    assert changed(page, lambda: page.press("ArrowLeft"))  # from the first place to the last
    assert state(page)["places"][2] == PLACES - 1
    page.press("ArrowRight")
    settle(page)
    assert state(page)["places"][2] == 0
    page.press("PageUp")
    settle(page)
    assert state(page)["places"][2] == PLACES // 12
    assert page.value(f"{dial}.getAttribute('aria-valuenow')") == "4"
    check(page, small_model())
    # By hand: to the right is a quarter of a turn.
    page.click("h1")
    place = page.point_at(".dial")
    radius = page.value(f"{dial}.getBoundingClientRect().width / 2") * 0.76
    mouse = lambda kind, x, y: page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)  # noqa: E731
    mouse("mousePressed", place["x"], place["y"] - radius)
    for angle in np.linspace(0, np.pi / 2, 7):
        mouse("mouseMoved", place["x"] + radius * np.sin(angle), place["y"] - radius * np.cos(angle))
    settle(page)
    assert state(page)["places"][2] == PLACES // 4
    mouse("mouseReleased", place["x"] + radius, place["y"])
    mouse("mouseMoved", place["x"], place["y"] + radius)  # nothing holds it any more
    settle(page)
    assert state(page)["places"][2] == PLACES // 4


def test_a_categorical_variable_has_a_button_for_each_value(page: Browser) -> None:
    pressed = "[...document.querySelectorAll('.values button')].map((button) => button.getAttribute('aria-pressed'))"
    page.click(".values button:nth-child(3)")
    settle(page)
    assert page.value(pressed) == ["false", "false", "true"]
    assert changed(page, lambda: page.click(".values button:nth-child(1)")) == [4]
    assert page.value(pressed) == ["true", "false", "false"]
    check(page, small_model())


def test_drawing_and_taking(page: Browser) -> None:
    card = f"[aria-label='{VARIABLES.names[2]}'] .row button"
    assert changed(page, lambda: page.click(f"{card}:nth-child(1)")) == [2, 3]
    assert page.value(f'document.querySelector("{card}:nth-child(2)").disabled')  # there is nothing to take from yet
    page.click("#role label:nth-of-type(2)")
    page.click("#tray li:nth-child(2) button")
    page.wait("source !== null")
    np.testing.assert_array_equal(shown(page, "other"), FRAMES[1, 0])
    np.testing.assert_array_equal(shown(page, "original"), FRAMES[0, 0])  # what is changed stays
    assert changed(page, lambda: page.click(f"{card}:nth-child(2)")) == [2, 3]
    other = small_model().encode(FRAMES[1])[0]
    assert np.float32(state(page)["z"][2:4]).tolist() == other[2:4].tolist()
    check(page, small_model())
    # A whole group at once.
    assert changed(page, lambda: page.click(".group > .row button:nth-of-type(2)")) == [0, 1]
    assert np.float32(state(page)["z"][:2]).tolist() == other[:2].tolist()
    assert state(page)["set"] == ["x", "y", "turn"]


def test_undo_redo_and_the_history(page: Browser) -> None:
    states = [state(page)]
    for button in (".values button:nth-child(1)", ".values button:nth-child(2)", ".card .row button"):
        page.click(button)
        settle(page)
        states.append(state(page))
    count = "document.querySelectorAll('#history li').length"
    assert page.value(count) == 4
    page.click("#undo")
    assert state(page) == states[2]
    page.press("z", "Control")
    assert state(page) == states[1]
    assert page.value("[...document.querySelectorAll('#history .undone')].length") == 2
    page.press("z", "Control", "Shift")
    assert state(page) == states[2]
    page.press("y", "Control")
    page.press("y", "Control")  # there is nothing more
    assert state(page) == states[3]
    page.click("#history li:nth-child(2) button")
    assert state(page) == states[1]
    check(page, small_model())
    page.click(".values button:nth-child(3)")  # what was undone is gone
    settle(page)
    assert page.value(count) == 3
    page.click("#reset")
    assert (state(page)["z"], state(page)["set"]) == (states[0]["z"], [])
    assert page.value(count) == 4


def test_the_picture_is_downloaded_as_it_is(page: Browser, tmp_path: Path) -> None:
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click(".values button:nth-child(3)")
    settle(page)
    expected = shown(page)
    page.click("#download")
    file = tmp_path / "s0-lamp.png"
    for _ in range(500):
        if file.exists() and file.stat().st_size:
            break
        page.value("new Promise((done) => setTimeout(done, 20))")
    with Image.open(file) as picture:
        np.testing.assert_array_equal(np.asarray(picture), expected)


def give(page: Browser, path: Path) -> None:
    """Choose a file, as in the browser's own window for it."""
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def test_pictures_are_opened_and_dropped(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "big photo.png").write_bytes(png(50, 40))
    give(page, tmp_path / "big photo.png")
    page.wait("steps[at].start.name === 'big photo.png'")
    assert shown(page, "original").shape == (32, 32, 3)
    assert text(page, "#say").endswith("resized to 32×32 pixels")
    check(page, small_model())
    for selector, arrived in ((".cards", "steps.length === 3"), ("#take", "source !== null")):
        place = page.point_at(selector)
        data = {"items": [], "files": [str(tmp_path / "big photo.png")], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            page.call("Input.dispatchDragEvent", type=kind, **place, data=data)
        page.wait(arrived)
    assert page.value("steps.length") == 3
    # What is no picture is refused in words, and nothing is lost.
    before = state(page)
    (tmp_path / "no.png").write_text("no")
    give(page, tmp_path / "no.png")
    page.wait("document.getElementById('say').classList.contains('bad')")
    assert text(page, "#say") == "the picture: this is text, not a picture; give a PNG or JPEG file"
    assert state(page) == before
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(33_000_000)
    give(page, tmp_path / "huge.png")
    page.wait("document.getElementById('say').textContent.startsWith('huge.png: the file has more than 32.0 MB')")
    page.events[:] = [event for event in page.events if "422" not in str(event)]  # which the browser logs


def test_the_tray_has_pages(page: Browser) -> None:
    count = "document.querySelectorAll('#tray li').length"
    assert (page.value(count), text(page, "#page")) == (24, "1 to 24 of 30")
    page.click("#later")
    assert (page.value(count), text(page, "#page")) == (6, "25 to 30 of 30")
    page.click("#tray li:nth-child(2) button")
    page.wait("steps[at].start.name === 'folder/s25.png'")
    page.wait(
        "[...document.querySelectorAll('#tray img')].every((image) => image.complete && image.naturalWidth === 32)"
    )
    page.click("#earlier")
    assert page.value(count) == 24


def test_everything_is_reached_and_named(page: Browser) -> None:
    """With Tab alone one comes to every control, and each says what it is."""
    page.value("document.body.tabIndex = -1; document.body.focus()")
    reached = set()
    for _ in range(90):
        page.press("Tab")
        reached.add(
            page.value("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        )
    wanted = {f"Draw {name}" for name in SET} | {"x", "y", "turn, closed", f"{HOSTILE}, closed", "lamp: value 3"}
    wanted |= {"Draw all where", "Open a picture…", "Download", "Step 0: start", "Random"}
    assert wanted <= reached
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    for node in nodes:
        if not node.get("ignored") and node["role"]["value"] in ("button", "slider", "radio", "img", "link", "image"):
            assert node.get("name", {}).get("value"), node


def test_names_stay_names(page: Browser) -> None:
    assert page.value("document.title") == "the model: explore"
    assert page.value("document.querySelectorAll('img[onerror], #x').length") == 0
    assert HOSTILE in page.value("[...document.querySelectorAll('.card h3')].map((h) => h.textContent)")
    assert "the model gave it no latents" in text(page, "[aria-label=lost]")


def test_light_and_dark(page: Browser) -> None:
    for scheme, paper, colours in (("dark", PAPER_DARK, DARK), ("light", PAPER_LIGHT, LIGHT)):
        page.prefer(scheme)
        assert page.value("getComputedStyle(document.body).backgroundColor") == f"rgb{rgb(paper)}"
        swatch = page.value("getComputedStyle(document.querySelector('.card .swatch')).backgroundColor")
        assert swatch == f"rgb{rgb(colours[0])}"


@pytest.mark.parametrize("width", [320, 390, 820, 1360])
def test_nothing_is_wider_than_the_screen_and_the_result_stays_in_sight(page: Browser, width: int) -> None:
    size(page, width, 844, mobile=width < 500)
    page.wait("document.documentElement.scrollWidth <= innerWidth")
    wide = page.value(
        "[...document.querySelectorAll('button, .card, input, h1, h2, h3')].filter((node) => node.offsetParent)"
        ".filter((node) => !node.closest('#history')).filter((node) => node.getBoundingClientRect().right > innerWidth)"
        ".map((node) => node.outerHTML)"
    )
    assert wide == []
    page.value("document.querySelector('.card:last-child').scrollIntoView({block: 'end'})")
    box = page.value("document.getElementById('picture').getBoundingClientRect().toJSON()")
    assert box["top"] >= 0
    assert box["bottom"] <= 844


def test_many_moves_end_at_the_last(page: Browser) -> None:
    page.value(
        "{ const input = document.querySelector('.walk input'); for (let place = 0; place < 40; place += 1)"
        "{ input.value = place; input.dispatchEvent(new Event('input')); } }"
    )
    settle(page)
    assert state(page)["places"][0] == 39
    assert page.value("steps.length") == 2
    check(page, small_model())


def test_no_key_is_lost_while_pictures_are_made(page: Browser) -> None:
    page.value(
        "{ const answer = window.fetch; window.fetch = async (...asked) => {"
        "await new Promise((done) => setTimeout(done, 60)); return answer(...asked); }; }"
    )
    for selector, index in ((".walk input", 0), (".dial", 2)):
        page.value(f"document.querySelector('{selector}').focus()")
        page.press("Home")
        for _ in range(40):
            page.press("ArrowRight")
            page.value("new Promise((done) => setTimeout(done, 10))")
        settle(page)
        assert state(page)["places"][index] == 40
        check(page, small_model())
    page.wait("document.getElementById('told').textContent.startsWith('turn set. Moved: ')")


def test_a_server_that_is_gone_is_told_of(browser: Browser) -> None:
    with served(small_model(), offered(1)) as server:
        opened(browser, server.url)
    browser.click(".values button")
    browser.wait("document.getElementById('say').classList.contains('bad')")
    assert text(browser, "#say").startswith("the server does not answer; start it again")


def test_without_samples_it_starts_from_what_the_model_has_seen(browser: Browser) -> None:
    model = small_model(4)  # RGB and one more: two panels, one below the other
    with served(model) as server:
        size(browser, 1000, 800)
        opened(browser, server.url)
        assert text(browser, "#original-title") == "Start"
        assert text(browser, "#original-name") == "a training frame"
        assert shown(browser).shape == (64, 32, 3)
        assert browser.value("document.querySelectorAll('#tray li').length") == 0
        browser.click("#random")
        browser.wait("steps.length === 2")
        assert browser.complaints() == []


def test_a_notebook_shows_it_in_a_frame(browser: Browser, tmp_path: Path) -> None:
    with small_model().explore(FRAMES[:, 0], height=500) as page:
        (tmp_path / "notebook.html").write_text(f"<!doctype html>{page._repr_html_()}")
        browser.call("Page.navigate", url=(tmp_path / "notebook.html").as_uri())
        browser.wait("document.querySelector('iframe')?.getBoundingClientRect().height === 500")
        with browser.inside(page.url) as inside:
            inside.wait("document.body?.dataset.ready === 'true'")
            assert inside.value("data.samples") == ["frame #0", "frame #1", "frame #2"]
            inside.click(".values button")
            settle(inside)
            check(inside, small_model())
    assert repr(page) == "<page that is closed>"
