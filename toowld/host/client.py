"""One attachment as a connection: how it wants to attach, and what it needs of I/O."""

from __future__ import annotations

from dataclasses import dataclass

from toowld.host.lent import LentTerminal
from toowld.host.sockets import FrameSocket
from toowld.log.cursor import Cursor
from toowld.wire import Size


@dataclass(frozen=True, slots=True)
class Joining:
    """How a client wants to attach, as its request said it."""

    client_id: str
    size: Size | None
    read_only: bool
    from_seq: int | None
    replay_bytes: int
    pid: int | None
    tty: str | None
    redraw: bool = False


class Client:
    """An attachment's I/O side. ``again``: it was here before."""

    def __init__(self, joining: Joining, since: float, again: bool) -> None:
        self.joining = joining
        self.since = since
        self.again = again
        self.size = joining.size
        self.socket: FrameSocket
        self.cursor: Cursor | None = None  # into the log, while it is fed from there
        self.terminal: LentTerminal | None = None  # its own, while it is lent to us
        self.seen = 0  # meanwhile: the output that it knows of, and up to where it was asked to look
        self.asked = 0

    def let_go(self) -> None:
        """It is gone, or going: its terminal is its own."""
        if self.terminal is not None:
            self.terminal.close()
            self.terminal = None
