"""The right to have the shell of a session run a command: one has it at a time, also among programs."""

from __future__ import annotations

import fcntl
import os

from toowld.errors import RefusedError
from toowld.paths import Paths


class Turn:
    """A lock that is held until it is closed, or its process ends (docs/protocol.md, ``following/<id>.exec``).

    Raises:
        RefusedError: its file can't be used.
    """

    def __init__(self, where: Paths, session_id: str) -> None:
        path = where.exec_lock(session_id)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise RefusedError(f"can't use {path}: {error.strerror}: see `toowld doctor`") from error

    def take(self) -> bool:
        """Whether it is ours now."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let others have it."""
        os.close(self._fd)
