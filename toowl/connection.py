"""The way from a client to its session, over as many connections as it takes.

Owns the socket, its loss, and the tries to get another one. Nothing here blocks: the caller polls (`register`,
`deadline`), calls `tend`, and keeps its terminal alive meanwhile. What the messages mean is not our business, except
for the few that make an attachment of a connection.

A new connection is tried with the daemon first, which finds every session, also one that has ended; then with the
custodian of the session itself, which needs no daemon.
"""

from __future__ import annotations

import _socket  # socket would build a dozen enums
import os
import select
import struct
import time
from array import array

from toowl.reconnect import Backoff, Clocks, Keepalive, LinkState, Reconnector
from toowld import __version__, errors, wire
from toowld.classes import define, frozen
from toowld.client import Client
from toowld.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

#: As much as a session keeps on its way to us. Over malloc's M_MMAP_THRESHOLD (128 KiB) the buffer would be mapped
#: and unmapped for every key.
_RECEIVE_BYTES = 64 << 10
#: One peer may take so long: the daemon waits up to 3 s for a session that is being started or ended.
_DIAL_TIMEOUT = 5.0
#: While the link is down the clocks are looked at so often: a sleeping machine stops poll(2)'s clock as well.
_LOOK_INTERVAL = 1.0
#: Who owes us something and has been silent for so long, although asked twice, is said to hang (seconds).
_DOUBT = 3.0
#: A connection over which so much came does work, even if it broke within the first piece of output.
_PROOF = 4 << 10
_REQUEST_ID = 1
_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)

#: Trying again does not help against these.
_FINAL = (errors.SessionNotFound, errors.ProtocolError)


@frozen
class Established:
    """A connection that is an attachment now. ``decoder`` may hold messages already."""

    socket: _socket.socket
    decoder: wire.FrameDecoder
    attached: wire.Attached


