"""The custodian itself: hosts one session, and answers whoever holds a link to it.

Links are connections on its own socket, and the one that it was born with (to the daemon that wanted it). A link
may ask, may subscribe to news, may hand a client's connection over, or may become an attachment itself. Losing
all links changes nothing: the session goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket

from toowld import __version__
from toowld.custodian.link import Link
from toowld.custodian.loop import EpollLoop
from toowld.custodian.socketfile import SocketFile
from toowld.custodian.upgrade import Program, Upgrade
from toowld.errors import (
    AttachRefused,
    CustodianUnreachable,
    RefusedError,
    RemoteProtocolError,
    SpawnFailed,
    ToowlError,
    UpgradeFailed,
)
from toowld.host import SessionHost, Timer, control
from toowld.host.params import Params
from toowld.host.spec import Spec, open_host, start_child
from toowld.log import LogWriter
from toowld.session import Record, SessionState
from toowld.session import events as ev
from toowld.wire import Event, Failure, Hello, Message, Request, Response, encode
from toowld.wire.text import pack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: Born and not told to start within this time: the daemon died in between (seconds).
START_TIMEOUT = 10.0

#: Longest name of a session, as each client is told it. The daemon's own limit is lower.
MAX_NAME = 256

#: What a daemon may ask of us that not every custodian can do.
FEATURES = ("Upgrade", "Aging")

#: After the end: how long a daemon that is there may take to note how it ended (seconds).
ACKNOWLEDGE_TIMEOUT = 5.0

#: After the end, when the log could not be written: who is told of a full disk makes room within this time (seconds).
#: Until then it is tried again, and whoever wants to can read what is in memory, and how the child ended.
LINGER = 3600.0

#: What `_set` may change of a record.
_SETTINGS = ("settings", "size_policy", "scrollback_bytes")


class Custodian:
    """One session and its links.

    Args:
        session_id: whose keeper this is.
        loop: the process's loop; stopped when all is over.
    """

    def __init__(self, session_id: str, loop: EpollLoop) -> None:
        self._id = session_id
        self._loop = loop
        self._links: set[Link] = set()
        self._host: SessionHost | None = None
        self._record: Record | None = None
        self._socket_file: SocketFile | None = None
        self._acknowledged = False
        self._host_finished = False
        self._terminated = False
        self._upgrade: Upgrade | None = None
        self._asker: tuple[Link, int] | None = None  # who wanted us to take over, with which request
        self._deadline: Timer = loop.call_at(loop.time() + START_TIMEOUT, loop.stop)
        loop.on_signal(signal.SIGTERM, self._on_terminate)

    # --- links ------------------------------------------------------------------------------------------

    def add_link(self, sock: socket.socket) -> None:
        """Serve a connection."""
        link = self._take_in(sock, b"")
        about = {
            "role": "custodian",
            "build": __version__,
            "pid": os.getpid(),
            "session": self._id,
            "features": list(FEATURES),
        }
        link.socket.send(encode(Hello(about=about)))

    def _take_in(self, sock: socket.socket, unread: bytes) -> Link:
        link = Link(
            sock,
            self._loop,
            on_message=self._on_message,
            on_closed=self._on_link_closed,
            on_took=self._on_link_took,
            unread=unread,
        )
        self._links.add(link)
        return link

    def _on_link_closed(self, link: Link) -> None:
        self._links.discard(link)
        if self._host is None and not self._links:
            self._loop.stop()  # nobody is left who could tell us to start
        self._leave_if_done()

    def _on_message(self, link: Link, message: Message, fds: list[int]) -> None:
        try:
            if isinstance(message, Request) and link.greeted:
                self._answer(link, message, fds)
        finally:
            for fd in fds:  # nobody took them
                os.close(fd)

    def _answer(self, link: Link, request: Request, fds: list[int]) -> None:
        try:
            self._check_time(request)
            if (own := _METHODS.get(request.method)) is not None:
                result = own(self, link, request, fds)
            else:
                result = control.request(self._running_host(), request.method, request.params)
        except RemoteProtocolError as error:
            reply: Message = Failure(request.id, "refused", str(error))
        except ToowlError as error:
            reply = Failure(request.id, error.code, str(error))
        else:
            if result is None:  # answered later, or the connection is no link any more
                return
            reply = Response(request.id, result)
        link.socket.send(encode(reply))

    def _check_time(self, request: Request) -> None:
        """Do nothing that its asker has given up on: it was told that it failed.

        ``expires`` is in seconds of CLOCK_MONOTONIC, which all processes of a machine share.
        """
        expires = request.params.get("expires")
        if isinstance(expires, float) and self._loop.time() > expires:
            raise CustodianUnreachable(
                f"session {self._id} did not answer in time: {request.method} was not done: try again"
            )

    def _running_host(self) -> SessionHost:
        if self._host is None:
            raise RefusedError(f"session {self._id} is not started yet")
        return self._host

    # --- requests ---------------------------------------------------------------------------------------

    def _start(self, link: Link, request: Request, fds: list[int]) -> Mapping[str, Any]:
        """Open the PTY and start the child. Only now, so that nothing of it is born outside our scope."""
        if self._host is not None:
            raise RefusedError(f"session {self._id} is started already")
        spec = Spec.from_params(request.params)
        try:
            socket_path = Params("start", request.params).text("socket")
            self._socket_file = SocketFile(socket_path, self._loop, self.add_link)
        except OSError as error:
            raise SpawnFailed(
                f"can't make the socket of session {spec.record.label}: {error.strerror}: see `toowld doctor`"
            ) from error
        self._deadline.cancel()
        try:
            self._record = spec.record
            self._host = open_host(
                self._loop,
                spec,
                on_changed=self._publish,
                on_finished=self._on_host_finished,
                call_when_still=self._loop.call_when_still,
            )
            start_child(self._host, spec)
        except SpawnFailed:
            self._socket_file.close()  # now: a daemon that reads our answer does not wait until we are gone
            self._loop.stop()
            raise
        _shield_from_oom()
        return self._subscribe(link, request, fds)

    def _subscribe(self, link: Link, request: Request, fds: list[int]) -> Mapping[str, Any]:
        link.subscribed = True
        return self._informed(link)

    def _asked(self, link: Link, request: Request, fds: list[int]) -> Mapping[str, Any]:
        if self._socket_file is not None:
            self._socket_file.look()
        return self._informed(link)

    def _informed(self, link: Link) -> dict[str, Any]:
        """How the session is, for one who hears of it when that is not so any more, if it has subscribed."""
        if link.subscribed:
            link.informed = True
            self._running_host().on_next_turn(self._age)
        return self._info()

    def _age(self) -> None:
        """What was told is not so any more: say only that, once, however busy the session is."""
        frame = encode(Event("aged"))
        for link in [link for link in self._links if link.informed]:
            link.informed = False
            if link.socket.queued:
                link.behind = True
            else:
                link.socket.send(frame)

    def _info(self) -> dict[str, Any]:
        assert self._record is not None or self._host is None
        host = self._running_host()
        record = {} if self._record is None else self._record.to_map()
        packed: dict[str, Any] = pack_text({**control.info(host), "record": record, "build": __version__})
        return packed

    def _handover(self, link: Link, request: Request, fds: list[int]) -> Mapping[str, Any]:
        """A client's connection, passed by the daemon that brokered its attach."""
        params = Params("handover", request.params)
        joining = control.joining(params.mapping("attach"))
        request_id = params.integer("request_id")
        unread = params.data("unread")
        host = self._running_host()
        if host.finished:  # the daemon can show its end just as well
            raise AttachRefused(f"session {self._id} has just ended: attach again")
        if len(fds) != 1:
            raise RemoteProtocolError("handover: exactly one descriptor must come along")
        try:
            sock = socket.socket(fileno=fds[0])
        except OSError as error:
            raise RemoteProtocolError(f"handover: what came along is no socket: {error.strerror}") from error
        fds.clear()  # it is the socket's now
        host.join(sock, unread, request_id, joining)
        return {}

    def _attach(self, link: Link, request: Request, fds: list[int]) -> None:
        """A client that came straight to us, as the daemon is down."""
        joining = control.joining(request.params)
        host = self._running_host()
        if link.socket.queued:
            raise RefusedError("attach: read what was sent before, then ask again")
        self._links.discard(link)
        sock, unread = link.socket.release()
        host.join(sock, unread, request.id, joining)

    def _set_name(self, link: Link, request: Request, fds: list[int]) -> Mapping[str, Any]:
        host = self._running_host()
        assert self._record is not None
        name = Params("set_name", request.params).text_or_none("name")
        if pack_text(name) != name or len(name or "") > MAX_NAME:
            raise RemoteProtocolError(f"set_name: 'name' must be UTF-8 and {MAX_NAME} characters at most")
        self._record = self._record.changed(name=name)
        host.rename(self._record.name)
        self._publish()
        return {}

    def _set(self, link: Link, request: Request, fds: list[int]) -> Mapping[str, Any]:
        """What was set for the session; known here too, so that it is not lost with the daemon's record."""
        host = self._running_host()
        assert self._record is not None
        told = {name: request.params[name] for name in _SETTINGS if name in request.params}
        changed = Record.from_map(self._record.to_map() | told)
        control.request(host, "set", request.params)
        self._record = changed
        self._publish()
        return {}

    def _shutdown(self, link: Link, request: Request, fds: list[int]) -> Mapping[str, Any]:
        """The daemon has noted how the child ended."""
        if self._running_host().session.state is not SessionState.ENDED:
            raise RefusedError(f"session {self._id} is running")
        self._acknowledged = True
        if self._socket_file is not None and not self._running_host().log.degraded:
            # There is nothing more to be had here, while clients still get their last bytes: whoever looks for
            # custodians must not take this one for a running session, and a successor may need the name.
            self._socket_file.close()
        self._loop.call_at(self._loop.time(), self._leave_if_done)  # after the answer has gone out
        return {}

    # --- over an upgrade of the code --------------------------------------------------------------------

    def _begin_upgrade(self, link: Link, request: Request, fds: list[int]) -> None:
        """Let newer code go on in our place. It answers, if all goes well."""
        params = Params("upgrade", request.params)
        argv, env = params.texts_or_none("argv"), params.environment("env")
        dry_run = params.flag("dry_run", False)
        host = self._running_host()
        if not argv:
            raise RemoteProtocolError("upgrade: 'argv' must not be empty")
        if self._upgrade is not None:
            raise RefusedError(f"session {self._id} is being upgraded already: wait until that is done")

        def on_checked(version: str) -> None:
            over(Response(request.id, {"build": version}))

        def on_failed(reason: str) -> None:
            text = f"the new code can't keep session {self._id}: {reason}: toowl {__version__} goes on keeping it"
            over(Failure(request.id, UpgradeFailed.code, text))

        def over(answer: Message) -> None:
            self._upgrade = None
            link.socket.send(encode(answer))

        upgrade = Upgrade(
            self._loop,
            self._id,
            Program(argv, env),
            host,
            lambda keep: self._freeze(keep, link, request.id),
            on_failed=on_failed,
            on_checked=on_checked if dry_run else None,
        )
        expires = request.params.get("expires")
        upgrade.begin(expires if isinstance(expires, float) else None)
        self._upgrade = upgrade

    def _freeze(self, keep: Callable[[int], int], asker: Link, request_id: int) -> dict[str, Any]:
        """All that there is, as plain values for `thaw`. ``keep`` gets each descriptor, and gives it back."""
        assert self._host is not None and self._socket_file is not None and self._record is not None
        links = list(self._links)
        return {
            "id": self._id,
            "record": pack_text(self._record.to_map()),
            "links": [link.freeze(keep) for link in links],
            "asker": links.index(asker) if asker in links else None,
            "request": request_id,
            "listening": self._socket_file.freeze(keep),
            "host": self._host.freeze(keep),
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any], take: Callable[[int], int], loop: EpollLoop) -> Custodian:
        """Go on where another one was; see `go_on`. ``take`` makes descriptors ours. Says and does nothing yet."""
        custodian = cls(state["id"], loop)
        custodian._deadline.cancel()
        custodian._record = Record.from_packed(state["record"])
        custodian._host = SessionHost.thaw(
            state["host"],
            take,
            loop,
            on_changed=custodian._publish,
            on_finished=custodian._on_host_finished,
            call_when_still=loop.call_when_still,
        )
        custodian._socket_file = SocketFile.thaw(state["listening"], take, loop, custodian.add_link)
        links = []
        for about in state["links"]:
            connection = about["socket"]
            link = custodian._take_in(socket.socket(fileno=take(connection["fd"])), connection["unread"])
            link.thaw(about, take)
            links.append(link)
        if state["asker"] is not None:
            custodian._asker = (links[state["asker"]], state["request"])
        return custodian

    def check(self) -> None:
        """After `thaw`: make sure that the log is as it is said to be.

        Raises:
            ValueError, OSError: it is not.
        """
        log = self._running_host().log
        assert isinstance(log, LogWriter)
        log.check()

    def go_on(self) -> None:
        """After `thaw`: we are the custodian now; whoever asked for that is told."""
        if self._asker is not None:
            link, request_id = self._asker
            answer = {"build": __version__, "features": list(FEATURES)}
            link.socket.send(encode(Response(request_id, answer)))
        self._publish()

    # --- news and the end -------------------------------------------------------------------------------

    def _publish(self) -> None:
        if self._host is None or self._record is None:
            return
        self._leave_if_done()  # perhaps the disk has taken by now what it did not
        subscribed = [link for link in self._links if link.subscribed]
        if not subscribed:
            for query in self._host.session.questions:  # nobody is there who could look
                self._host.tell(ev.ScreenAnswered(query.end, b""))
            return
        frame = encode(Event("changed", self._info()))
        for link in subscribed:
            if link.socket.queued:
                link.behind = (
                    True  # a daemon that is stopped gets the last state when it goes on, not all of them
                )
            else:
                link.informed = True
                link.socket.send(frame)
        self._host.on_next_turn(self._age)

    def _on_link_took(self, link: Link, queued: int) -> None:
        if link.behind and not queued:
            link.behind = False
            link.socket.send(encode(Event("changed", self._informed(link))))

    def _on_host_finished(self) -> None:
        self._host_finished = True
        if self._terminated:
            self._loop.stop()
        assert self._host is not None
        wait = LINGER if self._host.log.degraded else ACKNOWLEDGE_TIMEOUT
        self._deadline.cancel()
        self._deadline = self._loop.call_at(self._loop.time() + wait, self._loop.stop)
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        """Go, once nobody needs us: the log, or a daemon, knows how the child ended."""
        if not self._host_finished or self._host is None or self._host.log.degraded:
            return
        if self._acknowledged or not any(link.subscribed for link in self._links):
            self._loop.stop()

    def _on_terminate(self) -> None:
        """Somebody ends this process (a shutdown, most likely): the log is brought to disk, the child hung up on."""
        if self._host is None or self._host_finished:
            self._loop.stop()
        else:
            self._terminated = True
            self._host.end("lost")  # finishes when its clients have their last bytes, or had their time

    def close(self) -> None:
        """Leave no socket behind."""
        if self._upgrade is not None:
            self._upgrade.close()
        if self._socket_file is not None:
            self._socket_file.close()
        if self._host_finished and self._host is not None:
            self._host.abandon("lost")  # the disk may take by now what it did not when the child ended
        for link in self._links:
            link.socket.close()


#: What is asked of a custodian itself; the rest is asked of its host.
_METHODS: Mapping[str, Callable[[Custodian, Link, Request, list[int]], Mapping[str, Any] | None]] = {
    "start": Custodian._start,
    "subscribe": Custodian._subscribe,
    "info": Custodian._asked,
    "handover": Custodian._handover,
    "attach": Custodian._attach,
    "set_name": Custodian._set_name,
    "set": Custodian._set,
    "shutdown": Custodian._shutdown,
    "upgrade": Custodian._begin_upgrade,
}


def _shield_from_oom() -> None:
    """Let the kernel kill the hungry child rather than its keeper. Only root may lower the score.

    After the child has been started: it would inherit the score.
    """
    with contextlib.suppress(OSError):
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"-500")
        finally:
            os.close(fd)
