"""The page's server, for as long as something asks it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from citris_cli.causal_model import CausalModel
from citris_cli.exploring.answers import Answers, Sample
from citris_cli.exploring.server import ExploreServer
from citris_cli.exploring.workbench import Workbench


@contextmanager
def served(
    model: CausalModel, samples: Sequence[Sample] = (), note: Callable[[str], object] = print
) -> Iterator[ExploreServer]:
    """A server that answers, at a port of its own."""
    with ExploreServer(Answers(Workbench(model), list(samples)), 0, False, note) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
