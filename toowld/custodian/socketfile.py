"""The custodian's listening socket, which comes back when its file vanishes.

Folders below ``/run/user`` are emptied at logout, and people clean up ``/tmp``. The process lives on, but nobody
could reach it any more. inotify(7) on the socket's own inode tells of its removal without a single periodic wake-up;
only while the folder can't be made again, and once after it was, does a timer look.

The inotify instances of a user are few (``max_user_instances`` is 128 on most machines). Who has got none looks when
somebody asks for it, and seldom by himself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket

from toowld.host import Loop, Timer
from toowld.host.sockets import is_peer_us, listen
from toowld.wire.text import pack_text, unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_IN_CLOEXEC, _IN_NONBLOCK = 0o2000000, 0o4000
#: The link count changes when a file is unlinked; the inode itself lives as long as it is bound.
_IN_ATTRIB, _IN_MOVE_SELF, _IN_DELETE_SELF = 0x4, 0x800, 0x400

#: While the folder is missing it is tried again so often, and so long after it came back it is looked at once
#: more: what empties a folder (systemd-logind, at logout) often takes it away a moment later, mount and all, which
#: no inode of ours notices (seconds).
RETRY = 5.0

#: Without an inotify instance, and nobody who asks: so long after it went, the socket is back (seconds). As seldom as
#: that is of use: hundreds may be in this position.
UNWATCHED = 300.0

#: With no descriptor free for a client, so long nobody is accepted (seconds).
FULL = 1.0

# Looked up here and not where they are called: what is made for each would be every custodian's own memory.
_libc = ctypes.CDLL(None)
_inotify_init1 = _libc.inotify_init1
_inotify_add_watch = _libc.inotify_add_watch


class SocketFile:
    """Listens at ``path`` for as long as the custodian lives.

    Args:
        on_connection: gets each accepted connection of our own uid.
        kept: a socket that listens there already, and the inode of its file.

    Raises:
        OSError: the socket can't be made the first time.
    """

    def __init__(
        self,
        path: str,
        loop: Loop,
        on_connection: Callable[[socket.socket], None],
        kept: tuple[socket.socket, int] | None = None,
    ) -> None:
        self._path = path
        self._loop = loop
        self._on_connection = on_connection
        self._again: Timer | None = None
        self._pause: Timer | None = None
        self._socket: socket.socket | None = None
        self._inode = -1
        self._inotify = -1
        self._watched = False  # the present file
        if kept is not None:
            self._use(*kept)
            self._look_again(RETRY)  # for what happened while nobody watched
        else:
            try:
                self._listen()
            except OSError:
                self.close()
                raise
        self._stay_aware()

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, for `thaw`. ``keep`` gets each descriptor, and gives it back."""
        assert self._socket is not None
        return {"path": pack_text(self._path), "inode": self._inode, "fd": keep(self._socket.fileno())}

    @classmethod
    def thaw(
        cls,
        state: Mapping[str, Any],
        take: Callable[[int], int],
        loop: Loop,
        on_connection: Callable[[socket.socket], None],
    ) -> SocketFile:
        """The opposite of `freeze`. ``take`` makes descriptors ours."""
        sock = socket.socket(fileno=take(state["fd"]))
        return cls(unpack_text(state["path"]), loop, on_connection, (sock, state["inode"]))

    def _listen(self) -> None:
        self._use(listen(self._path), os.stat(self._path).st_ino)

    def _use(self, sock: socket.socket, inode: int) -> None:
        self._drop_socket()
        self._socket = sock
        self._inode = inode
        self._loop.add_reader(sock.fileno(), self._on_acceptable)
        self._watched = False

    def _stay_aware(self) -> None:
        """Watch the file, or look again some time: perhaps there is an inotify instance for us by then."""
        if self._watched:
            return
        if self._inotify < 0:
            self._inotify = int(_inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK))
            if self._inotify >= 0:
                self._loop.add_reader(self._inotify, self._on_inotify)
        if self._inotify >= 0:
            mask = _IN_ATTRIB | _IN_MOVE_SELF | _IN_DELETE_SELF
            self._watched = _inotify_add_watch(self._inotify, os.fsencode(self._path), mask) >= 0
        if not self._watched and self._again is None:
            self._look_again(UNWATCHED)

    def _on_acceptable(self) -> None:
        assert self._socket is not None
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):  # the peer is gone again
            return
        except OSError:  # no descriptor is free: the connection stays in the queue, and so "ready"
            self._loop.remove_reader(self._socket.fileno())
            self._pause = self._loop.call_at(self._loop.time() + FULL, self._accept_again)
            return
        if is_peer_us(connection):
            self._on_connection(connection)
        else:
            connection.close()

    def _accept_again(self) -> None:
        self._pause = None
        if self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._on_acceptable)

    def _on_inotify(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._inotify, 4096)
        self.look()

    def look(self) -> None:
        """Listen again if the file is not ours any more, and look again a while after that."""
        if self._socket is None:
            return  # closed
        if not self._is_ours():
            with contextlib.suppress(OSError):  # the folder can't be made now
                _make_folder(os.path.dirname(self._path))
                self._listen()
            self._look_again(RETRY)
        self._stay_aware()

    def _look_again(self, wait: float) -> None:
        if self._again is not None:
            self._again.cancel()
        self._again = self._loop.call_at(self._loop.time() + wait, self._on_again)

    def _on_again(self) -> None:
        self._again = None
        self.look()

    def _is_ours(self) -> bool:
        try:
            return os.stat(self._path).st_ino == self._inode
        except OSError:
            return False

    def _drop_socket(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def close(self) -> None:
        """Stop listening, and remove the file if it is still ours (a successor may have the name by now)."""
        if self._again is not None:
            self._again.cancel()
        if self._is_ours():
            with contextlib.suppress(OSError):  # the folder went away between the two lines
                os.unlink(self._path)
            self._inode = -1  # free now: a successor's file may get the same number
        if self._inotify >= 0:
            self._loop.remove_reader(self._inotify)
            os.close(self._inotify)
            self._inotify = -1
        self._drop_socket()


def _make_folder(path: str) -> None:
    """Make a folder and what is missing above it, for us alone: the daemon takes no other (`toowld.paths`)."""
    if not os.path.isdir(path):
        _make_folder(os.path.dirname(path))
        os.mkdir(path, 0o700)
