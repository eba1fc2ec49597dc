"""Frames of a world drawn in chunks, by this process or by several, in the same order with the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from types import TracebackType
from typing import TypeAlias

import numpy as np

from citris_cli.errors import CitrisError
from citris_cli.system import signals_held_back
from citris_cli.worlds.world import Array, World

#: Is given the number of frames that are drawn, and of all.
OnProgress: TypeAlias = Callable[[int, int], None]

#: Frames drawn at a time.
CHUNK = 256
#: Seconds that processes have to spare: each takes half a second to be ready.
_WORTH = 2.0
#: Bytes a second at which frames come from another process: those of a simple world are drawn as fast.
_SENT = 200e6
#: Chunks that wait for each process or to be written: bounds the memory.
_AHEAD = 2
#: Deaths of a process that others make up for: what they draw is the same.
_MOST_DEATHS = 3


class Drawing:
    """Draws the frames of a dataset; closed at the end of the block.

    Args:
        world: what is drawn.
        workers: most processes.
        total: frames in all.
        on_progress: is told after every chunk.
    """

    def __init__(self, world: World, workers: int, total: int, on_progress: OnProgress) -> None:
        self._world = world
        self._workers = workers
        self._total = total
        self._on_progress = on_progress
        self._done = 0
        self._deaths = 0
        self._worth_it = False
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Drawing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            _end(self._pool)

    def frames(self, latents: Array) -> Iterator[Array]:
        """The frames of states, in order.

        Args:
            latents: [n, F].

        Yields:
            uint8 [at most CHUNK, W, W, C].

        Raises:
            CitrisError: processes that draw keep dying.
        """
        chunks = (np.array(latents[start : start + CHUNK]) for start in range(0, len(latents), CHUNK))
        while not self._worth_it:
            chunk = next(chunks, None)
            if chunk is None:
                return
            began = time.process_time()  # what the processor takes, whatever else the machine does
            frames = self._world.render(chunk)
            spared = (time.process_time() - began) * (1 - 1 / self._workers) - frames.nbytes / _SENT
            yield self._told(frames)
            if self._workers > 1 and spared / len(chunk) * (self._total - self._done) > _WORTH:
                self._worth_it = True
        for frames in self._by_processes(chunks):
            yield self._told(frames)

    def _told(self, frames: Array) -> Array:
        self._done += len(frames)
        self._on_progress(self._done, self._total)
        return frames

    def _by_processes(self, chunks: Iterator[Array]) -> Iterator[Array]:
        waiting: deque[Array] = deque()  # what is not yielded yet, in order
        drawn: deque[Future[Array]] = deque()  # of the first of them
        while True:
            waiting.extend(islice(chunks, _AHEAD * self._workers + 1 - len(waiting)))
            if not waiting:
                return
            try:
                drawn.extend(self._submit(chunk) for chunk in islice(waiting, len(drawn), None))
                frames = drawn[0].result()
            except BrokenProcessPool:
                drawn.clear()
                self._begin_anew()
                continue
            waiting.popleft()
            drawn.popleft()
            yield frames

    def _submit(self, chunk: Array) -> Future[Array]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), _begin, (self._world,)
            )
        with signals_held_back():  # a process may be started here, and this one alone is to be interrupted
            return self._pool.submit(_draw, chunk)

    def _begin_anew(self) -> None:
        """Other processes: one has died (of a fault in a graphics driver, say), and a pool ends all with the first."""
        self._deaths += 1
        if self._deaths > _MOST_DEATHS:
            raise CitrisError(
                "processes that draw frames keep dying, perhaps because memory ran out; run again with --workers 1"
            )
        if self._pool is not None:
            _end(self._pool)
            self._pool = None


def _end(pool: ProcessPoolExecutor) -> None:
    """End a pool, some of whose processes may have been killed while they sent frames.

    The pool reads such a message to its end, which does not come as long as somebody could still write it: the dead
    process cannot, but this one has the same pipe open.
    """
    writer = getattr(getattr(pool, "_result_queue", None), "_writer", None)
    if writer is not None:
        writer.close()
    pool.shutdown(cancel_futures=True)


# What each process draws; set as it begins.
_worlds: list[World] = []


def _begin(world: World) -> None:
    _worlds.append(world)
    if hasattr(signal, "pthread_sigmask"):
        # Where one process dies, a pool ends the others by this signal, and waits for them.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    threading.Thread(target=_end_with_the_first, daemon=True).start()


def _end_with_the_first() -> None:
    """End where the process that wants the frames was killed: nobody else would tell this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _draw(latents: Array) -> Array:
    return _worlds[0].render(latents)
