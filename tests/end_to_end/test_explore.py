"""``citris explore`` as a user starts and ends it: an address on standard output, Ctrl-C, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import citris_cli
from tests.end_to_end.conftest import Citris
from tests.end_to_end.test_bad_input import check_refusal
from tests.forks import started
from tests.waiting import PATIENCE, wait_until


@contextmanager
def exploring(*arguments: object, cwd: Path, **variables: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The command while it runs, and the address that it printed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    process = started("explore", *arguments, cwd=cwd, env=variables, **pipes)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().decode().rstrip("\n")
        assert address, process.communicate()
        yield process, address
    finally:
        process.kill()
        process.communicate()


def asked(address: str, content: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and answer of a request; ``_`` in the names of headers stands for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, content, named), timeout=PATIENCE) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def question(address: str, name: str, **values: Any) -> Any:
    status, content = asked(address + name, json.dumps(values).encode(), Content_Type="application/json")
    assert status == 200, content
    return json.loads(content)


def test_from_the_address_to_a_changed_picture(home: Path, model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "photo.png")
    inputs = (home / "boxes/test_indep.npz#3:5", "photo.png")
    with exploring(*inputs, "-m", model, "--port", 0, cwd=tmp_path) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert address.endswith("/")
        status, page = asked(address)
        assert status == 200
        data = json.loads(page.decode().partition('id="data">')[2].partition("</script>")[0])
        assert [name.rpartition("/")[2] for name in data["samples"]] == [
            "test_indep.npz#3", "test_indep.npz#4", "photo.png",
        ]  # fmt: skip
        # What the page is told is what the model in Python says.
        there = citris_cli.load(model)
        with np.load(home / "boxes/test_indep.npz") as file:
            frame = file["images"][4:5]
        start = question(address, "start", sample=1)
        np.testing.assert_allclose(start["z"], there.encode(frame)[0], atol=1e-4)
        place = question(address, "change", z=start["z"], before=start["z"], names="ball_y", place=7)
        block = there.block("ball_y")
        expected = np.where(block, there.sweep("ball_y", 48)[7], np.float32(start["z"]))
        np.testing.assert_array_equal(np.float32(place["z"]), expected)
        # Who is not the page gets nothing.
        root = address[: address.rindex("/", 0, -1) + 1]
        assert asked(root)[0] == asked(f"{root}wrong/")[0] == 403
        assert asked(address, Host="evil.example")[0] == 403
        assert asked(f"{address}../../../../etc/passwd")[0] in (403, 404)
        assert asked(f"{address}start", b"{", Content_Type="application/json")[0] == 400
        assert asked(f"{address}start", b" " * 1_000_001, Content_Type="application/json")[0] == 413
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (130, b""), said
    assert said.decode().splitlines() == [
        "photo.png: cropped from 50×40 to its middle 40×40 and resized to 32×32 pixels", "press Ctrl-C to stop",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.skipif(os.name != "posix", reason="needs signals as POSIX has them")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_ends_without_a_word_while_it_computes(model: Path, tmp_path: Path, number: int, status: int) -> None:
    with exploring("-m", model, cwd=tmp_path) as (process, address):
        ask = (
            "import sys, urllib.request\n"
            "request = urllib.request.Request(sys.argv[1], b'{\"seed\": 1}', {'Content-Type': 'application/json'})\n"
            "while True: urllib.request.urlopen(request).read(); print(flush=True)\n"
        )
        command = [sys.executable, "-c", ask, f"{address}start"]
        asking = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert asking.stdout is not None
        asking.stdout.readline()
        process.send_signal(number)
        output, said = process.communicate(timeout=PATIENCE)
        asking.kill()
        asking.communicate()
    assert (process.returncode, output, said) == (status, b"", b"press Ctrl-C to stop\n")
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken(model: Path, tmp_path: Path, inside: Citris) -> None:
    with exploring("-m", model, cwd=tmp_path) as (_, address):
        port = address.split("/")[2].partition(":")[2]
        done = inside("explore", "-m", model, "--port", port, cwd=tmp_path)
    check_refusal(done, rf"port {port} of 127.0.0.1 cannot be listened on")


def test_what_is_wrong_is_said_before_anything_is_served(model: Path, tmp_path: Path, inside: Citris) -> None:
    check_refusal(inside("explore", "nowhere.png", "-m", model, cwd=tmp_path), "nowhere.png: there is no such file")
    check_refusal(inside("explore", cwd=tmp_path), "train one with")
    (tmp_path / "text.png").write_text("text")
    check_refusal(inside("explore", "text.png", "-m", model, cwd=tmp_path), "text.png: this is text, not a picture")
    check_refusal(inside("explore", "-m", model, "--port", "65536", cwd=tmp_path), "65535")


@pytest.mark.skipif(os.name != "posix", reason="needs a browser that is a shell script")
@pytest.mark.parametrize("opens", [True, False])
def test_a_browser_is_opened_where_it_is_asked_for(model: Path, tmp_path: Path, opens: bool) -> None:
    """And by default not where the address goes into a pipe."""
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\nprintf %s "$1" > new && mv new opened\n')
    browser.chmod(0o755)
    arguments = ["-m", model, *(["--open"] if opens else [])]
    with exploring(*arguments, cwd=tmp_path, BROWSER=f"{browser} %s", DISPLAY=":0") as (process, address):
        if opens:
            wait_until((tmp_path / "opened").exists, process)
            assert (tmp_path / "opened").read_text() == address
        else:
            assert asked(address)[0] == 200
            assert not (tmp_path / "opened").exists()


def test_the_page_of_a_model_that_comes_with_the_package_has_its_name(tmp_path: Path) -> None:
    with exploring("@ball-in-boxes", cwd=tmp_path) as (_, address):
        assert b"<title>ball-in-boxes: explore</title>" in asked(address)[1]


def test_of_many_frames_the_first_are_offered(model: Path, tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1003, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "many.npz", images=frames)
    with exploring("many.npz", "-m", model, cwd=tmp_path) as (process, address):
        assert asked(f"{address}sample?999")[0] == 200
        assert asked(f"{address}sample?1000")[0] == 422
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert said.decode().splitlines()[0] == (
        "the first 1,000 of 1,003 frames are offered; choose others with #, such as many.npz#1000:2000"
    )


def test_a_packaged_model_brings_its_name_and_its_samples(tmp_path: Path) -> None:
    with exploring("--model", "ball-in-boxes", "--no-open", cwd=tmp_path) as (_, address):
        status, page = asked(address)
    assert status == 200
    assert "<title>ball-in-boxes" in page.decode()
    assert page.decode().count("@ball-in-boxes/") >= 3
