"""``toowl ls --watch``: the list, drawn anew whenever something happens to a session.

The daemon tells when that is; it is never asked just because time has passed. On a terminal the list has a screen of
its own, which is gone afterwards, however this ends. Elsewhere each list is printed below the one before.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from toowl.board import Board
from toowl.commands._text import safe, shorten
from toowl.commands.ls import as_text
from toowl.terminal import ENDING, RawTerminal
from toowld import paths, wire
from toowld.client import Client
from toowld.errors import DaemonUnreachable, RefusedError, from_wire

Session = Mapping[str, Any]

#: So long after a list the next one is asked for at the earliest: a hundred events at once make one (seconds).
_PAUSE = 0.1
#: While no daemon answers (seconds).
_RETRY = 0.5
#: A terminal that takes nothing for so long is left as it is (seconds).
_WRITE_TIMEOUT = 2.0

_ENTER = b"\x1b[?1049h\x1b[?25l"
_LEAVE = b"\x1b[?25h\x1b[?1049l"
_BEGIN, _END = b"\x1b[?2026h\x1b[H", b"\x1b[J\x1b[?2026l"
_QUIT = (b"q", b"Q", b"\x03")
_SUSPEND = b"\x1a"

Choose = Callable[[Sequence[Session]], list[Session]]
Lines = Callable[[Sequence[Session], int], list[str]]


class _Feed:
    """The daemon's news, over as many connections as it takes. ``choose``: what of a list is shown."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._client: Client | None = None
        self._board = Board()
        self._asked: int | None = None  # the request for a list that is under way
        self._due = True
        self._not_before = 0.0
        self.down = ""

    @property
    def sessions(self) -> list[Session]:
        return self._choose(self._board.sessions)

    def connect(self) -> None:
        """Begin to listen.

        Raises:
            DaemonUnreachable: nobody is there. RefusedError: it tells no events.
        """
        client = Client.connect(paths.resolve())
        if "Events" not in client.hello.about.get("features", ()):
            client.close()
            raise RefusedError(
                "this toowld is of an older version and tells no events: restart it, then try again"
            )
        client.request("subscribe")
        self._client, self._board = client, Board()
        self._asked, self._due, self._not_before = None, True, 0.0
        self.down = ""

    @property
    def fd(self) -> int | None:
        return None if self._client is None else self._client.socket.fileno()

    @property
    def deadline(self) -> float | None:
        """When to call `tend`, if nothing comes before (monotonic seconds)."""
        if self._client is None or (self._due and self._asked is None):
            return self._not_before
        return None

    def tend(self) -> None:
        """Do what is due: connect again, or ask for a list."""
        now = time.monotonic()
        if now < self._not_before:
            return
        try:
            if self._client is None:
                self.connect()
            if self._due and self._asked is None:
                assert self._client is not None
                self._asked = self._client.post("list", {}, now + 5.0)
                self._due = False
        except DaemonUnreachable as error:
            self._lost(error)

    def read(self) -> bool:
        """Take in what came; whether there is something to draw."""
        assert self._client is not None
        drawn = False
        try:
            if not self._feed():
                raise DaemonUnreachable("the daemon ended")
            for message in self._client.decoder.messages():
                drawn = self._take(message) or drawn
        except (DaemonUnreachable, OSError) as error:
            self._lost(error)
            return True
        return drawn

    def _feed(self) -> bool:
        assert self._client is not None
        data = self._client.socket.recv(1 << 18)
        self._client.decoder.feed(data)
        return bool(data)

    def _take(self, message: wire.Message) -> bool:
        match message:
            case wire.Event(name, data):
                self._due = self._board.heard(name, data) or self._due
            case wire.Response(id=number, result=result) if number == self._asked:
                self._asked = None
                self._not_before = time.monotonic() + _PAUSE
                self._due = self._board.listed(result.get("sessions", [])) or self._due
                return True
            case wire.Failure(code=code, text=text):
                raise from_wire(code, text)
        return False

    def _lost(self, error: Exception) -> None:
        self.close()
        self.down = safe(str(error)).partition(": ")[0]
        self._not_before = time.monotonic() + _RETRY

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def watch(choose: Choose, lines: Lines, *, as_json: bool) -> int:
    """Show what ``choose`` makes of the list until the user has enough; the exit status.

    Args:
        lines: a list as text, so many cells wide (0: as wide as it gets).

    Raises:
        DaemonUnreachable: there is none to begin with. RefusedError: it is too old.
    """
    feed = _Feed(choose)
    feed.connect()
    try:
        if not as_json and os.isatty(0) and os.isatty(1):
            return _on_terminal(feed, lines)
        return _below_each_other(feed, lines, as_json=as_json)
    finally:
        feed.close()


