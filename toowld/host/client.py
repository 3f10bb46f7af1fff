"""One attachment as a connection: how it wants to attach, and what it needs of I/O."""

from __future__ import annotations

from toowld.classes import frozen
from toowld.host.following import Offer
from toowld.host.lent import LentTerminal
from toowld.host.sockets import FrameSocket
from toowld.log.cursor import Cursor
from toowld.session.events import Lead
from toowld.wire import Size
from toowld.wire.text import pack_text, unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


@frozen
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
    offer: Offer | None = None  # for shells to follow
    lead: Lead = Lead.NO
    steal: bool = False
    switches: bool = False  # it goes to another session when it is told to

    def freeze(self) -> dict[str, Any]:
        """What matters of it once the client is attached, as plain values for `thaw`."""
        return {
            "client_id": self.client_id,
            "read_only": self.read_only,
            "pid": self.pid,
            "tty": pack_text(self.tty),
            "switches": self.switches,
            "offer": None if self.offer is None else self.offer.freeze(),
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Joining:
        """The opposite of `freeze`."""
        return cls(
            client_id=state["client_id"],
            size=None,
            read_only=state["read_only"],
            from_seq=None,
            replay_bytes=0,
            pid=state["pid"],
            tty=unpack_text(state["tty"]),
            switches=state.get("switches", False),
            offer=None if state.get("offer") is None else Offer.thaw(state["offer"]),
        )


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
        self.seen = 0  # meanwhile: the output that it knows of

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, without a terminal that is lent. ``keep`` gets each descriptor, and gives it back."""
        return {
            **self.joining.freeze(),
            "rows": self.size.rows if self.size else None,
            "cols": self.size.cols if self.size else None,
            "since": self.since,
            "again": self.again,
            "socket": self.socket.freeze(keep),
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Client:
        """The opposite of `freeze`, but for its socket."""
        client = cls(Joining.thaw(state), state["since"], state["again"])
        if state["rows"] is not None:
            client.size = Size(rows=state["rows"], cols=state["cols"])
        return client

    def let_go(self) -> None:
        """It is gone, or going: its terminal is its own."""
        if self.terminal is not None:
            self.terminal.close()
            self.terminal = None
