"""The page inside of a notebook: the same server, in a thread of the notebook's own process."""

from __future__ import annotations

import atexit
import threading
import warnings
from html import escape

from citris_cli.causal_model import CausalModel, Frames
from citris_cli.exploring.answers import Answers, Sample
from citris_cli.exploring.server import ExploreServer
from citris_cli.exploring.workbench import Workbench


class Exploration:
    """A page to play with a model, served until :meth:`close` or the end of the process.

    As the last line of a notebook's cell it shows the page; elsewhere, open :attr:`url` in a browser on this machine.
    It is a context manager, which closes it.

    Attributes:
        url: the address of the page, with its token.

    Args:
        model: to play with.
        frames: uint8 [N, W, W, C] to choose from.
        port: to listen on; 0 for any that is free.
        height: of the page in a notebook, in pixels.

    Raises:
        InputError: too many frames, or the port cannot be listened on.
    """

    def __init__(self, model: CausalModel, frames: Frames, port: int, height: int) -> None:
        names = ["the frame"] if len(frames) == 1 else [f"frame #{number}" for number in range(len(frames))]
        samples = [Sample(name, frames[number : number + 1]) for number, name in enumerate(names)]
        answers = Answers(Workbench(model), samples)
        self._server = ExploreServer(answers, port, framed=True, note=lambda said: warnings.warn(said, stacklevel=2))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._height = height
        self.url = self._server.url
        self._thread.start()
        atexit.register(self.close)

    def close(self) -> None:
        """Stop serving the page; a second time does nothing."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def __enter__(self) -> Exploration:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<page at {self.url}>" if self._thread.is_alive() else "<page that is closed>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe src="{escape(self.url)}" title="Explore the model" width="100%" height="{self._height:d}" '
            'style="border: 0"></iframe>'
        )