def _below_each_other(feed: _Feed, lines: Lines, *, as_json: bool) -> int:
    first = True
    while True:
        feed.tend()
        poll = select.poll()
        if feed.fd is not None:
            poll.register(feed.fd, select.POLLIN)
        poll.register(1, 0)  # whoever reads this has gone
        ready = dict(poll.poll(_milliseconds(feed.deadline)))
        if ready.get(1, 0) & (select.POLLERR | select.POLLHUP):
            return 0
        if feed.fd not in ready or not feed.read() or feed.down:
            continue
        if as_json:
            print(json.dumps(feed.sessions, default=as_text), flush=True)
        else:
            print("\n".join([*([] if first else [""]), *lines(feed.sessions, 0)]), flush=True)
        first = False


def _on_terminal(feed: _Feed, lines: Lines) -> int:
    with RawTerminal() as terminal:
        view = _View(terminal, feed, lines)
        with _own_screen(terminal):
            while (status := view.turn()) is None:
                pass
        return status


@contextmanager
def _own_screen(terminal: RawTerminal) -> Iterator[None]:
    terminal.write_all(_ENTER, timeout=_WRITE_TIMEOUT)
    try:
        yield
    finally:
        terminal.write_all(_LEAVE, timeout=_WRITE_TIMEOUT)


class _View:
    """The list on a terminal."""

    def __init__(self, terminal: RawTerminal, feed: _Feed, lines: Lines) -> None:
        self._terminal = terminal
        self._feed = feed
        self._lines = lines
        self._shown: tuple[object, ...] = ()
        self._ages_at = 0.0  # when the ages are others (monotonic seconds)

    def turn(self) -> int | None:
        """Wait for something to happen, and show it; the exit status when that is enough."""
        feed, terminal = self._feed, self._terminal
        feed.tend()
        self._draw()
        poll = select.poll()
        for fd in (terminal.fd, terminal.signal_fd, feed.fd):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        times = [at for at in (feed.deadline, self._ages_at) if at is not None]
        ready = dict(poll.poll(_milliseconds(min(times))))
        if feed.fd in ready:
            feed.read()
        if terminal.signal_fd in ready and (status := self._signals()) is not None:
            return status
        return self._keys() if terminal.fd in ready else None

    def _signals(self) -> int | None:
        for number in self._terminal.signals():
            if number in ENDING:
                return 128 + number
            if number == signal.SIGTSTP:
                self._suspend()
            elif number == signal.SIGCONT:
                self._terminal.resume()
                self._enter()
        return None  # a new size is seen when it is drawn

    def _keys(self) -> int | None:
        data = self._terminal.read()
        if data is None:
            return None
        if not data:
            return 128 + signal.SIGHUP
        if _SUSPEND in data:
            self._suspend()
        return 0 if any(key in data for key in _QUIT) else None

    def _suspend(self) -> None:
        self._terminal.write_all(_LEAVE, timeout=_WRITE_TIMEOUT)
        self._terminal.suspend()
        self._enter()

    def _enter(self) -> None:
        self._terminal.write_all(_ENTER, timeout=_WRITE_TIMEOUT)
        self._shown = ()

    def _draw(self) -> None:
        size = self._terminal.size
        lines = self._lines(self._feed.sessions, size.cols)
        down = f"{self._feed.down}: trying again" if self._feed.down else ""
        if len(lines) + bool(down) > size.rows:
            left = len(lines) - max(size.rows - 1 - bool(down), 1)
            lines = [*lines[:-left], f"… {left} more"] if left > 0 else lines
        lines = [*lines, *([down] if down else [])][: size.rows]
        self._ages_at = time.monotonic() + _until_older(self._feed.sessions)
        if self._shown == (shown := (size, *lines)):
            return
        self._shown = shown
        rows = [shorten(line, size.cols).encode(errors="replace") + b"\x1b[K" for line in lines]
        self._terminal.write_all(_BEGIN + b"\r\n".join(rows) + _END, timeout=_WRITE_TIMEOUT)


def _until_older(sessions: Sequence[Session]) -> float:
    """How long the ages that are shown stay as they are (seconds)."""
    now = time.time()
    ages = [now - at for one in sessions if isinstance(at := one.get("last_active_at"), int | float)]
    units = [(age, 1 if age < 60 else 60 if age < 3600 else 3600) for age in ages]
    return min((unit - age % unit for age, unit in units), default=3600.0) + 0.01


def _milliseconds(at: float | None) -> float | None:
    return None if at is None else max(at - time.monotonic(), 0) * 1000 + 1  # poll rounds down
