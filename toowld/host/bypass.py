"""The straight way of nearly all keys and output, past the engine's turn.

While one terminal is lent to us, and nobody else is there, what a turn would do is known (`Session.sole`): here it is
done without one, and the engine is told afterwards, before its next turn. When a human types, a turn's many small
functions are in no cache of the processor: they took longer than all else on the way of a key and its echo.

What is done behind a key or its echo counts too, as the kernel often takes it further only when we sleep. So the
engine is told when all is still.
"""

from __future__ import annotations

import time

from toowld.host.clients import Clients
from toowld.host.lent import LentTerminal
from toowld.host.loop import Loop
from toowld.host.scrollback import Scrollback
from toowld.host.terminal import READ_AT_ONCE, READ_FOR_LENT, Terminal
from toowld.session import Session
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.attachment import Attachment
from toowld.session.outbox import HOLD
from toowld.wire import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: So much output may go past the engine before it is told (bytes): what an echo is, and no flood.
TOLD_LATER = 256


class Bypass:
    """Of one session. Closed, it leads everything to the engine.

    Args:
        loop: tells the time.
        session: the engine.
        tell: takes its events.
        call_when_still: see `toowld.host.SessionHost`.

    Attributes:
        typed_at: when something that was typed came this way, in seconds since the epoch.
    """

    _terminal: Terminal
    _scrollback: Scrollback
    _clients: Clients

    def __init__(
        self,
        loop: Loop,
        session: Session,
        tell: Callable[[ev.Event], None],
        call_when_still: Callable[[Callable[[], object]], None] | None,
    ) -> None:
        self.typed_at = 0.0
        self._loop = loop
        self._session = session
        self._tell = tell
        self._call_when_still = call_when_still
        self._still_awaited = False
        self._sole: tuple[Attachment, LentTerminal] | None = None
        self._untold_output = b""  # what went past the engine since it was told
        self._untold_input = 0  # of what was typed, bytes

    def connect(self, terminal: Terminal, scrollback: Scrollback, clients: Clients) -> None:
        """These are the session's sides."""
        self._terminal, self._scrollback, self._clients = terminal, scrollback, clients

    def open(self) -> None:
        """After each turn: is all output for one terminal that is lent to us, and do all keys come from there?"""
        self.close()
        if (attachment := self._session.sole) is None or self._scrollback.log.degraded:
            return
        if (terminal := self._clients.lent(attachment.client)) is not None:
            self._sole = (attachment, terminal)
            self._terminal.at_once = READ_FOR_LENT

    def close(self) -> None:
        """Lead everything to the engine, until it is opened again."""
        self.catch_up()
        self._sole = None
        self._terminal.at_once = READ_AT_ONCE

    def catch_up(self) -> None:
        """Tell the engine what went past it."""
        output, typed = self._untold_output, self._untold_input
        if self._sole is None or not (output or typed):
            return
        attachment, now = self._sole[0], self._loop.time()
        if typed:
            self._untold_input = 0
            self._session.typed(attachment, typed, now)
            self.typed_at = time.time()
        if output:
            self._untold_output = b""
            end = self._scrollback.log.end
            self._session.passed(attachment, end, now)
            if self._session.marked.look(output, end - len(output)):
                self._tell(ev.Marked())

    def _catch_up_soon(self) -> None:
        if self._call_when_still is None or len(self._untold_output) > TOLD_LATER:
            self.catch_up()
        elif not self._still_awaited:
            self._still_awaited = True
            self._call_when_still(self._on_still)

    def _on_still(self) -> None:
        self._still_awaited = False
        self.catch_up()

    def on_output(self, data: bytes) -> None:
        """The hot path: everything that any child prints comes through here."""
        if (sole := self._sole) is None:
            self._tell(ev.PtyOutput(data))
            return
        attachment, terminal = sole
        log = self._scrollback.writer
        log.append(data)
        self._untold_output += data
        if log.degraded:
            self._scrollback.watch()
            self._clients.send(do.Send(attachment.client, Output(log.end - len(data), data)))
        else:
            terminal.write(data)
        # Unless it went back just now: then the engine knows by events what its client has still to take.
        if (terminal.queued or attachment.outbox.queued) and self._sole is sole:
            self._session.took(attachment, len(data), terminal.queued, self._loop.time())
            if attachment.outbox.queued > HOLD:
                self._tell(ev.TimerFired())
        self._catch_up_soon()

    def on_typed(self, tell: Callable[[bytes], None], data: bytes) -> None:
        """All that is typed at a terminal that is lent comes through here; ``tell``: tells the engine."""
        if self._sole is not None and (took := self._terminal.write_now(data)):
            self._untold_input += took
            data = data[took:]
            self._catch_up_soon()
        if data:
            tell(data)

    def on_taken(self, client: int, queued: int) -> None:
        """A terminal that is lent took some of what it had to wait for."""
        if self._sole is not None:
            self._session.took(self._sole[0], 0, queued, self._loop.time())
        else:
            self._tell(ev.ClientTook(client, queued))
