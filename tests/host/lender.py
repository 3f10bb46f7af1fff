"""A user's terminal, and a client that lends it, for the tests of `toowld.host.lent`."""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import socket
import termios
import tty
from typing import Any

from tests.harness import DEADLINE
from tests.host.rig import Driver, Peer, Rig, open_fds
from toowl.keys import Chords
from toowld.wire import SETTINGS_SIZE, Lend, Lent, Live, Message, Page, Recall, Returned, Seen, encode

STOPS = Chords().stops

#: A shell that echoes nothing and changes nothing: what goes in comes out.
RAW = "stty raw -echo; printf rea''dy; "


class User:
    """A PTY whose other side is the user's terminal: raw and non-blocking, as `toowl attach` makes it."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.pty_fd, self.tty = os.openpty()
        self.name = os.ttyname(self.tty)
        tty.setraw(self.tty)
        os.set_blocking(self.tty, False)
        os.set_blocking(self.pty_fd, False)
        self.shown = bytearray()
        self.eof = False
        self.reading = False
        self.read()

    @property
    def settings(self) -> bytes:
        return fcntl.ioctl(self.tty, termios.TCGETS, bytes(SETTINGS_SIZE))

    @property
    def held(self) -> int:
        """How many descriptors of this process are this terminal; one is ours."""
        return sum(name in (self.name, f"{self.name} (deleted)") for name in open_fds().values())

    @property
    def unread(self) -> int:
        """Bytes typed that nobody has read."""
        return int.from_bytes(fcntl.ioctl(self.tty, termios.FIONREAD, bytes(4)), "little")

    def read(self) -> None:
        """Show what is written, from now on."""
        if not self.reading:
            self.reading = True
            self.driver.loop.add_reader(self.pty_fd, self._on_readable)

    def stop_reading(self) -> None:
        if self.reading:
            self.reading = False
            self.driver.loop.remove_reader(self.pty_fd)

    def _on_readable(self) -> None:
        try:
            self.shown += os.read(self.pty_fd, 65536)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the terminal open any more
            self.eof = True
            self.stop_reading()

    def type(self, data: bytes) -> None:
        assert os.write(self.pty_fd, data) == len(data)

    def shown_until(self, end: int) -> bytes:
        """What was written so far, which must be ``end`` bytes at least: they are on their way through the kernel."""
        while len(self.shown) < end:
            assert select.select([self.pty_fd], [], [], DEADLINE)[0], (
                f"{end - len(self.shown)} bytes did not come"
            )
            self._on_readable()
        return bytes(self.shown[:end])

    def expect(self, text: bytes) -> None:
        self.driver.until(lambda: text in self.shown, f"{text!r} in {bytes(self.shown[-500:])!r}")

    def close_tty(self) -> None:
        os.close(self.tty)
        self.tty = -1

    def close(self) -> None:
        self.stop_reading()
        for fd in (self.pty_fd, self.tty):
            if fd >= 0:
                os.close(fd)


class Lender(Peer):
    """A client that lends its user's terminal. `output` is what its user has seen, by whichever way."""

    def __init__(self, driver: Driver, sock: socket.socket, user: User) -> None:
        self.user = user
        self.page: Page
        self._memory: mmap.mmap | None = None  # the page's, which keeps a descriptor open
        self.loan: int | None = None  # the first byte of output that goes to the terminal
        self.seen_before = 0  # of what was written to the terminal: what was seen in earlier loans
        self.offered = False
        self.answers = True  # Live with Seen
        super().__init__(driver, sock)

    @property
    def end(self) -> int:
        """The output that it lacks begins here."""
        return 0 if self.start is None else self.start + len(self.output)

    def _take(self, message: Message) -> None:
        match message:
            case Lent(seq):
                self.offered = False
                self.start = seq if self.start is None else self.start
                del self.output[seq - self.start :]
                self.loan = seq
            case Live(seq) if self.loan is not None and self.answers:
                self.send(Seen(seq))
            case Returned(seq, input_seq):
                if self.loan is not None:
                    until = self.seen_before + seq - self.loan
                    self.output += self.user.shown_until(until)[self.seen_before :]
                    self.seen_before = until
                self.offered = False
                self.loan = None
                self.acked = input_seq
        super()._take(message)

    def offer(
        self, *fds: int, seq: int | None = None, seal: int = fcntl.F_SEAL_SHRINK, **params: Any
    ) -> None:
        """Lend the terminal, or ``fds``."""
        page_fd = os.memfd_create("page", os.MFD_ALLOW_SEALING)
        os.ftruncate(page_fd, Page.SIZE)
        fcntl.fcntl(page_fd, fcntl.F_ADD_SEALS, seal)
        self.forget_page()
        self._memory = mmap.mmap(page_fd, Page.SIZE)
        self.page = Page(self._memory)
        params = {"stops": list(STOPS), "settings": self.user.settings, **params}
        frame = encode(Lend(self.end if seq is None else seq, params))
        sent = [page_fd if fd < 0 else fd for fd in fds or (self.user.tty, -1)]
        socket.send_fds(self.sock, [frame], sent)
        os.close(page_fd)
        self.offered = True

    def forget_page(self) -> None:
        """Close our mapping of it."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def close(self) -> None:
        super().close()
        self.forget_page()

    def lend(self, **params: Any) -> None:
        """Lend the terminal, and wait until the session has it."""
        self.offer(**params)
        self.driver.until(lambda: self.loan is not None, f"Lent; got {self.messages}")

    def take_back(self) -> Returned:
        """As a client does whose session hangs, though this one does not."""
        before = self.returned
        self.page.revoke()
        self.send(Recall())
        self.driver.until(lambda: self.returned > before, "Returned")
        return self.last_returned

    @property
    def returned(self) -> int:
        """How often the terminal was given back."""
        return sum(isinstance(message, Returned) for message in self.messages)

    @property
    def last_returned(self) -> Returned:
        return [message for message in self.messages if isinstance(message, Returned)][-1]

    def expect_returned(self, count: int = 1) -> Returned:
        self.driver.until(lambda: self.returned >= count, f"Returned; got {self.messages}")
        return self.last_returned


def attach(rig: Rig, user: User, client_id: str = "c1", **changes: Any) -> Lender:
    """A client on ``user``'s terminal."""
    ours, its = socket.socketpair()
    return rig.join(ours, Lender(rig.driver, its, user), client_id, **changes)


def ready(lender: Lender) -> Lender:
    """Wait until it has all that its session has printed, which begins with `RAW`."""
    lender.expect_output(b"ready")
    lender.expect(Live)
    return lender


def taken(rig: Rig, client_id: str = "c1") -> int:
    """How many bytes of a client's input the session has."""
    return rig.session.input.taken(client_id)


def gone(lender: Lender) -> bool:
    """Whether nobody but its client has the terminal open."""
    return lender.user.held == 1
