"""Unix sockets that carry frames: listening, who the peer is, sending, receiving, passing descriptors.

`FrameSocket` never blocks and never raises at its owner: what goes wrong ends in ``on_close`` with a reason.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import stat
import struct
import termios
from collections import deque

from toowld.errors import RemoteProtocolError
from toowld.host.loop import Loop
from toowld.wire import FrameDecoder, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

#: One read. As large as the largest piece of output, so that a whole one costs one system call.
READ_SIZE = 64 << 10

#: Descriptors that may come with one read (SCM_MAX_FD is 253; we pass two at most).
_FDS_AT_ONCE = 4

#: Descriptors that may wait for the rest of their frames: a peer must not use up all that this process may open.
_FDS_WAITING = 16

#: A peer that lets so much of what we sent wait is not read from until it took half of that (bytes): who asks without
#: reading the answers must not fill our memory. Far more than is ever queued for an attached client, which
#: has to be heard while its terminal stands still.
UNREAD_LIMIT = 1 << 20

_UCRED = struct.Struct("3i")

#: Connections that may wait to be accepted. A burst of clients after a restart is served from here.
BACKLOG = 128


def listen(path: str) -> socket.socket:
    """A listening socket at ``path``, mode 0600, non-blocking; what was there is replaced at once.

    The socket is bound under another name and renamed, so that nobody ever meets one that does not listen yet, and
    two that replace each other never both believe to own the name.

    Raises:
        OSError: the folder is gone or not ours.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    # One character longer than the name at most, as sun_path is short.
    temporary = f"{path}~"
    try:
        with contextlib.suppress(FileNotFoundError):  # the usual case: nobody died in this very function
            os.unlink(temporary)
        sock.bind(temporary)
        os.chmod(temporary, 0o600)
        sock.listen(BACKLOG)
        os.rename(temporary, path)
    except OSError:
        sock.close()
        with contextlib.suppress(OSError):  # not even bound
            os.unlink(temporary)
        raise
    return sock


