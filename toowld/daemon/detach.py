"""``toowld --detach``: the daemon in the background, with a pid file and a log file.

Returns to whoever started it only when clients are served, or with the reason why they are not.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

from daemon import DaemonContext
from daemon.pidfile import TimeoutPIDLockFile

from toowld.daemon.server import Daemon
from toowld.errors import ToowlError
from toowld.paths import Paths

#: A scan of custodians that do not answer takes 2 s; loading a thousand records on a slow disk some more.
READY_TIMEOUT = 30.0

_LOG_BYTES = 1 << 20
_LOG_FILES = 3
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def log_to_stderr() -> None:
    """For the foreground: systemd's journal has its own times."""
    form = "%(levelname)s %(message)s" if "JOURNAL_STREAM" in os.environ else _FORMAT
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stderr)


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """0600 by itself: the umask is that of the shells that we start, and none of our business."""

    def _open(self) -> TextIOWrapper:
        return TextIOWrapper(open(self.baseFilename, "ab", opener=_open_private), encoding="utf-8")


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _log_to_file(paths: Paths) -> int:
    """Rotated. Returns the descriptor that must stay open."""
    handler = _PrivateLog(paths.daemon_log, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES, encoding="utf-8")
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=[handler])
    assert handler.stream is not None  # only with delay=True
    return handler.stream.fileno()


def serve(paths: Paths, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run the daemon in this process until it is told to stop.

    Raises:
        ToowlError: it could not begin.
    """

    async def run() -> None:
        await Daemon(paths, on_ready=on_ready).run()

    asyncio.run(run())


def detach(paths: Paths) -> int:
    """Start the daemon in the background, and wait until it serves."""
    reader, writer = os.pipe()
    if pid := os.fork():
        os.close(writer)
        os.waitpid(pid, 0)  # the first of the two that a daemon leaves behind
        return _wait_until_ready(reader, paths)
    os.close(reader)
    _become_daemon(paths, writer)
    os._exit(0)


def _wait_until_ready(reader: int, paths: Paths) -> int:
    with os.fdopen(reader) as file:  # its end: the daemon has said all that it will
        status, _, text = file.read().strip().partition(" ")
    if status == "0":
        return 0
    print(f"toowld: {text or f'ended before it was ready: see {paths.daemon_log}'}", file=sys.stderr)
    return int(status or 1)


def _become_daemon(paths: Paths, writer: int) -> None:
    def tell(status: int, text: str = "") -> None:
        nonlocal writer
        if writer >= 0:
            os.write(writer, f"{status} {text}".encode(errors="replace"))
            os.close(writer)
            writer = -1

    def on_ready() -> None:
        # Not before: the file is that of whoever has the lock in the runtime folder.
        pid_file.acquire()
        tell(0)

    pid_file = _PidFile(str(paths.runtime / "toowld.pid"))
    try:
        log_fd = _log_to_file(paths)
        context = DaemonContext(
            working_directory="/",
            umask=_umask(),  # our files have their modes without it
            prevent_core=False,  # a hard limit, and so one of every shell that we start
            files_preserve=[log_fd, writer],
        )
        with context:
            serve(paths, on_ready)
            if pid_file.i_am_locking():  # a successor may have it by now
                pid_file.release()
    except ToowlError as error:
        tell(error.exit_status, str(error))
    except Exception:
        logging.getLogger(__name__).exception("the daemon failed")
        tell(1, f"the daemon failed: see {paths.daemon_log}")


def _umask() -> int:
    """The present one; there is no way to ask for it without setting it."""
    present = os.umask(0o077)
    os.umask(present)
    return present


class _PidFile(TimeoutPIDLockFile):  # type: ignore[misc]
    """A pid file that a dead daemon's can't block."""

    def acquire(self, timeout: float | None = None) -> None:
        self.break_lock()
        super().acquire(timeout=0)
        Path(self.path).chmod(0o600)
