"""The attachments of one session as connections: frames to events, and what the engine sends to frames.

Owns the sockets, each client's place in the log while it is fed from there, and its terminal while that is lent to
us. Who is given what, and when, is the engine's to say.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque

from toowld.errors import AttachRefused, RemoteProtocolError, ToowlError
from toowld.host.client import Client, Joining
from toowld.host.following import Offer
from toowld.host.leaving import Leaving
from toowld.host.lent import LentTerminal
from toowld.host.loans import Loans
from toowld.host.loop import Loop
from toowld.host.scrollback import Scrollback
from toowld.host.sockets import FrameSocket
from toowld.log.cursor import Cursor
from toowld.session import Session
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.attachment import Attachment
from toowld.session.outbox import STALL_AFTER
from toowld.wire import (
    Detach,
    Detached,
    Event,
    Failure,
    Hello,
    Input,
    InputAck,
    Lend,
    Live,
    Message,
    Output,
    Ping,
    Pong,
    Recall,
    Request,
    Resize,
    Seen,
    Size,
    Unknown,
)
from toowld.wire import codec as wire_codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: So many of those who left are remembered, to tell the daemon why they did, and to know them when they come back.
#: The daemon hears of each change at once, unless it is not there.
REMEMBERED = 32

#: What the kernel may hold on its way to a client, by half of what it counts (SO_SNDBUF, socket(7); its own default
#: is 208 KiB counted). It can't be taken back, so at Ctrl-C all of it is still printed, and at 2 MB/s the default
#: would be 0.1 s of that. Also, a client's progress is only seen when three quarters of it are free again.
#: Chosen by experiment: 32 KiB instead of 16 doubled what came after Ctrl-C; less than 16 costs throughput.
SEND_BUFFER = 16 << 10


#: What a client whose terminal we have need not be told.
_NEEDLESS = (InputAck, Live)


class Clients:
    """Who is attached.

    Args:
        loop: calls us.
        session: the engine, to look things up.
        tell: takes its events; may raise ToowlError.
        on_typed, on_taken: see `Loans`.
        scrollback: to feed clients from.
        on_left: the last of those who were told goodbye may be gone.
        on_presence: somebody came, or went.
    """

    def __init__(
        self,
        loop: Loop,
        session: Session,
        tell: Callable[[ev.Event], None],
        on_typed: Callable[[Callable[[bytes], None], bytes], None],
        on_taken: Callable[[int, int], None],
        scrollback: Scrollback,
        on_left: Callable[[], None],
        on_presence: Callable[[], None],
    ) -> None:
        self.leaving = Leaving(loop, on_left)
        self._loop = loop
        self._session = session
        self._tell = tell
        self._scrollback = scrollback
        self._on_presence = on_presence
        self._loans = Loans(loop, session, tell, on_typed, on_taken, scrollback, self._on_breach)
        self._clients: dict[int, Client] = {}
        self._gone: deque[tuple[int, str, str]] = deque(maxlen=REMEMBERED)  # number, client id, why
        self._next = 1
        self._encoded: tuple[Message | None, bytes] = (None, b"")
        self._closed = False

    # --- coming -----------------------------------------------------------------------------------------

    def join(self, sock: socket.socket, unread: bytes, request_id: int, joining: Joining) -> bool:
        """Make an attachment of a connection; whether the engine took it. A refusal is told to the client."""
        number = self._next
        self._next += 1
        client = Client(joining, time.time(), self._knows(joining.client_id))
        self._take_in(number, client, sock, unread)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            if self._closed:
                raise AttachRefused("the session has just ended: attach again")
            self._tell(
                ev.ClientJoined(
                    number,
                    joining.client_id,
                    joining.size,
                    joining.read_only,
                    joining.from_seq,
                    joining.replay_bytes,
                    joining.redraw,
                    joining.lead,
                    joining.steal,
                )
            )
        except ToowlError as error:
            del self._clients[number]
            client.socket.send(wire_codec.encode(Failure(request_id, error.code, str(error))))
            self.leaving.add(client.socket)
            return False
        self._on_presence()
        client.socket.process_unread()
        return True

    def _take_in(self, number: int, client: Client, sock: socket.socket, unread: bytes) -> None:
        client.socket = FrameSocket(
            sock,
            self._loop,
            on_message=lambda message, fds: self._on_message(number, message, fds),
            on_close=lambda reason: self._on_closed(number, reason),
            on_sent=lambda queued: self._on_sent(number, client, queued),
            on_room=lambda: self._on_room(number, client),
            unread=unread,
        )
        self._clients[number] = client

    def describe(self) -> list[dict[str, Any]]:
        """Who is attached, for people to see."""
        return [self._describe(number, client) for number, client in self._clients.items()]

    def _describe(self, number: int, client: Client) -> dict[str, Any]:
        about: dict[str, Any] = {
            "client": number,
            "client_id": client.joining.client_id,
            "pid": client.joining.pid,
            "tty": client.joining.tty,
            "rows": client.size.rows if client.size else None,
            "cols": client.size.cols if client.size else None,
            "read_only": client.joining.read_only,
            "since": client.since,
            "again": client.again,
        }
        if (attachment := self._session.attachments.get(number)) is not None:
            now = self._loop.time()
            state = attachment.state.value
            if attachment.outbox.is_stalled(now) or self._leaves_unread(client, attachment, now):
                state = "stalled"
            about |= {
                "role": attachment.role.value,
                "state": state,
                "behind": attachment.outbox.queued + self._session.seq - attachment.seq
                if attachment.seq >= 0
                else 0,
                "typed_at": round(time.time() - (now - attachment.typed_at), 1),
            }
        return about

    def _leaves_unread(self, client: Client, attachment: Attachment, now: float) -> bool:
        """Whether the kernel has held something for so long that this client may be taken for one that hangs.

        What it holds is not in the outbox, so the engine knows nothing of it, and does not have to.
        """
        quiet = now >= max(attachment.outbox.stalls_at, attachment.typed_at + STALL_AFTER)
        return quiet and client.terminal is None and client.socket.is_unread

    def offers(self) -> list[Offer]:
        """What shells may follow, that of the one who attached last being the last."""
        offers = (client.joining.offer for client in self._clients.values())
        return [offer for offer in offers if offer is not None]

    def departures(self) -> list[tuple[int, str]]:
        """Who left lately, and why, the last one last."""
        return [(number, reason) for number, _, reason in self._gone]

    def _knows(self, client_id: str) -> bool:
        return any(client_id == gone for _, gone, _ in self._gone) or any(
            client_id == present.joining.client_id for present in self._clients.values()
        )

    def _take_out(self, number: int, reason: str) -> Client | None:
        client = self._clients.pop(number, None)
        if client is not None:
            self._gone.append((number, client.joining.client_id, reason))
            client.let_go()
            self._on_presence()
        return client

    # --- over an upgrade of the code --------------------------------------------------------------------

    def recall(self) -> None:
        """Give all terminals back that are lent to us. Their clients may lend them again."""
        for number, client in list(self._clients.items()):
            self._loans.give_back(number, client)

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, for `thaw`. ``keep`` gets each descriptor, and gives it back."""
        return {
            "next": self._next,
            "gone": [list(one) for one in self._gone],
            "clients": [[number, client.freeze(keep)] for number, client in self._clients.items()],
            "leaving": self.leaving.freeze(keep),
        }

    def thaw(self, state: Mapping[str, Any], take: Callable[[int], int]) -> None:
        """Serve those whom another one served. ``take`` makes descriptors ours."""
        self._next = state["next"]
        self._gone.extend((number, client_id, reason) for number, client_id, reason in state["gone"])
        for number, about in state["clients"]:
            client, connection = Client.thaw(about), about["socket"]
            sock = socket.socket(fileno=take(connection["fd"]))
            self._take_in(number, client, sock, connection["unread"])
            client.socket.thaw(connection, take)
        self.leaving.thaw(state["leaving"], take)

    # --- what they say ----------------------------------------------------------------------------------

    def _on_message(self, number: int, message: Message, fds: list[int]) -> None:
        client = self._clients[number]
        try:
            match message:
                case Input(seq, data):
                    self._tell(ev.ClientTyped(number, seq, data))
                case Resize(rows, cols):
                    client.size = _checked_size(rows, cols)
                    self._tell(ev.ClientResized(number, client.size))
                case Ping(token):
                    client.socket.send(wire_codec.encode(Pong(token)))
                case Detach():
                    self._tell(ev.ClientDismissed(number, "client"))
                case Request(request_id, method):
                    text = f"{method}: an attached connection takes no requests: open another"
                    client.socket.send(wire_codec.encode(Failure(request_id, "refused", text)))
                case Lend(seq, params):
                    self._loans.take(number, client, seq, params, fds)
                case Recall():
                    self._loans.give_back(number, client)
                case Seen(seq):
                    client.seen = max(client.seen, seq)
                case Hello() | Pong() | Unknown():
                    pass
                case _:
                    raise RemoteProtocolError(f"a client does not send {type(message).__name__}")
        except RemoteProtocolError as error:
            self._on_breach(number, client, error)
        finally:
            for fd in fds:  # nobody took them
                os.close(fd)

    def _on_breach(self, number: int, client: Client, error: RemoteProtocolError) -> None:
        """It broke the rules: it goes, the session stays."""
        self._loans.give_back(number, client)
        reason = f"protocol error: {error}"
        self._take_out(number, reason)
        client.socket.send(wire_codec.encode(Detached(reason)))
        self.leaving.add(client.socket)
        self._tell(ev.ClientLeft(number))

    def _on_closed(self, number: int, reason: str) -> None:
        if self._take_out(number, reason) is not None:  # else we are just saying goodbye to it
            self._tell(ev.ClientLeft(number))

    def _on_sent(self, number: int, client: Client, queued: int) -> None:
        if client.terminal is None:  # else what its connection still carries is not output that counts
            self._tell(ev.ClientTook(number, queued))

    def _on_room(self, number: int, client: Client) -> None:
        if client.terminal is None:
            self._tell(ev.ClientRoom(number))

    # --- what they are given ----------------------------------------------------------------------------

    def send(self, effect: do.Send) -> None:
        client = self._clients.get(effect.client)
        if client is None:
            return
        if client.terminal is not None:
            if type(effect.message) is Output and not self._scrollback.log.degraded:
                if client.terminal.write(effect.message.data) and client.terminal is not None:
                    self._tell(ev.ClientTook(effect.client, client.terminal.queued))
                return
            if type(effect.message) in _NEEDLESS:
                return
            if type(effect.message) is Resize:  # first, so that it knows why it gets its terminal back
                client.socket.send(wire_codec.encode(effect.message))
                if client.size != self._session.size:  # what we write does not fit
                    self._loans.give_back(effect.client, client)
                return
            self._loans.give_back(effect.client, client)
        message, frame = self._encoded
        if message is not effect.message:  # one piece of output goes to many, encoded once
            frame = wire_codec.encode(effect.message)
            self._encoded = (effect.message, frame)
        client.socket.send(frame)

    def lent(self, number: int) -> LentTerminal | None:
        """The terminal of that client, if it is lent to us."""
        client = self._clients.get(number)
        return None if client is None else client.terminal

    def watch_room(self, effect: do.WatchRoom) -> None:
        if (client := self._clients.get(effect.client)) is not None:
            (client.terminal or client.socket).watch_room()

    def read_log(self, effect: do.ReadLog) -> None:
        client = self._clients.get(effect.client)
        if client is None:
            return
        if client.cursor is None or client.cursor.seq != effect.seq:
            client.cursor = self._scrollback.cursor(effect.seq)
        self._feed(effect.client, client.cursor, effect.limit)
        if client.cursor.seq >= self._scrollback.log.end:
            client.cursor = None  # caught up: what is read next comes much later, if ever

    def find_replay_start(self, effect: do.FindReplayStart) -> None:
        client = self._clients[effect.client]
        client.cursor = self._scrollback.replay_cursor(effect.back)
        self._feed(effect.client, client.cursor, effect.limit)

    def _feed(self, number: int, cursor: Cursor, limit: int) -> None:
        data = cursor.read(limit)
        self._tell(ev.LogRead(number, cursor.seq - len(data), data))

    def ask(self, event: Event, wanted: int | None = None) -> tuple[int, int]:
        """Tell clients (None: all) where to go on after this; how many were told, and how many can't."""
        meant = [(number, one) for number, one in self._clients.items() if wanted in (None, number)]
        able = [(number, one) for number, one in meant if one.joining.switches]
        frame = wire_codec.encode(event)
        for number, client in able:
            self._loans.give_back(number, client)
            client.socket.send(frame)
        return len(able), len(meant) - len(able)

    # --- going ------------------------------------------------------------------------------------------

    def dismiss(self, effect: do.CloseClient) -> None:
        if (client := self._take_out(effect.client, effect.reason)) is not None:
            self.leaving.add(client.socket)

    def close(self) -> None:
        """Hang up on all but those who are leaving already, and take no more."""
        self._closed = True
        for client in self._clients.values():
            client.let_go()
            client.socket.close()
        self._clients.clear()


def _checked_size(rows: int, cols: int) -> Size:
    try:
        return Size(rows=rows, cols=cols)
    except ValueError as error:
        raise RemoteProtocolError(str(error)) from error