class Dial:
    """One try: connects, says Hello, asks to attach. ``advance`` it whenever its socket is ready or time has passed.

    Args:
        targets: paths of sockets and what listens there, in the order in which to try them.
        params: of the request ``attach``.
    """

    def __init__(self, targets: Sequence[tuple[str, str]], params: dict[str, Any], now: float) -> None:
        self._targets = iter(targets)
        self._params = params
        self._socket: _socket.socket | None = None
        self._decoder = wire.FrameDecoder()
        self._outbox = bytearray()
        self._what = ""
        self._failures: list[errors.ToowlError] = []
        self.deadline = now

    def register(self, poll: select.poll) -> int | None:
        """Have ``poll`` wait for this; the file descriptor."""
        if self._socket is None:
            return None
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._outbox else 0))
        return self._socket.fileno()

    def advance(self, now: float) -> Established | None:
        """Do what can be done now; the connection, once it is there.

        Raises:
            ToowlError: nobody took us. One of `_FINAL`: nobody will.
        """
        while True:
            if self._socket is None:
                self._open(now)
            elif now >= self.deadline:
                self._next(errors.DaemonUnreachable(f"{self._what} does not answer"))
            else:
                try:
                    return self._exchange()
                except (errors.ToowlError, OSError) as error:
                    self._next(self._explained(error))

    def _open(self, now: float) -> None:
        target = next(self._targets, None)
        if target is None:
            raise self._verdict()
        path, self._what = target
        self._decoder = wire.FrameDecoder()
        about = {"role": "client", "build": __version__, "pid": os.getpid()}
        self._outbox = bytearray(wire.encode(wire.Hello(about=about)))
        self.deadline = now + _DIAL_TIMEOUT
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(path)  # done or failed at once; EAGAIN: its queue is full
            _, uid, _ = _UCRED.unpack(self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
            if uid != os.getuid():
                raise errors.RefusedError(
                    f"{self._what} belongs to uid {uid}, not to us: run toowl as that user"
                )
        except (errors.ToowlError, OSError) as error:
            self._next(self._explained(error))

    def _exchange(self) -> Established | None:
        assert self._socket is not None
        while True:
            try:
                while self._outbox:
                    del self._outbox[: self._socket.send(self._outbox)]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                self._outbox.clear()  # it may have said why before it hung up
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return None
            if not data:
                raise errors.DaemonUnreachable(f"{self._what} hung up")
            self._decoder.feed(data)
            while (message := self._decoder.next_message()) is not None:
                match message:
                    case wire.Hello():
                        wire.negotiate(message)
                        request = wire.Request(id=_REQUEST_ID, method="attach", params=self._params)
                        self._outbox += wire.encode(request)
                    case wire.Failure(id=(0 | 1), code=code, text=text):
                        raise errors.from_wire(code, text)
                    case wire.Attached():
                        established = Established(self._socket, self._decoder, message)
                        self._socket = None
                        return established

    def _explained(self, error: errors.ToowlError | OSError) -> errors.ToowlError:
        if isinstance(error, errors.ToowlError):
            return error
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return errors.DaemonUnreachable(f"{self._what} is not there")
        return errors.DaemonUnreachable(f"{self._what} does not answer")

    def _next(self, failure: errors.ToowlError) -> None:
        self._failures.append(failure)
        self.close()

    def _verdict(self) -> errors.ToowlError:
        """What to tell: a reason to give up, else what the daemon said, who knows more than a custodian."""
        return next((error for error in self._failures if isinstance(error, _FINAL)), self._failures[0])

    def close(self) -> None:
        """Hang up. May be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@define
class Dialler:
    """Where a session can be reached.

    Args:
        paths: tells where the sockets are, once that is needed.
        keepalive: for a transport that can go silent; None for Unix sockets.
        base: the first delay between two tries.
    """

    paths: Callable[[], Paths]
    keepalive: Keepalive | None = None
    base: float = 0.1

    def dial(self, session_id: str, params: dict[str, Any], now: float) -> Dial:
        """Begin to attach to the session."""
        paths = self.paths()
        targets = (
            (os.fspath(paths.daemon_socket), "toowld"),
            (os.fspath(paths.custodian_socket(session_id)), "its custodian"),
        )
        return Dial(targets, params | {"session": session_id}, now)


def _is_dead(watching: Keepalive, outbox: bytearray) -> bool:
    """Whether the peer has been silent for too long. Puts a `Ping` into ``outbox`` when one is due."""
    now = time.monotonic()
    if watching.dead(now):
        return True
    if (token := watching.ping(now)) is not None:
        outbox += wire.encode(wire.Ping(token))
    return False


def _chance() -> float:
    """From 0 to 1, for the jitter."""
    import random  # needed only once a connection was lost, and slow to load

    return random.random()


def clocks() -> Clocks:
    """What the clocks say now."""
    return Clocks(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME), time.time())


class Connection:
    """An attachment's link: a socket, or the wait for one.

    Args:
        client: the first connection, already attached; taken over.
        session_id: whose it is; with None, or without ``dialler``, a lost connection stays lost.
    """

    def __init__(self, client: Client, session_id: str | None, dialler: Dialler | None) -> None:
        self._socket: Any = client.socket  # Client's is an _socket.socket
        self._socket.settimeout(0)
        self._decoder = client.decoder
        self.session_id = session_id
        self._dialler = dialler
        self._keepalive = dialler.keepalive if dialler else None
        self._doubt: Keepalive | None = None
        self._can_send = True
        self._received = 0  # over this connection, since it is an attachment
        self._input_seq = -1  # when the last connection began
        self._dial: Dial | None = None
        self._link = Reconnector(
            Backoff(_chance, base=dialler.base if dialler else 1.0),
            clocks(),
        )
        self._link.dial()
        self._link.established(time.monotonic())
        self._begin_keepalive()
        self.down_since: float | None = None
        self.reason = ""

    @property
    def up(self) -> bool:
        return self._link.state is LinkState.CONNECTED

    @property
    def may_return(self) -> bool:
        """Whether a lost connection is worth waiting for another."""
        return self._dialler is not None and self.session_id is not None

    # -- polling ------------------------------------------------------------------------------------------

    def register(self, poll: select.poll, *, read: bool, write: bool) -> int | None:
        """Have ``poll`` wait for this; the file descriptor. ``read`` and ``write``: what is wanted while up."""
        if self._dial is not None:
            return self._dial.register(poll)
        if not self.up:
            return None
        mask = (select.POLLIN if read else 0) | (select.POLLOUT if write else 0)
        if not read:
            self._heard(time.monotonic())  # who does not listen must not complain of silence
        if not mask:  # a socket that hung up is always "ready", even if nothing is asked
            return None
        poll.register(self._socket, mask)
        return int(self._socket.fileno())

    @property
    def deadline(self) -> float | None:
        """When to call `tend` again."""
        if self.up:
            now = time.monotonic()
            # Whoever was found to be silent is not asked any more: what it says wakes us.
            watching = (
                one for one in (self._keepalive, self._doubt) if one is not None and not one.dead(now)
            )
            return min((one.deadline for one in watching), default=None)
        if self._link.state is LinkState.DISCONNECTED:
            return None
        look = time.monotonic() + _LOOK_INTERVAL
        if self._dial is not None:
            return min(look, self._dial.deadline)
        return look if self._link.retry_at is None else min(look, self._link.retry_at)

    def tend(self, params: dict[str, Any]) -> wire.Attached | None:
        """Do what is due; what the session answered, once a new connection is there.

        Args:
            params: of ``attach``, for a try that begins now.

        Raises:
            ToowlError: there will be no other connection.
        """
        now = time.monotonic()
        if self.up or self._link.state is LinkState.DISCONNECTED:
            return None
        self._link.look(clocks())
        if self._link.due(now):
            assert self._dialler is not None and self.session_id is not None
            self._link.dial()
            self._dial = self._dialler.dial(self.session_id, params, now)
        if self._dial is None:
            return None
        try:
            established = self._dial.advance(now)
        except errors.ToowlError as error:
            self._dial = None
            self._link.failed(now)
            self.reason = str(error)
            if isinstance(error, _FINAL):
                raise
            return None
        if established is None:
            return None
        self._dial = None
        self._socket, self._decoder = established.socket, established.decoder
        self._can_send = True
        self._received = 0
        self._link.established(now)
        if established.attached.input_seq != self._input_seq:
            self._link.proved()  # the one before did work, though nothing came back over it
        self._input_seq = established.attached.input_seq
        self._begin_keepalive()
        self.down_since = None
        return established.attached

    def stalled(self, outbox: bytearray) -> bool:
        """Whether the peer has been silent for too long. Asked only over a transport that can go silent."""
        return self._keepalive is not None and self.up and _is_dead(self._keepalive, outbox)

    def silent(self, outbox: bytearray, *, owed: bool) -> bool:
        """Whether a peer that owes us something (``owed``) says nothing, not even that it is there: it hangs.

        For Unix sockets too: the kernel tells of a peer that is gone, not of one that is stopped. It is asked only
        while that is of use, as `stalled` does.
        """
        if not (owed and self.up):
            self._doubt = None
            return False
        if self._doubt is None:
            self._doubt = Keepalive(interval=_DOUBT / 3, patience=_DOUBT)
            self._doubt.begin(time.monotonic())
        return _is_dead(self._doubt, outbox)

    def _heard(self, now: float) -> None:
        for watching in (self._keepalive, self._doubt):
            if watching is not None:
                watching.heard(now)

    def _begin_keepalive(self) -> None:
        if self._keepalive is not None:
            self._keepalive.begin(time.monotonic())

    def retry_now(self) -> None:
        """Something happened that may have helped."""
        now = time.monotonic()
        self._heard(now)  # we were stopped: that is not the peer's silence
        self._link.retry_now(now)

    # -- while it is up -----------------------------------------------------------------------------------

    def receive(self) -> bool:
        """Take in what came, for `messages`; False if the peer hung up."""
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # a reset is an end like any other
            data = b""
        if data:
            self._heard(time.monotonic())
        self._received += len(data)
        if self._received >= _PROOF:
            self._link.proved()
        self._decoder.feed(data)
        return bool(data)

    def messages(self) -> Iterator[wire.Message]:
        """What came and was not taken yet."""
        for message in self._decoder.messages():
            if isinstance(message, wire.Output | wire.InputAck):
                self._link.proved()
            yield message

    def send(self, outbox: bytearray) -> None:
        """Send what the peer takes at once."""
        if not self.up or not self._can_send:
            outbox.clear()
        while outbox:
            try:
                sent = self._socket.send(outbox)
            except BlockingIOError:
                return
            except OSError:
                # What the session sent before it hung up is still to be read; the end comes with that.
                self._can_send = False
                outbox.clear()
                return
            del outbox[:sent]

    def send_with(self, frame: bytes, fds: Sequence[int], outbox: bytearray) -> bool:
        """Send a frame with descriptors, or nothing at all. ``outbox``: empty; gets what is left of the frame."""
        assert not outbox, "the frame would be torn from its descriptors"
        if not self.up or not self._can_send:
            return False
        try:
            sent = self._socket.sendmsg([frame], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", fds))])
        except OSError:  # no room, or no peer, which reading tells
            return False
        outbox += frame[sent:]
        return True

    def lost(self, reason: str) -> None:
        """The connection is gone. `tend` brings another."""
        self._socket.close()
        now = time.monotonic()
        self._link.lost(now)
        self.down_since = now
        self.reason = reason

    def close(self) -> None:
        """The end. May be called twice."""
        if self._dial is not None:
            self._dial.close()
            self._dial = None
        self._socket.close()
        self._link.close()
