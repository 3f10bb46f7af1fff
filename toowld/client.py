"""A blocking connection to the daemon or to a custodian, for programs that ask one thing and go.

Owns the socket, the exchange of `Hello`s and the pairing of answers with requests. Knows nothing of
terminals, of what the requests mean, or of asyncio. Every ``toowl`` command begins by importing this
module, so it imports next to nothing: ``_socket`` instead of ``socket`` saves building a dozen enums.
"""

from __future__ import annotations

import _socket
import math
import os
import struct
import time

from toowld import __version__, errors, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Any, TypeVar

    from toowld.paths import Paths

    _T = TypeVar("_T")


_RECEIVE_BYTES = 1 << 18
_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7), SO_PEERCRED)
_TIMEVAL = struct.Struct("@ll")

#: Failures with this id are about the connection, not about one request.
_CONNECTION = 0


class Client:
    """One connection, ready for requests.

    ``socket`` and ``decoder`` are the raw parts: whoever attaches takes both over, because the decoder may
    hold bytes that came together with the last answer.
    """

    def __init__(
        self, socket: _socket.socket, where: str, *, timeout: float = 5.0, asked: int | None = None
    ) -> None:
        """Speak on a connected ``socket``.

        Args:
            where: names the peer in error messages.
            asked: our Hello, and the requests up to this number, were sent over it already.

        Raises:
            DaemonUnreachable: the peer hung up or sent no `Hello` in time.
            ProtocolError: it speaks no version that we speak, or not our protocol at all.
        """
        self.socket = socket
        self.decoder = wire.FrameDecoder()
        self._where = where
        self._last_id = asked or _CONNECTION
        deadline = time.monotonic() + timeout
        if asked is None:
            about = {"role": "client", "build": __version__, "pid": os.getpid()}
            self._send(wire.Hello(about=about), deadline)
        hello = self._receive(deadline)
        if isinstance(hello, wire.Failure):
            raise errors.from_wire(hello.code, hello.text)
        if not isinstance(hello, wire.Hello):
            raise errors.RemoteProtocolError(f"{where} did not begin with a Hello: is it a toowld?")
        self.hello = hello
        self.version = wire.negotiate(hello)

    @classmethod
    def connect(cls, paths: Paths, *, timeout: float = 5.0) -> Client:
        """Connect to the daemon.

        Raises:
            DaemonUnreachable: none is running there, or it does not answer in time.
            RefusedError: the socket is somebody else's.
        """
        return cls.connect_daemon(os.fspath(paths.daemon_socket), timeout=timeout)

    @classmethod
    def connect_daemon(cls, path: str, *, timeout: float = 5.0) -> Client:
        """`connect`, to the daemon that listens on ``path``."""
        try:
            socket = reach(path, lambda: _connect(path, timeout))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise errors.DaemonUnreachable(
                f"no toowld is running at {path}: start it with `toowld --detach`; `toowld doctor` tells more"
            ) from error
        except OSError as error:
            raise errors.DaemonUnreachable(
                f"can't reach toowld at {path}: {_reason(error)}: see `toowld doctor`"
            ) from error
        return cls._begin(socket, f"toowld at {path}", timeout)

    @classmethod
    def connect_path(cls, path: Path | str, *, timeout: float = 5.0) -> Client:
        """Connect to the custodian that listens on ``path``.

        Raises:
            CustodianUnreachable: none is listening there.
            DaemonUnreachable: it does not answer in time.
            RefusedError: the socket is somebody else's.
        """
        path = os.fspath(path)
        try:
            socket = reach(path, lambda: _connect(path, timeout))
        except OSError as error:
            raise errors.CustodianUnreachable(
                f"can't reach the custodian at {path}: {_reason(error)}: see `toowld doctor`"
            ) from error
        return cls._begin(socket, f"the custodian at {path}", timeout)

    @classmethod
    def _begin(cls, socket: _socket.socket, where: str, timeout: float) -> Client:
        try:
            _, uid, _ = _UCRED.unpack(socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED.size))
            if uid != os.getuid():
                raise errors.RefusedError(f"{where} belongs to uid {uid}, not to us: run toowl as that user")
            return cls(socket, where, timeout=timeout)
        except BaseException:
            socket.close()
            raise

    def request(self, method: str, /, *, timeout: float | None = 10.0, **params: Any) -> dict[str, Any]:
        """Ask for ``method`` and wait for the answer. ``timeout`` in seconds; None waits for ever.

        After a timeout the connection can be used on: the late answer is dropped when it comes.

        Raises:
            ToowlError: the one that the peer's `Failure` names.
            DaemonUnreachable: the peer hung up, or did not answer in time.
            ProtocolError: the peer broke the rules; close the connection.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        return self._answer(self.post(method, params, deadline), deadline)

    def answer(self, request_id: int, *, timeout: float | None = 10.0) -> dict[str, Any]:
        """Wait for the answer to what was asked with `post`; otherwise like `request`."""
        return self._answer(request_id, None if timeout is None else time.monotonic() + timeout)

    def _answer(self, request_id: int, deadline: float | None) -> dict[str, Any]:
        while True:
            message = self._receive(deadline)
            if isinstance(message, wire.Failure) and message.id in (request_id, _CONNECTION):
                raise errors.from_wire(message.code, message.text)
            if isinstance(message, wire.Response) and message.id == request_id:
                return dict(message.result)

    def post(self, method: str, params: dict[str, Any], deadline: float | None = None) -> int:
        """Send a request without waiting for the answer; its id. ``attach`` has no plain answer."""
        self._last_id += 1
        self._send(wire.Request(id=self._last_id, method=method, params=params), deadline)
        return self._last_id

    def receive(self, *, timeout: float | None = None) -> wire.Message:
        """The next message of whatever kind; for what follows a `post`.

        Raises:
            DaemonUnreachable: the peer hung up, or sent nothing in time.
            ProtocolError: the peer broke the rules; close the connection.
        """
        return self._receive(None if timeout is None else time.monotonic() + timeout)

    def wait(self, timeout: float | None, pipe: int | None = None) -> bool:
        """Whether there is something to `receive` within ``timeout`` (seconds; None waits for ever).

        Args:
            pipe: a descriptor that we write to.

        Raises:
            BrokenPipeError: nobody reads ``pipe`` any more.
        """
        import select  # only for those who wait for things that may never come

        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        if pipe is not None:
            poll.register(pipe, 0)  # POLLERR comes unasked
        ready = poll.poll(None if timeout is None else math.ceil(timeout * 1000))
        if any(fd == pipe for fd, _ in ready):
            raise BrokenPipeError
        return bool(ready)

    def _send(self, message: wire.Message, deadline: float | None) -> None:
        self._set_timeout(deadline)
        try:
            self.socket.sendall(wire.encode(message))
        except TimeoutError:
            raise self._too_slow() from None
        except (BrokenPipeError, ConnectionResetError):
            return  # it hung up, and perhaps said why before: the next receive reads that, or finds the end
        except OSError as error:
            raise errors.DaemonUnreachable(f"lost {self._where}: {_reason(error)}: try again") from error

    def _receive(self, deadline: float | None) -> wire.Message:
        while (message := self.decoder.next_message()) is None:
            self._set_timeout(deadline)
            try:
                data = self.socket.recv(_RECEIVE_BYTES)
            except TimeoutError:
                raise self._too_slow() from None
            except OSError as error:
                raise errors.DaemonUnreachable(f"lost {self._where}: {_reason(error)}: try again") from error
            if not data:
                raise errors.DaemonUnreachable(f"{self._where} hung up before it answered: try again")
            self.decoder.feed(data)
        return message

    def _set_timeout(self, deadline: float | None) -> None:
        if deadline is None:
            self.socket.settimeout(None)
        elif (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
        else:
            raise self._too_slow()

    def _too_slow(self) -> errors.DaemonUnreachable:
        return errors.DaemonUnreachable(f"{self._where} does not answer: see `toowld doctor`")

    def close(self) -> None:
        """Hang up. May be called twice."""
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def reach(path: str, connect: Callable[[], _T]) -> _T:
    """Connect to whoever listens on ``path`` *now*.

    A socket's file may be replaced at any moment, by the same process or by its successor. Who is refused may have
    come to the one before.

    Args:
        connect: tries once.

    Raises:
        ConnectionRefusedError: nobody listens on the file that is there.
        OSError: what else ``connect`` raises.
    """
    while True:
        before = _identity(path)
        try:
            return connect()
        except ConnectionRefusedError:
            if _identity(path) == before:
                raise


def _identity(path: str) -> tuple[int, int] | None:
    """Tells one file from the next that has its name; the number alone is given away again at once."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


def _connect(path: str, timeout: float) -> _socket.socket:
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        # A non-blocking connect fails at once with EAGAIN while the listener's backlog is full, as it is just
        # after a daemon began to listen. A blocking one waits, for as long as SO_SNDTIMEO says.
        whole = int(timeout)
        patience = _TIMEVAL.pack(whole, int((timeout - whole) * 1e6))
        socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, patience)
        socket.connect(path)
        socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _TIMEVAL.pack(0, 0))
    except BaseException:
        socket.close()
        raise
    return socket


def _reason(error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return "it does not answer"
    return error.strerror or str(error)