def is_socket_of_ours(path: str) -> bool:
    """Whether ``path`` is a socket, no symlink, and belongs to our uid."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()


def peer_uid_pid(sock: socket.socket) -> tuple[int, int]:
    """The uid and pid of whoever made the connection (SO_PEERCRED, unix(7))."""
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return uid, pid


def is_peer_us(sock: socket.socket) -> bool:
    """Whether the peer runs under our uid. Nobody else is ever served, root neither."""
    return peer_uid_pid(sock)[0] == os.getuid()


class FrameSocket:
    """A connected, non-blocking stream socket that sends and receives whole messages.

    Args:
        sock: becomes ours.
        loop: that calls us.
        on_message: gets each message, and what descriptors came with it (they become the callee's).
        on_close: gets the reason, once, when the peer is gone, broke the rules, or has been sent all that
            `close_when_sent` waited for; never after `close` or `release`.
        on_sent: called after bytes went out, with how many are left.
        on_room: the answer to `watch_room`.
        unread: bytes that somebody else had read from the socket already.
        patient: the peer is one of ours and reads what it asked for: never leave it unheard.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: Loop,
        *,
        on_message: Callable[[Message, list[int]], None],
        on_close: Callable[[str], None],
        on_sent: Callable[[int], None] | None = None,
        on_room: Callable[[], None] | None = None,
        unread: bytes = b"",
        patient: bool = False,
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._fd = sock.fileno()
        self._loop = loop
        self.on_message = on_message
        self.on_close = on_close
        self.on_sent = on_sent
        self.on_room = on_room
        self._decoder = FrameDecoder()
        self._decoder.feed(unread)
        self._received = len(unread)  # bytes in all, to tell where in the stream we are
        # Descriptors that came, each read's with where that read ended.
        self._fds: deque[tuple[int, list[int]]] = deque()
        self._out: deque[tuple[bytes | memoryview, Sequence[int]]] = deque()
        self.queued = 0
        self._writing = False
        self._room_wanted = False
        self._open = True
        self._closing = False
        self._deaf = False  # the peer takes nothing any more; what it said before is still to be read
        self._paused = False
        self._held = False  # it has too much of ours to read
        self._patient = patient
        loop.add_reader(self._fd, self._on_readable)

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def is_unread(self) -> bool:
        """Whether the kernel still holds something of ours that the peer has not read (SIOCOUTQ, unix(7))."""
        count = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCOUTQ, count)  # the same number
        return count[0] > 0

    # --- over an upgrade of the code --------------------------------------------------------------------

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, for `thaw`. ``keep`` gets each descriptor that is in there, and gives it back."""
        assert not any(fds for _, fds in self._out), "nobody who is upgraded sends descriptors"
        used = self._received - self._decoder.pending
        return {
            "fd": keep(self._fd),
            "unread": self._decoder.unread,
            "fds": [[end - used, [keep(fd) for fd in fds]] for end, fds in self._fds],
            "out": b"".join(piece for piece, _ in self._out),
            "room_wanted": self._room_wanted,
            "deaf": self._deaf,
            "held": self._held,
        }

    def thaw(self, state: Mapping[str, Any], take: Callable[[int], int]) -> None:
        """Go on where another one was, whose descriptor and ``unread`` we were made with."""
        self._fds.extend((end, [take(fd) for fd in fds]) for end, fds in state["fds"])
        self._deaf = state["deaf"]
        self._room_wanted = state["room_wanted"]
        if state["out"]:
            self._out.append((state["out"], ()))
            self.queued = len(state["out"])
        if not self._deaf and (self._out or self._room_wanted):
            self._start_writing()
        if state["held"]:
            self._held = True
            self._loop.remove_reader(self._fd)

    # --- receiving --------------------------------------------------------------------------------------

    def process_unread(self) -> None:
        """Deliver what came in ``unread``. Separate from construction: the owner must be ready for callbacks."""
        self._deliver()

    def pause(self) -> None:
        """Deliver no more messages, from the next one on, and read nothing."""
        if self._open and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._open and self._paused:
            self._paused = False
            self._listen()

    def _listen(self) -> None:
        """Read on, unless something else forbids it, beginning with what was read before."""
        if self._open and not self._paused and not self._held:
            self._loop.add_reader(self._fd, self._on_readable)
            self._deliver()

    def _hold(self) -> None:
        if self.queued > UNREAD_LIMIT and not self._patient and not self._held and self._open:
            self._held = True
            self._loop.remove_reader(self._fd)

    def _on_readable(self) -> None:
        try:
            data, ancillary, _flags, _address = self.sock.recvmsg(
                READ_SIZE, socket.CMSG_SPACE(_FDS_AT_ONCE * 4), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        self._received += len(data)
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds.append((self._received, fds.tolist()))
        if not data:
            self._fail("closed")
            return
        if self._closing:
            self._close_fds()
            return  # only its last bytes still matter
        self._decoder.feed(data)
        self._deliver()
        if sum(len(fds) for _, fds in self._fds) > _FDS_WAITING:
            self._fail("too many descriptors")

    def _deliver(self) -> None:
        try:
            while self._open and not (self._closing or self._paused or self._held):
                message = self._decoder.next_message()
                if message is None:
                    break
                self.on_message(message, self._fds_of_last())
                self._hold()
        except RemoteProtocolError as error:
            self._fail(str(error))

    def _fds_of_last(self) -> list[int]:
        """The descriptors of the frame that was just decoded.

        A read that brings descriptors may begin with bytes sent before them, but the kernel ends it with the
        bytes that they were sent with (unix_stream_read_generic). So they belong to the frame which that end is in.
        """
        end = self._received - self._decoder.pending
        fds: list[int] = []
        while self._fds and self._fds[0][0] <= end:
            fds += self._fds.popleft()[1]
        return fds

    # --- sending ----------------------------------------------------------------------------------------

    def send(self, frame: bytes, fds: Sequence[int] = ()) -> None:
        """Send a frame, or queue what the kernel does not take now. ``fds`` are sent too and then closed here."""
        if not self._open or self._deaf:
            _close_all(fds)
            return
        idle = not self._out
        self._out.append((frame, fds))
        self.queued += len(frame)
        if idle:
            self._flush()

    def watch_room(self) -> None:
        """Call ``on_room`` once, from the loop, when nothing is queued and the kernel takes more."""
        self._room_wanted = True
        self._start_writing()

    def _start_writing(self) -> None:
        if not self._writing and self._open:
            self._writing = True
            self._loop.add_writer(self._fd, self._on_writable)

    def _on_writable(self) -> None:
        had = self.queued
        if self._flush() and self._open and self._room_wanted and not had:
            self._room_wanted = False
            if self.on_room is not None:
                self.on_room()
        # If something was flushed just now, the next turn tells whether there is still room.
        if self._open and self._writing and not (self._out or self._room_wanted):
            self._writing = False
            self._loop.remove_writer(self._fd)
        self._let_go()

    def _let_go(self) -> None:
        """Hear it again, once it has read enough."""
        if self._held and self.queued <= UNREAD_LIMIT // 2:
            self._held = False
            self._listen()

    def _flush(self) -> bool:
        """Write until all is gone or the kernel takes no more. Returns whether all is gone."""
        sent = 0
        try:
            while self._out:
                sent += self._send_some()
        except (BlockingIOError, InterruptedError):
            self._start_writing()
        except OSError:
            self._turn_deaf()
            return False
        if sent and self.on_sent is not None:
            self.on_sent(self.queued)
        if not self._out and self._closing:
            self._fail("sent")
        return not self._out

    def _turn_deaf(self) -> None:
        """The peer is gone. It may have said something before, which is read first; then comes its end of file."""
        self._deaf = True
        self._drop_queue()
        self._loop.remove_writer(self._fd)
        if self._closing:
            self._fail("gone")
        elif self._held:
            self._loop.call_at(self._loop.time(), self._let_go)  # not from within whoever sends

    def _send_some(self) -> int:
        head, fds = self._out[0]
        if fds:  # they belong to the first byte of their frame
            count = socket.send_fds(self.sock, [head], list(fds), socket.MSG_NOSIGNAL)
            _close_all(fds)
        else:
            count = self.sock.send(head, socket.MSG_NOSIGNAL)
        self.queued -= count
        if count == len(head):
            self._out.popleft()
        else:
            self._out[0] = memoryview(head)[count:], ()
        return count

    # --- ending -----------------------------------------------------------------------------------------

    def _fail(self, reason: str) -> None:
        if self._open:
            self.close()
            self.on_close(reason)

    def close(self) -> None:
        """Close now; what is queued is lost."""
        if self._open:
            self._stop()
            self.sock.close()

    def close_when_sent(self) -> None:
        """Close after what is queued has gone out, then call ``on_close``. What comes in until then is ignored."""
        self._closing = True
        if not self._out:
            self._fail("sent")

    def release(self) -> tuple[socket.socket, bytes]:
        """Give the socket away, with what was read from it and not used. Nothing must be queued.

        ``on_close`` is not called any more.
        """
        assert not self._out, "output would be lost"
        self._stop()
        return self.sock, self._decoder.take_unread()

    def _stop(self) -> None:
        self._open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._close_fds()
        self._drop_queue()

    def _close_fds(self) -> None:
        for _, fds in self._fds:
            _close_all(fds)
        self._fds.clear()

    def _drop_queue(self) -> None:
        for _, fds in self._out:
            _close_all(fds)
        self._out.clear()
        self.queued = 0


def _close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
