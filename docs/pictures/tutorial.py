"""Makes the pictures of docs/tutorial.md, and the outputs that examples/tutorial.ipynb shows.

``python docs/pictures/tutorial.py FOLDER`` runs every command and every block of the page in FOLDER, as they stand
there, and then the notebook's cells. A page of HTML becomes a picture in headless Chromium. ``--skip train-vae,…``
leaves out commands, such as training runs whose results are in FOLDER already.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for tests, wherever this is run

from tests.browser import Browser, find_browser
from tests.tutorial import NOTEBOOK, PAGE, PICTURE, Run, run_notebook, run_page

HERE = Path(__file__).parent
#: Where training runs of the page write.
RUNS = Path("runs/ball_in_boxes")
#: Width and height of a page in pixels, by the picture's name, and keys that are pressed first.
PAGES = {"check": (780, 1170, ()), "latents": (900, 580, ("ArrowRight",))}
#: A picture's largest file, bytes.
LARGEST = 200_000


def runner(skipped: Collection[str]) -> Run:
    """Runs a command of citris, unless its name is among those that are skipped."""

    def run(arguments: list[str]) -> None:
        if arguments[0] not in skipped:
            subprocess.run([sys.executable, "-m", "citris_cli", *arguments], check=True)

    return run


def screenshot(page: Path, into: Path) -> None:
    """A picture of a page, as it is with the colours for light surroundings."""
    program = find_browser()
    if program is None:
        raise SystemExit("needs Chromium")
    width, height, keys = PAGES[page.stem]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(program, Path(profile)) as browser:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.call("Emulation.setScrollbarsHidden", hidden=True)
        browser.prefer("light")
        browser.open(page.resolve())
        for key in keys:
            browser.press(key)
        into.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot")["data"]))


def store(name: str) -> None:
    """The picture of this name, from what the commands wrote in the current folder."""
    to = HERE / f"tutorial-{name}.png"
    page = Path(f"{name}.html")
    if page.exists():
        screenshot(page, to)
    source = next(
        (path for path in (to if page.exists() else Path(f"{name}.png"), RUNS / f"{name}.png") if path.exists()), None
    )
    if source is None:
        raise SystemExit(f"no command of the tutorial wrote {name}.png or {name}.html")
    with Image.open(source) as picture:
        pixels = picture.convert("RGB")
    pixels.save(to, optimize=True)
    if to.stat().st_size > LARGEST:
        raise SystemExit(f"{to}: larger than {LARGEST:,} bytes")


def fill_notebook(run: Run) -> None:
    """Run the notebook, and keep what it prints and shows in it."""
    document = json.loads(NOTEBOOK.read_text("utf-8"))
    cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    for number, (cell, (printed, shown)) in enumerate(zip(cells, run_notebook(run), strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, []
        if printed:
            lines = printed.splitlines(keepends=True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": lines})
        if shown is not None:
            data = {"text/plain": [repr(shown) if not isinstance(shown, Image.Image) else "<PIL.Image.Image>"]}
            if isinstance(shown, Image.Image):
                encoded = io.BytesIO()
                shown.save(encoded, "PNG", optimize=True)
                data["image/png"] = [base64.b64encode(encoded.getvalue()).decode()]
            result = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}
            cell["outputs"].append(result)
    NOTEBOOK.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="to work in")
    parser.add_argument("--skip", default="", metavar="NAME,…", help="commands to leave out")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(given.folder)
    run = runner(given.skip.split(","))
    run_page(run)
    for name in dict.fromkeys(PICTURE.findall(PAGE.read_text("utf-8"))):
        store(name)
    fill_notebook(run)


if __name__ == "__main__":
    main()
