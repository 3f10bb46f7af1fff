"""A client's own terminal, lent to the session: output goes straight to it, and what is typed comes straight from it.

One process less on the way of every key and every byte of output. The client keeps its connection, and with it
everything that is rare: the size, the detach chord, what has to be said between two pieces of output. For any of that
it gets its terminal back; so here is nothing but two copies, and the care that the terminal may be gone or
somebody else's at any moment.

Whose it is, is looked at before each use. The client may have taken it back (`Page.revoked`), or have been stopped,
and then the user's shell has set the terminal up for itself: it is not as the client says that it left it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import stat
import termios
from collections import deque

from toowld.classes import frozen
from toowld.errors import RemoteProtocolError
from toowld.host.loop import Loop
from toowld.wire import SETTINGS_SIZE, Page
from toowld.wire.page import BUSY, POSITION, REVOKED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: What is typed is read in pieces of this size: more than anybody types or a terminal reports at once. A paste
#: begins with a stop.
_READ_BYTES = 4096

#: Seals without which the page could be made shorter under our hands, which is a SIGBUS.
_SEALS = fcntl.F_SEAL_SHRINK


@frozen
class Remains:
    """What is left when a terminal goes back: see `toowld.wire.Returned`, and the output that it did not take."""

    seq: int
    input_seq: int
    begun: bytes = b""
    typed: bytes = b""
    unwritten: bytes = b""


class LentTerminal:
    """The terminal of one client, while it is ours.

    Args:
        loop: calls us.
        fds: the terminal and the page. They become ours if this succeeds.
        seq: of the first byte of output that will be written.
        input_seq: of the first byte of input that will be read.
        settings: how the client has set the terminal up (`toowld.wire.page`).
        stops: what is typed from the first of these on is not ours.
        on_typed: takes what was typed.
        on_sent: called when more of what was queued went out, with how many bytes are left.
        on_far: called when output beyond `look_at` has been written.
        on_room: the answer to `watch_room`.
        on_over: the terminal must go back: call `close`, and give it back with what remains.

    Raises:
        RemoteProtocolError: these can't be used.
    """

    def __init__(
        self,
        loop: Loop,
        fds: Sequence[int],
        seq: int,
        input_seq: int,
        settings: bytes,
        stops: Sequence[bytes],
        *,
        on_typed: Callable[[bytes], None],
        on_sent: Callable[[int], None],
        on_far: Callable[[], None],
        on_room: Callable[[], None],
        on_over: Callable[[], None],
    ) -> None:
        if len(fds) != 2:
            raise RemoteProtocolError("lend: a terminal and a page must come along")
        self._fd, page_fd = fds
        self._settings = settings
        # What it is like now. Of `bytes`, ioctl would first find that it can't write there, and word an error.
        self._found = bytearray(SETTINGS_SIZE)
        if not os.isatty(self._fd) or os.get_blocking(self._fd):
            raise RemoteProtocolError("lend: what came along is no terminal, or a blocking one")
        self._page = _map(page_fd)
        self._seq = seq
        self._input_seq = input_seq
        self._loop = loop
        self._stops = stops
        self._stop = re.compile(b"|".join(re.escape(stop) for stop in stops))
        self._starts = frozenset(stop[0] for stop in stops)
        self._begun = b""  # the end of what was taken, in which a stop has begun
        self._typed = b""  # what was read from the first stop on
        self._out: deque[memoryview] = deque()
        self.queued = 0
        self._writing = False
        self.room_wanted = False
        self.look_at = seq
        self._on_typed = on_typed
        self._on_sent = on_sent
        self._on_far = on_far
        self._on_room = on_room
        self._on_over = on_over
        loop.add_reader(self._fd, self._on_readable)
        os.close(page_fd)

    @property
    def seq(self) -> int:
        """Output below this has been written."""
        return self._seq

    def _begin(self) -> bool:
        """Whether we may use the terminal now; if so, say afterwards that the page is not busy any more."""
        page = self._page
        page[BUSY] = 1
        # `REVOKED` last, behind a system call: see `toowld.wire.page`.
        try:
            fcntl.ioctl(self._fd, termios.TCGETS, self._found)
            ours = self._found == self._settings and not page[REVOKED]
        except OSError:  # it is gone
            ours = False
        if not ours:
            page[BUSY] = 0
        return ours

    # --- what is typed ----------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        """The hot path of all that is typed."""
        if not self._begin():
            self._on_over()
            return
        try:
            data = os.read(self._fd, _READ_BYTES)
        except (BlockingIOError, InterruptedError):
            self._page[BUSY] = 0
            return
        except OSError:  # EIO: hung up
            data = b""
        plain = not self._begun and self._starts.isdisjoint(data)  # as nearly all keys
        typed = data if plain else data[: self._taken(data)]
        self._input_seq += len(typed)
        POSITION.pack_into(self._page, 0, self._seq, self._input_seq)
        self._page[BUSY] = 0  # before it is typed: that may lead to anything, the end of this included
        if typed:
            self._on_typed(typed)
        if self._fd >= 0 and (len(typed) < len(data) or not data):
            self._on_over()

    def _taken(self, data: bytes) -> int:
        """How many bytes of ``data`` are for the session, where a stop may be in there."""
        behind = self._begun + data
        found = self._stop.search(behind)
        if found is None:
            self._begun = self._begun_in(behind)
            return len(data)
        taken = max(found.start() - len(self._begun), 0)
        self._begun, self._typed = self._begun[found.start() :], data[taken:]
        return taken

    def _begun_in(self, typed: bytes) -> bytes:
        """The end of ``typed``, if a stop begins with it."""
        longest = max(map(len, self._stops))
        ends = (typed[at:] for at in range(max(len(typed) - longest + 1, 0), len(typed)))
        return next((end for end in ends if any(stop.startswith(end) for stop in self._stops)), b"")

    # --- output -----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> int:
        """Write ``data``, the next output; what the terminal does not take now is `queued`. Returns what it took.

        The hot path of all output.
        """
        count = 0
        idle = not self._out
        ours = idle and self._begin()
        if ours:
            try:
                count = os.write(self._fd, data)
            except OSError:  # full, or hung up: `_flush` finds out
                count = 0
            # At once: if we are killed, nothing else tells that this has been shown.
            self._seq += count
            POSITION.pack_into(self._page, 0, self._seq, self._input_seq)
            self._page[BUSY] = 0
        if count < len(data):
            self._out.append(memoryview(data)[count:])
            self.queued += len(data) - count
            if ours:
                self._start_writing()
            elif idle:
                self._on_over()
        if self._seq > self.look_at:
            self._on_far()
        return count

    def _flush(self) -> int:
        """Write until all is gone, or the terminal takes no more. Returns how many bytes it took."""
        if not self._begin():
            self._on_over()
            return 0
        before = self._seq
        gone = False
        try:
            while self._out:
                head = self._out[0]
                count = os.write(self._fd, head)
                self._seq += count
                POSITION.pack_into(self._page, 0, self._seq, self._input_seq)
                if count < len(head):
                    # To try again at once would be in vain, and was a third of all writes in a flood.
                    self._out[0] = head[count:]
                    self._start_writing()
                    break
                self._out.popleft()
        except (BlockingIOError, InterruptedError):
            self._start_writing()
        except OSError:  # EIO: hung up
            gone = True
        sent = self._seq - before
        self.queued -= sent
        self._page[BUSY] = 0
        if gone:
            self._on_over()
        return sent

    def watch_room(self) -> None:
        """Call ``on_room`` once, from the loop, when nothing is queued and the terminal takes more."""
        self.room_wanted = True
        self._start_writing()

    def _start_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._on_writable)

    def _on_writable(self) -> None:
        if self._out:
            if self._flush() and self._fd >= 0:
                self._on_sent(self.queued)
                if self._seq > self.look_at:
                    self._on_far()
        elif self.room_wanted:
            self.room_wanted = False
            self._on_room()
        if self._writing and not (self._out or self.room_wanted) and self._fd >= 0:
            self._writing = False
            self._loop.remove_writer(self._fd)

    # --- going back -------------------------------------------------------------------------------------

    def close(self) -> Remains:
        """Let go of the terminal."""
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._page.close()
        return Remains(self._seq, self._input_seq, self._begun, self._typed, b"".join(self._out))


def _map(fd: int) -> mmap.mmap:
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_size < Page.SIZE:
            raise RemoteProtocolError("lend: the page is too small")
        if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise RemoteProtocolError("lend: the page may be made shorter at any time")
        return mmap.mmap(fd, Page.SIZE)
    except OSError as error:
        raise RemoteProtocolError(f"lend: the page can't be used: {error.strerror}") from error
