"""Makes docs/pictures/explore.png: python docs/pictures/explore.py; it needs Chromium."""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for tests, wherever this is run

from tests.browser import Browser, find_browser

OUTPUT = Path(__file__).with_name("explore.png")
#: Variables that are drawn on the page, one after the other.
DRAWN = ("rot_alpha", "hue_o", "hue_b", "pos_z")
#: Until a picture has come, in milliseconds.
SOON = "new Promise((done) => setTimeout(done, 1500))"


def main() -> None:
    """Command line."""
    if (program := find_browser()) is None:
        sys.exit("no Chromium here")
    command = [sys.executable, "-m", "citris_cli", "explore", "--model", "causal3d", "--no-open"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            with Browser(program, Path(profile)) as browser:
                browser.call(
                    "Emulation.setDeviceMetricsOverride", width=1240, height=905, deviceScaleFactor=1, mobile=False
                )
                browser.open(address)
                browser.value(SOON)
                for name in DRAWN:
                    browser.value(f"document.querySelector('button[aria-label=\"Draw {name}\"]').click()")
                    browser.value(SOON)
                OUTPUT.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"]))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
