"""The file of the audit log: lines in, one after the other, beside the loop; a new file when it is large enough.

Nobody waits for it. What a full disk or a file that can't be written does not take is counted, told once, and noted
in the file when it can be written again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

#: Lines that may wait for a disk that takes its time; each has some hundred bytes.
MAX_WAITING = 1000

#: A disk that is full takes a short line now and then: that it can't be written is told once in so long (seconds).
TELL_AGAIN = 3600.0


class AuditFile:
    """One file, and those that it was before: ``audit.jsonl``, ``audit.jsonl.1``, …"""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Mapping[str, Any]] = []
        self._lost = 0
        self._writing: asyncio.Task[None] | None = None
        self._told_at: float | None = None

    def add(self, entry: Mapping[str, Any], *, max_bytes: int, keep: int) -> None:
        """Note something, soon: the map has at least ``at``."""
        if len(self._waiting) >= MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append(entry)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(max_bytes, keep))

    async def _write(self, max_bytes: int, keep: int) -> None:
        try:
            while self._waiting:
                entries, self._waiting, lost = self._waiting, [], self._lost
                if lost:
                    entries.append({"at": entries[-1]["at"], "event": "lost", "count": lost})
                taken, error = await asyncio.to_thread(self._append, entries, max_bytes, keep)
                if error is None:
                    self._lost -= lost
                else:
                    self._lost += len(entries) - taken - bool(lost)
                    self._tell(error)
        finally:
            self._writing = None

    def _tell(self, error: OSError) -> None:
        now = time.monotonic()
        if self._told_at is None or now - self._told_at > TELL_AGAIN:
            reason = error.strerror or error
            _log.warning("the audit log can't be written: %s: %s", self._path, reason)
            self._told_at = now

    async def settle(self, timeout: float) -> None:
        """Wait until all is written, or until nobody can wait any more."""
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=timeout)

    # --- in a thread ------------------------------------------------------------------------------------

    def _append(
        self, entries: Sequence[Mapping[str, Any]], max_bytes: int, keep: int
    ) -> tuple[int, OSError | None]:
        """Returns how many were taken, and why no more."""
        import json  # here: neither the daemon's start nor its loop waits for it

        fd, taken = -1, 0
        try:
            fd = self._open()
            for entry in entries:
                line = f"{json.dumps(entry, default=str)}\n".encode()
                size = os.fstat(fd).st_size
                if size and size + len(line) > max_bytes:
                    self._rotate(keep)
                    os.close(fd)
                    fd, size = -1, 0
                    fd = self._open()
                _write_all(fd, line, size)
                taken += 1
        except OSError as error:
            return taken, error
        finally:
            if fd >= 0:
                os.close(fd)
        return taken, None

    def _open(self) -> int:
        # Not blocking: somebody may have put a pipe there.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o600)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
                raise OSError(errno.EPERM, "not a file of ours")
            os.fchmod(fd, 0o600)  # whatever the umask is: that of a child that is just being started, perhaps
        except OSError:
            os.close(fd)
            raise
        return fd

    def _rotate(self, keep: int) -> None:
        names = [
            self._path,
            *(self._path.with_name(f"{self._path.name}.{number}") for number in range(1, keep + 1)),
        ]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        if keep == 0:
            self._path.unlink()


def _write_all(fd: int, data: bytes, size: int) -> None:
    """All of it or nothing: half a line would spoil the next one too."""
    try:
        done = os.write(fd, data)
        if done < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(fd, size)
        raise
