"""What all tests share: the folders of real data and published numbers, if they are there; how many run at a time."""

import gc
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from citris_cli.system import available_cores
from tests.browser import Browser, find_browser

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs the folder shared/{name} beside the checkout, which is not there")
    return folder


@pytest.fixture(scope="session")
def parity() -> Path:
    """Folder of numbers from the published implementation; the test is skipped where it is not there."""
    return _folder("parity")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for the pages of a module's tests, 1100×900; they are skipped where there is no Chromium."""
    program = find_browser()
    if program is None:
        pytest.skip("needs Chromium to look at the page (apt-get install chromium)")
    with Browser(program, tmp_path_factory.mktemp("profile")) as started:
        started.call("Emulation.setDeviceMetricsOverride", width=1100, height=900, deviceScaleFactor=1, mobile=False)
        yield started


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real Temporal Causal3DIdent frames; the test is skipped where it is not there."""
    return _folder("data")


@pytest.fixture(scope="module")
def forked_starts() -> Iterator[None]:
    """Trainings side by side need not import PyTorch, each for itself: they are forks of a process that has."""
    with pytest.MonkeyPatch.context() as patch:
        if "forkserver" in multiprocessing.get_all_start_methods():
            multiprocessing.set_forkserver_preload(["citris_cli.training.run"])
            patch.setattr("citris_cli.training.side_by_side.START", "forkserver")
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end, and need not be searched for garbage again and again.

    That are a million objects, through which PyAV goes with every film that it opens.
    """
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Workers of ``-n auto``: one for each core that may be used; none, which is this very process, for one core."""
    cores = available_cores()
    return cores if cores > 1 else 0
