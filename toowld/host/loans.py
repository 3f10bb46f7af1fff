"""When a client's terminal is taken, and when it goes back (see `toowld.host.lent` for what happens in between).

Owns the messages about that, and the rule that a client must know what its terminal shows: it follows the log, and
when it is too far behind, or the log has lost its disk, its terminal goes back.
"""

from __future__ import annotations

from functools import partial

from toowld.errors import RemoteProtocolError
from toowld.host.client import Client
from toowld.host.lent import LentTerminal
from toowld.host.loop import Loop
from toowld.host.params import Params
from toowld.host.scrollback import Scrollback
from toowld.session import Session, SessionState
from toowld.session import events as ev
from toowld.wire import Lent, Live, Output, Returned, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: So much may be written to a lent terminal before its client has looked at it, in the log: at each quarter it is
#: asked to, at the first after all of it the terminal goes back. Half of what the log holds, if that is less.
LEASE = 16 << 20

#: With less than this in the log, a terminal would go back and forth all the time.
_SMALLEST_LEASE = 256 << 10

#: One piece of output on its way through a connection.
_PIECE = 64 << 10


class Loans:
    """The terminals of all clients of one session.

    Args:
        loop: calls us.
        session: the engine, to look things up.
        tell: takes its events; may raise ToowlError.
        on_typed: takes what is typed at a lent terminal, and calls its first argument with what has to be told.
        on_taken: is told how much is left of what a client's terminal is to be given.
        scrollback: from which clients learn what their terminals show.
        on_breach: a client broke the rules.
    """

    def __init__(
        self,
        loop: Loop,
        session: Session,
        tell: Callable[[ev.Event], None],
        on_typed: Callable[[Callable[[bytes], None], bytes], None],
        on_taken: Callable[[int, int], None],
        scrollback: Scrollback,
        on_breach: Callable[[int, Client, RemoteProtocolError], None],
    ) -> None:
        self._loop = loop
        self._session = session
        self._tell = tell
        self._take_typed = on_typed
        self._on_taken = on_taken
        self._scrollback = scrollback
        self._on_breach = on_breach

    def take(self, number: int, client: Client, seq: int, values: Mapping[str, Any], fds: list[int]) -> None:
        """Take a client's terminal, and go on with the output at ``seq`` there. ``fds``: emptied, if they are used.

        Raises:
            RemoteProtocolError: the client broke the rules.
        """
        params = Params("lend", values)
        stops, settings = params.stops("stops"), params.data("settings")
        if client.terminal is not None:
            raise RemoteProtocolError("a terminal is lent already")
        if not fds or not self._wants(client):  # no fds: something in between passes none on
            client.socket.send(encode(Returned(seq, self._session.input.taken(client.joining.client_id))))
            return
        terminal = LentTerminal(
            self._loop,
            fds,
            seq,
            self._session.input.taken(client.joining.client_id),
            settings,
            stops,
            on_typed=partial(self._take_typed, partial(self._on_typed, number, client)),
            on_sent=partial(self._on_taken, number),
            on_far=partial(self._on_far, number, client),
            on_room=lambda: self._tell(ev.ClientRoom(number)),
            on_over=lambda: self.give_back(number, client),
        )
        fds.clear()
        terminal.look_at = seq + self._lease // 4
        client.terminal, client.seen = terminal, seq
        client.socket.send(encode(Lent(seq)))
        self._tell(ev.ClientRewound(number, seq))

    def _wants(self, client: Client) -> bool:
        """Whether anybody is better off with this client's terminal here."""
        return (
            self._session.state is SessionState.RUNNING
            and not client.joining.read_only
            and not self._session.input.pending  # the child does not read: it would go back with the next key
            and self._lease >= _SMALLEST_LEASE
        )

    @property
    def _lease(self) -> int:
        log = self._scrollback.log
        return 0 if log.degraded else min(LEASE, log.limit // 2)

    def _on_typed(self, number: int, client: Client, data: bytes) -> None:
        try:
            self._tell(ev.ClientTyped(number, None, data))
        except RemoteProtocolError as error:
            self._on_breach(number, client, error)
            return
        if self._session.input.pending:  # the child does not read: from here on a connection can say so
            self.give_back(number, client)

    def _on_far(self, number: int, client: Client) -> None:
        """The client has to look at the log, or get its terminal back."""
        if (terminal := client.terminal) is None:
            return
        if terminal.seq - client.seen > self._lease:
            self.give_back(number, client)
        else:
            terminal.look_at = terminal.seq + self._lease // 4
            client.socket.send(encode(Live(terminal.seq)))

    def give_back(self, number: int, client: Client) -> None:
        """Let the client have its terminal, and what it needs to go on there. Harmless if it has it."""
        if (terminal := client.terminal) is None:
            return
        client.terminal = None
        remains = terminal.close()
        client.socket.send(encode(Returned(remains.seq, remains.input_seq, remains.begun, remains.typed)))
        for at in range(0, len(remains.unwritten), _PIECE):
            client.socket.send(encode(Output(remains.seq + at, remains.unwritten[at : at + _PIECE])))
        if terminal.room_wanted:
            client.socket.watch_room()
        self._tell(ev.ClientTook(number, client.socket.queued))
