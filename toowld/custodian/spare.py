"""A custodian without a session: forked while nothing is asked of the zygote, so that the next session finds it.

Half of what a start takes in a custodian is the copying of memory that it shares with the zygote, a page whenever it
is written to first. The spare has that behind it (`prefault`). It has no session, no file and no link, and sleeps,
until the zygote gives it a session's id and the link to whoever wants it. It goes when the zygote goes, and at
SIGTERM.

Nothing depends on it: where there is none, or where it does not wait, a custodian is forked.
"""

from __future__ import annotations

import os
import signal
import socket

from toowld.custodian import __main__ as custodian
from toowld.custodian import prefault
from toowld.custodian.title import setproctitle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TITLE = "toowld --zygote --spare"

#: What it says when it has nothing more to do.
_READY = b"+"


class Spare:
    """The zygote's end: one process that waits to be a custodian, or none."""

    def __init__(self) -> None:
        self._pid = 0
        self._socket: socket.socket | None = None  # while there is one
        self._ready = False

    def make(self, let_go: Callable[[], None], written: bytes) -> None:
        """Fork it, if there is none.

        Args:
            let_go: closes, there, what it must not have.
            written: see `prefault.copy`.

        Raises:
            OSError: it can't be.
        """
        if self._socket is not None:
            return
        ours, its = socket.socketpair()
        with its:
            try:
                if (pid := os.fork()) == 0:
                    _begin(its, ours, let_go, written)
            except OSError:
                ours.close()
                raise
        self._pid, self._socket, self._ready = pid, ours, False

    def take(self, session_id: str, link_fd: int) -> int | None:
        """Have it keep a session.

        Returns:
            its pid; None: there is none, or none that could.
        """
        if self._socket is None:
            return None
        try:
            self._check(self._socket)
            socket.send_fds(self._socket, [session_id.encode()], [link_fd], socket.MSG_NOSIGNAL)
        except BlockingIOError:  # it is for another session
            return None
        except OSError:
            self.close()
            return None
        self.close()
        return self._pid

    def _check(self, sock: socket.socket) -> None:
        """See whether it waits.

        Raises:
            BlockingIOError: not yet. OSError: it is gone.
        """
        try:
            while sock.recv(len(_READY), socket.MSG_DONTWAIT):
                self._ready = True
            raise ProcessLookupError
        except BlockingIOError:
            if not self._ready:
                raise
        # It lives, so its pid is its own.
        if os.waitid(os.P_PID, self._pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None:
            os.kill(self._pid, signal.SIGKILL)  # it would be a custodian that hangs
            raise ProcessLookupError

    def close(self) -> None:
        """Let go of it, be it somebody's by now or not. A custodian that is forked beside it must do that, too."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _begin(zygote: socket.socket, its_end: socket.socket, let_go: Callable[[], None], written: bytes) -> None:
    """In the fork. Never returns."""
    status = 1
    try:
        os.setsid()
        its_end.close()
        let_go()
        prefault.copy(written)
        setproctitle(_TITLE)
        zygote.sendall(_READY)
        session_id, links, _, _ = socket.recv_fds(zygote, 64, 1, socket.MSG_CMSG_CLOEXEC)
        zygote.close()
        if links:  # else the zygote is gone
            custodian.run(session_id.decode(), socket.socket(fileno=links[0]))
        status = 0
    finally:
        os._exit(status)  # nothing of the zygote's own ending must run here
