"""``model.explore`` in a program: the page is there as long as it is wanted, and no longer than the process."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from citris_cli.errors import InputError
from tests.exploring.models import small_model
from tests.exploring.test_workbench import FRAMES

ROOT = Path(__file__).parents[2]


def page_of(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as response:
        assert "frame-ancestors" not in response.headers["Content-Security-Policy"]
        return response.read().decode()


@pytest.mark.parametrize(
    ("frames", "names"),
    [
        (None, "[]"),
        (FRAMES[0, 0], '["the frame"]'),
        (FRAMES[0, 0] / 255, '["the frame"]'),
        (torch.from_numpy(FRAMES[0]), '["the frame"]'),
        (list(FRAMES[:, 0]), '["frame #0","frame #1","frame #2"]'),
    ],
)
def test_it_serves_what_it_was_given(frames: object, names: str) -> None:
    with small_model().explore(frames, height=432) as page:
        assert f'"samples":{names}' in page_of(page.url)
        assert page.url in repr(page)
        assert f'<iframe src="{page.url}"' in page._repr_html_()
        assert 'height="432"' in page._repr_html_()
    with pytest.raises(urllib.error.URLError):
        page_of(page.url)
    page.close()  # once more does nothing


def test_grey_frames_need_no_axis_of_channels() -> None:
    for frames, names in ((FRAMES[0, 0, ..., 0], '["the frame"]'), (FRAMES[:, 0, ..., 0], '["frame #0","frame #1",')):
        with small_model(1).explore(frames) as page:
            assert f'"samples":{names}' in page_of(page.url)


def test_what_is_no_frame_of_the_model_is_refused() -> None:
    model = small_model()
    for wrong in (np.zeros((64, 64, 3), np.uint8), np.zeros((32, 32), np.uint8), "photo.png", FRAMES[0, 0] * 2.0):
        with pytest.raises(InputError):
            model.explore(wrong)
    with pytest.raises(InputError, match="1,001 frames are more than a page offers"):
        model.explore(np.zeros((1001, 32, 32, 3), np.uint8))
    with model.explore() as page, pytest.raises(InputError, match="cannot be listened on"):
        model.explore(port=int(page.url.split("/")[2].partition(":")[2]))


def test_a_program_that_forgets_it_ends_all_the_same() -> None:
    script = (
        "import threading, urllib.request\n"
        "from tests.exploring.models import small_model\n"
        "page = small_model().explore()\n"
        "post = urllib.request.Request(page.url + 'start', b'{\"seed\": 1}', {'Content-Type': 'application/json'})\n"
        "def ask():\n"
        "    while True:\n"
        "        urllib.request.urlopen(post).read()\n"
        "for _ in range(3): threading.Thread(target=ask, daemon=True).start()\n"
        "urllib.request.urlopen(post).read()\n"
        "print('done', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (0, b"done\n"), done.stderr.decode()


def test_importing_the_package_imports_no_server() -> None:
    script = "import sys, citris_cli; print({'http.server', 'torch', 'citris_cli.exploring'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=600, check=True)
    assert done.stdout == b"set()\n"
