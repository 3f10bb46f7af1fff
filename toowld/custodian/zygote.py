"""The zygote: a small process that has imported all a custodian needs, and forks one on request.

A fork costs a fifth of the time and less than half of the memory of a fresh interpreter, and it is made from a
process without threads and without an event loop, where forking is safe. It is a child of the daemon and goes when
the daemon goes (end of file on their socket); the custodians stay.

While nobody asks, it improves itself: what it does to its memory once, no custodian does in its own. A request waits
for no more than a piece of that, and nothing is lost if it fails. Then, once it was asked for a custodian, it has one
ready for the next session (`spare`).

The conversation, over a stream socket: the daemon sends a frame ``Request(id, "fork", {"id": SESSION})`` with one
descriptor, which becomes the custodian's first link; the answer is ``Response(id, {"pid": PID})`` or `Failure`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import select
import signal
import socket
import sys

from toowld.custodian import __main__ as custodian
from toowld.custodian import gathering, holes, prefault
from toowld.custodian.rehearsal import rehearse
from toowld.custodian.spare import Spare
from toowld.custodian.title import setproctitle
from toowld.wire import Failure, FrameDecoder, Message, Request, Response, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

_ID = re.compile(r"[0-9a-f]{8}")

#: When nothing was asked for so long, the daemon has started, and is left what processors there are (milliseconds).
STARTED = 1000

#: When nothing more was asked for so long, nothing is likely to be asked in the next moment (milliseconds).
QUIET = 100

#: When nothing more was asked for so long, the session that was asked for runs, and is not one of many that are made
#: as fast as they can be: a spare would keep a processor from them (milliseconds).
SETTLED = 20

#: CPython looks at what a function does once it was called eight times, and then a few times more. Chosen by
#: experiment: with twice as many it is the same.
REHEARSALS = 12


def serve(daemon: socket.socket) -> None:
    """Fork custodians until the daemon is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps; the daemon learns of an end by its link
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)  # meant for the daemon; it takes us along
    setproctitle("toowld --zygote")
    _settle()
    if sys.version_info < (3, 12):
        # Each attribute that a custodian looks up would throw another one out, and so write to that one's name,
        # wherever it lies: 0.1 MB. Later versions do not count who uses a name.
        sys._clear_type_cache()
    conversation = _Conversation(daemon)
    patience = STARTED
    for _ in _improvements():
        while conversation.is_asked(within=patience):
            if not conversation.go_on():
                return
            patience = QUIET
        patience = 0
    while True:
        if conversation.lacks_spare and not conversation.is_asked(within=SETTLED):
            conversation.make_spare()
        if not conversation.go_on():
            return


class _Conversation:
    """With the daemon."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._decoder = FrameDecoder()
        self._fds: list[int] = []
        self._poll = select.poll()
        self._poll.register(daemon, select.POLLIN)
        self._spare = Spare()
        self._written: bytes | None = None
        #: One is to be made. Not for a daemon that never has a custodian forked: that it costs nothing.
        self.lacks_spare = False

    def is_asked(self, within: int) -> bool:
        """Whether there is something to `go_on` with, before so many milliseconds are over."""
        return bool(self._poll.poll(within))

    def go_on(self) -> bool:
        """Answer what comes next. False: the daemon is gone."""
        # Close-on-exec: the link must not reach the shells.
        data, received, _, _ = socket.recv_fds(self._daemon, 4096, 4, socket.MSG_CMSG_CLOEXEC)
        self._fds += received
        self._decoder.feed(data)
        for message in self._decoder.messages():
            if isinstance(message, Request):
                # A request without a descriptor gets none: the kernel ends a read where one came.
                self._daemon.sendall(encode(self._answer(message)))
        return bool(data)

    def make_spare(self) -> None:
        """Have a custodian ready for the next session."""
        self.lacks_spare = False
        if self._written is None:
            self._written = b""
            with contextlib.suppress(Exception):  # a start takes longer without it, and no more
                self._written = prefault.written_by_a_beginning(self._fork)
        with contextlib.suppress(OSError):  # the next custodian is forked, or it is said why it can't be
            self._spare.make(self._let_go, self._written)

    def _answer(self, request: Request) -> Message:
        """Have a session kept, and tell how it went."""
        session_id = request.params.get("id")
        link_fd = self._fds.pop(0) if self._fds else -1
        try:
            if request.method != "fork" or not isinstance(session_id, str) or not _ID.fullmatch(session_id):
                return Failure(request.id, "refused", "a zygote takes fork requests, each with a session id")
            if link_fd < 0:
                return Failure(request.id, "refused", "a fork request comes with one descriptor")
            try:
                pid = self._spare.take(session_id, link_fd) or self._fork(session_id, link_fd)
            except OSError as error:
                return Failure(request.id, "spawn-failed", f"can't fork: {error.strerror}")
            self.lacks_spare = True
            return Response(request.id, {"pid": pid})
        finally:
            if link_fd >= 0:
                os.close(link_fd)

    def _fork(self, session_id: str, link_fd: int, *others: int) -> int:
        """A new custodian, which keeps nothing of ours but our memory. There, it never returns.

        Args:
            others: descriptors that it must not have either.
        """
        if (pid := os.fork()) != 0:
            return pid
        status = 1
        try:
            os.setsid()
            self._let_go(*others)
            custodian.run(session_id, socket.socket(fileno=link_fd))
            status = 0
        finally:
            # Not sys.exit: nothing of the zygote's own ending must run here.
            os._exit(status)

    def _let_go(self, *others: int) -> None:
        """In a fork: of all that is ours alone."""
        self._daemon.close()
        self._spare.close()
        for fd in (*self._fds, *others):
            os.close(fd)


def _improvements() -> Iterator[None]:
    """Have a custodian write to, and so copy, fewer of the pages that it shares with us: a fifth less memory.

    A piece after each ``yield``, none longer than a fork may be waited for; who is forked in between has some of it.
    """
    with contextlib.suppress(Exception):  # a custodian is larger without them, and no more
        yield
        _gather(gathering.called_by(rehearse))
        for _ in range(REHEARSALS):
            yield
            rehearse()
    _settle()  # at once: custodians would else lie in the holes that the rehearsals left, and be larger by 0.4 MB


def _gather(codes: list[CodeType]) -> None:
    gc.unfreeze()
    holes.fill()
    gathering.gather(codes)
    gc.freeze()


def _settle() -> None:
    """Have new objects of a custodian lie on pages of their own, and those that are here left alone."""
    gc.collect()
    holes.fill()
    gc.freeze()  # a collection there would write to all that we have


def main(argv: list[str]) -> int:
    """``toowld --zygote FD``: FD is an inherited socket to the daemon. Not for people."""
    try:
        daemon = socket.socket(fileno=int(argv[0]))
    except (IndexError, ValueError, OSError):
        print("toowld: --zygote is started by toowld itself", file=sys.stderr)
        return 2
    daemon.set_inheritable(False)
    os.chdir("/")
    with contextlib.suppress(ConnectionError):  # the daemon was killed while we answered
        serve(daemon)
    return 0
