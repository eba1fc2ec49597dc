"""The page of ``citris explore``: from a slider's move to the new picture, at the server and in a browser."""

from __future__ import annotations

import http.client
import json
import tempfile
import time
import urllib.parse
from pathlib import Path
from statistics import quantiles

import citris_cli
from citris_cli.exploring.workbench import PLACES
from tests.benchmarks.measure import Effort, Row, Target
from tests.browser import Browser, find_browser
from tests.exploring.serving import served

CAUSAL3D = "@causal3d"
#: What a person takes for at once, in seconds.
AT_ONCE = 0.1
#: Moves before those that are measured, and such as are measured for each round.
WARMING, MOVES = 5, 20
#: Moves the first slider to one place after another, and tells the milliseconds until each picture is on the screen.
SLIDE = """(async () => {
  const [input, picture] = [document.querySelector(".walk input"), document.getElementById("picture")];
  const times = [];
  for (let move = 0; move < COUNT; move += 1) {
    const begun = performance.now();
    const changed = new Promise((done) => {
      const seen = new MutationObserver(() => { seen.disconnect(); done(); });
      seen.observe(picture, { attributeFilter: ["src"] });
    });
    input.value = move * 7 % PLACES;
    input.dispatchEvent(new Event("input"));
    await changed;
    await picture.decode();
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - begun);
  }
  return times;
})()"""


def explore(effort: Effort) -> list[Row]:
    """Median and 95th percentile of both, on the packaged model of Causal3DIdent."""
    count = WARMING + MOVES * effort.rounds
    with served(citris_cli.load(CAUSAL3D)) as server:
        rows = _rows("explore: a slider's move, at the server", _asked(server.url, count))
        if (program := find_browser()) is None:
            return rows
        with tempfile.TemporaryDirectory() as profile, Browser(program, Path(profile)) as browser:
            browser.open(server.url)
            script = SLIDE.replace("COUNT", str(count)).replace("PLACES", str(PLACES))
            times = [milliseconds / 1000 for milliseconds in browser.value(script)]
        return rows + _rows("explore: from a slider's move to the picture, in Chromium", times)


def _rows(what: str, times: list[float]) -> list[Row]:
    cuts = quantiles(times[WARMING:], n=20)
    target = Target("ours", AT_ONCE, least=False)
    return [Row(f"{what}, {name}", "s", cut, target=target) for name, cut in (("median", cuts[9]), ("p95", cuts[18]))]


def _asked(url: str, count: int) -> list[float]:
    """Seconds of so many moves of a slider, over one connection."""
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc)

    def ask(name: str, **question: object) -> dict[str, object]:
        connection.request("POST", address.path + name, json.dumps(question), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())

    start = ask("start", seed=0)
    times = []
    for move in range(count):
        begun = time.perf_counter()
        ask("change", z=start["z"], before=start["z"], names="pos_x", place=move * 7 % PLACES)
        times.append(time.perf_counter() - begun)
    connection.close()
    return times
