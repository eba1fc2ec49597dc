"""SHA-256 of what is read for a dataset, for its provenance; computed beside the reading."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from citris_cli.data.identity import FileIdentity
from citris_cli.errors import InputError
from citris_cli.recordings.recording import Recording


class Digests:
    """SHA-256 of all that is read, computed while it is.

    Args:
        recordings: whose files they are.
        tables: files of targets.
    """

    def __init__(self, recordings: Sequence[Recording], tables: Sequence[Path]) -> None:
        self._recordings, self._tables = recordings, tables
        files = dict.fromkeys(path for recording in recordings for path in recording.files)
        self._identities = [FileIdentity.of(path, path.stat()) for path in (*files, *tables)]
        self._stop = threading.Event()
        self._found: dict[str, Any] = {}
        self._failed: list[OSError] = []
        self._thread = threading.Thread(target=self._compute, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Compute no further."""
        self._stop.set()
        self._thread.join()

    def result(self) -> dict[str, Any]:
        """``recordings`` and ``tables``, each with its name and hash; waits until they are computed.

        Raises:
            InputError: a file can no longer be read, or is another one than when this began.
        """
        self._thread.join()
        for identity in self._identities:
            if change := identity.change():
                raise InputError(f"{identity.path} {change} while it was read; run the command again")
        for error in self._failed:
            raise InputError(
                f"{error.filename}: the file cannot be read any more ({error.strerror}); run the command again"
            )
        return self._found

    def _compute(self) -> None:
        try:
            self._found = {
                "recordings": [self._recording(recording) for recording in self._recordings],
                "tables": [{"file": str(path), "sha256": self._file(path)} for path in self._tables],
            }
        except OSError as error:
            self._failed.append(error)

    def _recording(self, recording: Recording) -> dict[str, Any]:
        told: dict[str, Any] = {"name": recording.label, "frames": recording.frames}
        if len(recording.files) == 1:
            return {**told, "sha256": self._file(recording.files[0])}
        # Of many pictures, as `sha256sum * | sha256sum` has it.
        lines = hashlib.sha256()
        for path in recording.files:
            lines.update(f"{self._file(path)}  {path.name}\n".encode(errors="surrogateescape"))
        return {**told, "pictures": len(recording.files), "sha256": lines.hexdigest()}

    def _file(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while not self._stop.is_set() and (block := stream.read(4 << 20)):
                digest.update(block)
        return digest.hexdigest()
