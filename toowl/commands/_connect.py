"""How commands reach the daemon: directly, or by starting it first."""

from __future__ import annotations

import os
import sys
import time

from toowl.commands._text import safe
from toowld import paths, place
from toowld.client import Client
from toowld.errors import DaemonUnreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from typing import IO, Any

    from toowld.paths import Paths

#: A daemon with hundreds of custodians to greet gets this long before the first command gives up on it.
_START_PATIENCE = 5.0
_RETRY = 0.02

#: A service that was killed is started again after half a second, and needs another one to be ready.
_RESTART_PATIENCE = 2.0

_GATE = "TOOWLD_PERSISTENT_SESSIONS"

#: Belong to the session or the service that we are called in, not to a daemon or a session that we start.
_NOT_PASSED_ON = ("TOOWL_SESSION", "TOOWL_NAME", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_")


def connect(*, autostart: bool = False) -> Client:
    """Connect to the daemon; with ``autostart``, start one if there is none.

    Raises:
        DaemonUnreachable: none is running, and none could be started.
    """
    try:
        return Client.connect_daemon(place.daemon_socket())  # with `paths` it would take 5 ms more
    except DaemonUnreachable as error:
        nobody_there = isinstance(error.__cause__, FileNotFoundError | ConnectionRefusedError)
        if not (autostart and nobody_there) or os.environ.get("TOOWL_NO_AUTOSTART", "") not in ("", "0"):
            raise
    return _start(paths.resolve())


def _start(where: Paths) -> Client:
    from toowl.commands import _service

    try:
        if _service.start(where):
            return Client.connect(where)
    except DaemonUnreachable as error:
        return _await_service(where, error)
    return _start_our_own(where)


def _await_service(where: Paths, failure: DaemonUnreachable) -> Client:
    """It may be down only because somebody restarts it at this very moment."""
    deadline = time.monotonic() + _RESTART_PATIENCE
    while time.monotonic() < deadline:
        try:
            return Client.connect(where)
        except DaemonUnreachable:
            time.sleep(_RETRY)
    raise failure


def _start_our_own(where: Paths) -> Client:
    env = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
    if _was_persistent(where):
        env.setdefault(_GATE, "1")
    # Loaded only here: with what they bring along, they would be a tenth of every attach.
    import subprocess
    import tempfile

    # Its words go to a file, not a pipe: a daemon that kept a pipe open would keep us waiting for ever.
    with tempfile.TemporaryFile() as said:
        try:
            starter = subprocess.Popen(
                [sys.executable, "-m", "toowld", "--detach"],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd="/",  # where a daemon belongs, and no folder of ours for -m to find another toowld in
                env=env,
                start_new_session=True,  # a Ctrl-C here is not for the daemon
            )
        except OSError as error:
            raise DaemonUnreachable(f"can't start toowld: {error.strerror}: see `toowld doctor`") from error
        return _await(where, starter, said)


def _was_persistent(where: Paths) -> bool:
    """Whether the daemon before kept persistent sessions: one that takes its place after a crash is to be like it."""
    try:
        return where.daemon_lock.read_text().split("\n")[1:2] == ["persistent"]
    except (OSError, UnicodeDecodeError):  # there was none; or that is no file of ours
        return False


def _await(where: Paths, starter: subprocess.Popen[bytes], said: IO[bytes]) -> Client:
    deadline = time.monotonic() + _START_PATIENCE
    while True:
        failed = starter.poll() not in (None, 0)
        try:
            # Asked once more after a failure: perhaps another toowl started one at the same moment.
            return Client.connect(where)
        except DaemonUnreachable as error:
            if failed or time.monotonic() > deadline:
                reason = f"toowld could not be started{_last_line(said)}"
                raise DaemonUnreachable(
                    f"{reason}: try `toowld --detach`, and `toowld doctor` tells more"
                ) from error
        time.sleep(_RETRY)


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").split("\n")
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f" ({safe(words)})" if words else ""


def notices(answer: dict[str, Any]) -> None:
    """Tell the user what the daemon noted, on stderr."""
    for notice in answer.get("notices") or ():
        note(str(notice))


def note(text: str) -> None:
    """One line to the user, beside the output."""
    print(f"toowl: {safe(text)}", file=sys.stderr, flush=True)
