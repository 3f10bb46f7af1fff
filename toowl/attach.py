r"""A session on this terminal: ``attach`` takes over a connection and returns the exit status.

Owns the one loop between the user's terminal and the session's socket. What the bytes mean is decided elsewhere:
`Attachment` (the session's side), `Chords` (what is typed), `Modes` (what the terminal was made to do).

Bounds: while the terminal doesn't take output the socket is not read, so a slow terminal slows only itself down.
The terminal is read all the same, and so the detach chord always works, also with a session that hangs.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Any

from toowl.attachment import Attachment, Lost, Outcome, Phase
from toowl.keys import Chords, DetachRequested, Send
from toowl.modes import Modes
from toowl.terminal import ENDING, RawTerminal, require_terminal, terminal_size
from toowld import errors, wire
from toowld.client import Client

#: The daemon waits up to 3 s for a session that is just being started; then there is the way back.
_ATTACH_TIMEOUT = 15.0
#: After the chord: how long the session may take to say goodbye.
_DETACH_TIMEOUT = 2.0
#: At the end: how long a terminal that takes nothing (Ctrl-S, a dead link) may keep us from leaving.
_FAREWELL_TIMEOUT = 1.0
#: Output waiting for the terminal, beyond which the socket is left alone.
_SCREEN_HIGH = 256 << 10
_RECEIVE_BYTES = 256 << 10
#: Written before the terminal is looked at again for input.
_WRITE_TURN = 64 << 10

_HELP = rb"[Ctrl-\ d: detach   Ctrl-\ Ctrl-\: send Ctrl-\   Ctrl-\ ?: this list]"


def attach(client: Client, params: Mapping[str, Any]) -> int:
    """Attach this terminal to ``params["session"]`` and stay until one side ends it.

    Takes ``client`` over; it is closed afterwards. What ``params`` lacks of the request is filled in. Ends by
    telling the user how it ended, on the terminal.

    Returns:
        The exit status: that of the child (128+n for a signal n), 0 after a detach, 128+n if signal n ended us.

    Raises:
        ToowlError: the session can't be attached, or the connection was lost. The terminal is restored.
    """
    with client:
        require_terminal()
        request = _request(params)
        attached = _ask(client, request)
        attachment = Attachment(
            attached, session=str(request["session"]), read_only=bool(request["read_only"])
        )
        with RawTerminal() as terminal:
            size = wire.Size(rows=request["rows"], cols=request["cols"])
            outcome = _Loop(client, attachment, terminal, size).run()
    if outcome.error is not None:
        raise outcome.error
    return outcome.status


def _request(params: Mapping[str, Any]) -> dict[str, Any]:
    size = terminal_size()
    return {
        "client_id": os.urandom(8).hex(),
        "rows": size.rows,
        "cols": size.cols,
        "term": os.environ.get("TERM", ""),
        "tty": _tty_name(),
        "pid": os.getpid(),
        "read_only": False,
        "from_seq": None,
        "replay": True,
        "respawn": True,
        **params,
    }


def _tty_name() -> str | None:
    try:
        return os.ttyname(0)
    except OSError:  # a terminal from outside of this container
        return None


def _ask(client: Client, request: dict[str, Any]) -> wire.Attached:
    """Send the request, while the terminal still is as it was: Ctrl-C works."""
    request_id = client.post("attach", request)
    deadline = time.monotonic() + _ATTACH_TIMEOUT
    while True:
        message = client.receive(timeout=deadline - time.monotonic())
        if isinstance(message, wire.Attached):
            return message
        if isinstance(message, wire.Failure) and message.id in (request_id, 0):
            raise errors.from_wire(message.code, message.text)


class _Loop:
    """Moves bytes until the attachment is over."""

    def __init__(
        self, client: Client, attachment: Attachment, terminal: RawTerminal, size: wire.Size
    ) -> None:
        self._socket = client.socket
        self._decoder = client.decoder
        self._attachment = attachment
        self._terminal = terminal
        self._size = size
        self._chords = Chords()
        self._modes = Modes()
        self._written = 0  # of the first piece of attachment.screen
        self._line_start = True
        self._help_wanted = False
        self._can_send = True
        self._deadline: float | None = None
        self._drop_input = False  # the terminal may have sent bytes that nobody typed

    def run(self) -> Outcome:
        """Until the attachment is over; gives the terminal back in good order, whatever happens."""
        message = ""
        try:
            self._socket.settimeout(0)
            self._resize()
            self._decode()
            while (outcome := self._finished()) is None:
                self._turn()
            message = outcome.message
            return outcome
        finally:
            self._farewell(message)

    def _finished(self) -> Outcome | None:
        attachment = self._attachment
        self._send()
        self._show()
        if self._deadline is not None and time.monotonic() >= self._deadline:
            attachment.leave()
        return attachment.outcome if not attachment.screen else None

    def _turn(self) -> None:
        """Wait for something to happen, and take it in."""
        attachment, terminal = self._attachment, self._terminal
        poll = select.poll()
        poll.register(terminal.signal_fd, select.POLLIN)
        mask = select.POLLIN if attachment.takes_input else 0
        if attachment.screen or (self._help_wanted and not self._modes.mid_sequence):
            mask |= select.POLLOUT
        poll.register(terminal.fd, mask)
        mask = select.POLLOUT if attachment.outbox else 0
        if attachment.phase is not Phase.OVER and attachment.screen_bytes < _SCREEN_HIGH:
            mask |= select.POLLIN
        if mask:  # a socket that hung up is always "ready", even if nothing is asked
            poll.register(self._socket, mask)
        timeout = None if self._deadline is None else max(self._deadline - time.monotonic(), 0) * 1000
        for fd, events in poll.poll(timeout):
            if fd == terminal.signal_fd:
                self._signals()
            elif fd == terminal.fd:
                if events & ~select.POLLOUT:
                    self._typed()
            elif events & ~select.POLLOUT:
                self._received()

    # -- the session's side -------------------------------------------------------------------------------

    def _received(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:  # a reset is an end like any other
            data = b""
        if not data:
            self._attachment.hung_up()
            return
        self._decoder.feed(data)
        self._decode()

    def _decode(self) -> None:
        for message in self._decoder.messages():
            self._attachment.receive(message)

    def _send(self) -> None:
        outbox = self._attachment.outbox
        if not self._can_send:
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

    # -- the user's side ----------------------------------------------------------------------------------

    def _typed(self) -> None:
        data = self._terminal.read()
        if data is None:
            return
        if not data:
            self._attachment.leave(128 + signal.SIGHUP)
            self._drop_screen()
            return
        for action in self._chords.feed(data):
            if isinstance(action, Send):
                self._attachment.type(action.data)
            elif isinstance(action, DetachRequested):
                self._detach()
                return
            else:
                self._help_wanted = self._attachment.phase is Phase.OPEN

    def _detach(self) -> None:
        if self._attachment.phase is Phase.OPEN:
            self._attachment.detach()
            self._help_wanted = False
            self._written = 0
            self._deadline = time.monotonic() + _DETACH_TIMEOUT
        else:  # asked for once more, or all that's left is a terminal that takes no output
            self._attachment.leave()
            self._drop_screen()

    def _signals(self) -> None:
        for number in self._terminal.signals():
            if number in ENDING:
                self._attachment.detach()
                self._send()
                self._attachment.leave(128 + number)
                self._drop_screen()
            elif number == signal.SIGWINCH:
                self._resize()
            elif number == signal.SIGTSTP:
                self._terminal.write_all(self._undo(), timeout=_FAREWELL_TIMEOUT)
                self._terminal.suspend()
                self._resize()
            elif number == signal.SIGCONT:
                self._terminal.resume()
                self._resize()

    def _resize(self) -> None:
        size = self._terminal.size
        if size != self._size:
            self._size = size
            self._attachment.resize(size)

    def _drop_screen(self) -> None:
        self._attachment.screen.clear()
        self._attachment.screen_bytes = 0

    def _show(self) -> None:
        """Write what the terminal takes, for one turn."""
        attachment, screen = self._attachment, self._attachment.screen
        turn = 0
        while turn < _WRITE_TURN:
            if self._help_wanted and not self._modes.mid_sequence:
                self._help_wanted = False
                self._insert(self._help())
            if not screen:
                return
            piece = screen[0]
            if isinstance(piece, Lost):
                screen[0] = piece = self._gap_notice(piece)
                attachment.screen_bytes += len(piece)
            try:
                count = self._terminal.write(memoryview(piece)[self._written :])
            except OSError:  # the terminal is gone, which reading it tells as well
                attachment.leave(128 + signal.SIGHUP)
                self._drop_screen()
                return
            if not count:
                return
            self._modes.feed(piece[self._written : self._written + count])
            self._written += count
            turn += count
            attachment.screen_bytes -= count
            self._line_start = piece[self._written - 1] == 0x0A
            if self._written == len(piece):
                screen.popleft()
                self._written = 0

    def _gap_notice(self, lost: Lost) -> bytes:
        start = b"" if self._line_start else b"\r\n"
        return self._modes.abort() + start + b"[%d bytes of output are no longer held]\r\n" % lost.size

    def _help(self) -> bytes:
        text = _HELP[: self._size.cols]
        if self._modes.alternate_screen:  # a program that redraws: one line of it, cursor and colours kept
            return b"\x1b7\x1b[9999H\x1b[m" + text + b"\x1b[K\x1b8"
        return (b"" if self._line_start else b"\r\n") + text + b"\r\n"

    def _insert(self, data: bytes) -> None:
        """Put something of our own between two pieces of output; it must not count as the session's."""
        rest = self._attachment.screen
        if self._written:
            head = rest.popleft()
            assert isinstance(head, bytes)
            rest.appendleft(head[self._written :])
            self._written = 0
        rest.appendleft(data)
        self._attachment.screen_bytes += len(data)

    # -- the end ------------------------------------------------------------------------------------------

    def _undo(self) -> bytes:
        fresh_line = self._line_start and not self._modes.alternate_screen
        self._drop_input = self._drop_input or self._modes.reporting
        undo = self._modes.reset()
        return undo if fresh_line else undo + b"\r\n"

    def _farewell(self, message: str) -> None:
        farewell = self._undo()
        if message:
            farewell += message.encode(errors="replace") + b"\r\n"
        self._terminal.write_all(farewell, timeout=_FAREWELL_TIMEOUT)
        self._terminal.restore(drop_input=self._drop_input)
