"""A real browser that tests look at pages with: headless Chromium, driven over the pipe of its DevTools protocol."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

#: Names that the program has in distributions.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: Chromium speaks DevTools on the file descriptors 3 and 4.
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_CODES = {"ArrowLeft": 37, "ArrowRight": 39, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36, " ": 32, "Tab": 9}
_CODES |= {"z": 90, "y": 89}
#: Bits of the keys that are held, as the protocol counts them.
HELD = {"Control": 2, "Shift": 8}


def find_browser() -> str | None:
    """The path of Chromium, or None where there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """One page in a browser of its own; use as a context manager.

    Args:
        program: Chromium.
        profile: an empty folder for what it stores.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self._count = 0
        self._pending = b""
        self._session = ""
        self.events: list[dict[str, Any]] = []
        theirs_in, self._out = _high_pipe()
        self._in, theirs_out = _high_pipe()
        options = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        options += ["--no-sandbox", f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(theirs_in), str(theirs_out), program, *options],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def __enter__(self) -> Browser:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A command of the protocol and its result; what happens in the meantime goes to `events`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            more = os.read(self._in, 1 << 16) if ready else b""
            assert more, "the browser does not answer"
            self._pending += more
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)

    def open(self, page: Path | str) -> None:
        """Load a page, a file or an address, and wait until its own script, if it has one, says that it is ready."""
        address = page if isinstance(page, str) else page.as_uri()
        self.call("Page.navigate", url=address)
        here = f"location.href === {json.dumps(address)}"
        ready = "(document.body.dataset.ready === 'true' || document.querySelector('script') === null)"
        self.wait(f"{here} && document.readyState === 'complete' && {ready}")

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(condition):
            assert time.monotonic() < end, f"never became true: {condition}"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, or what it promises."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, *held: str) -> None:
        """Press and release a key, with others held (``Control``); it goes to what has the focus."""
        event: dict[str, Any] = {"modifiers": sum(HELD[one] for one in held)}
        event |= {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": _CODES[key]}
        text = {"text": " "} if key == " " else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def point_at(self, selector: str) -> dict[str, float]:
        """Move the mouse to the middle of an element, which is scrolled into view."""
        self.value(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.value(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        return place

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        place = self.point_at(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    @contextmanager
    def inside(self, address: str) -> Iterator[Browser]:
        """A block in which this is the frame of an address, which another page shows."""
        outside, found = self._session, []
        end = time.monotonic() + PATIENCE
        while not found:
            assert time.monotonic() < end, f"never shown in a frame: {address}"
            targets = self.call("Target.getTargets")["targetInfos"]
            found = [one["targetId"] for one in targets if (one["type"], one["url"]) == ("iframe", address)]
        self._session = self.call("Target.attachToTarget", targetId=found[0], flatten=True)["sessionId"]
        try:
            yield self
        finally:
            self._session = outside

    def prefer(self, scheme: str) -> None:
        """Make ``light`` or ``dark`` what the user prefers."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def requested(self) -> list[str]:
        """Every address that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Uncaught exceptions, and what the browser logged as an error."""
        thrown = [e for e in self.events if e.get("method") == "Runtime.exceptionThrown"]
        logged = [
            e for e in self.events if e.get("method") == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"
        ]
        return [json.dumps(e["params"]) for e in (*thrown, *logged)]


def _high_pipe() -> tuple[int, int]:
    """Ends of a pipe whose numbers are not among those that the browser will use."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]
