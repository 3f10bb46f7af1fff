"""Bringing a log to the disk platter, beside the thread that writes it.

Owns descriptors of its own for what was written up to one moment, and nothing else: what is written meanwhile,
and what to do about an error, is `LogWriter`'s.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from toowld.log.segments import open_segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from toowld.log.folder import Segment


class Sync:
    """What is to be brought to the disk platter. `run` may be called from any thread: it shares nothing."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.new_names = False
        self.error: OSError | None = None
        self._fds: list[tuple[int, Callable[[int], None]]] = []

    def take(self, segment: Segment, fd: int) -> None:
        """Add a segment; ``fd`` if it is open for writing, else -1.

        Raises:
            OSError: it can't be opened, or was deleted under its writer.
        """
        if fd >= 0:
            if os.fstat(fd).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "the log was deleted", segment.path)
            self._fds.append((os.dup(fd), os.fdatasync))
        else:
            with suppress(FileNotFoundError):  # dropped in the meantime
                self._fds.append((open_segment(segment.path), os.fdatasync))
        self.segments.append(segment)

    def take_folder(self, folder: str) -> None:
        """Add the names of new segments.

        Raises:
            OSError: the folder can't be opened.
        """
        # Not fdatasync: ext4 may leave out new names, which are no "data" of a folder.
        self._fds.append((os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), os.fsync))
        self.new_names = True

    def run(self) -> None:
        """Wait for the disk. Never raises; `error` says what went wrong."""
        try:
            for fd, bring in self._fds:
                bring(fd)
        except OSError as error:
            self.error = error
        finally:
            self.close()

    def close(self) -> None:
        """Let go."""
        while self._fds:
            try:
                os.close(self._fds.pop()[0])
            except OSError as error:  # NFS tells of a failed write here, too
                self.error = self.error or error
