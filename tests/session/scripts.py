"""What the scripts of a session are written with: short ways to say an event, and sessions in a given state."""

from __future__ import annotations

from toowld.session import AttachmentState, Session, SizePolicy
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.outbox import HIGH
from toowld.wire import Attached, Message, Size

SIZE = Size(rows=24, cols=80)
LARGE = Size(rows=50, cols=200)

#: One byte more than an outbox takes before it counts as full, in as few PTY reads as it takes.
FLOOD = [b"x" * (64 << 10)] * (HIGH // (64 << 10)) + [b"y"]


def running(
    *,
    seq: int = 0,
    size: Size = SIZE,
    policy: SizePolicy = SizePolicy.SMALLEST,
    sync_interval: float = 30.0,
) -> Session:
    """A session whose child runs since 0.0."""
    session = Session(seq=seq, size=size, policy=policy, sync_interval=sync_interval)
    session.handle(ev.StartRequested(), 0.0)
    session.handle(ev.ChildStarted(pid=77), 0.0)
    return session


def join(
    client: int,
    *,
    client_id: str | None = None,
    size: Size | None = SIZE,
    read_only: bool = False,
    from_seq: int | None = None,
    replay: int = 0,
    redraw: bool = False,
    lead: ev.Lead = ev.Lead.NO,
    steal: bool = False,
) -> ev.ClientJoined:
    """A client attaches; with its number as its id, and live at once, unless said otherwise."""
    name = client_id or f"c{client}"
    return ev.ClientJoined(client, name, size, read_only, from_seq, replay, redraw, lead, steal)


def attached(
    client: int,
    *,
    seq: int,
    live: int | None = None,
    input_seq: int = 0,
    size: Size = SIZE,
    read_only: bool = False,
    answered: int | None = None,
) -> do.Send:
    """The welcome that a client gets."""
    about: dict[str, object] = {
        "client": client,
        "pid": 77,
        "rows": size.rows,
        "cols": size.cols,
        "read_only": read_only,
    }
    live = seq if live is None else live
    about["role"] = "viewer" if read_only else "peer"
    about["answered"] = live if answered is None else answered  # it is alone, and nothing was printed since
    about["tells_size"] = True
    return do.Send(client, Attached(seq, live, input_seq, about))


def sent(effects: list[do.Effect], client: int) -> list[Message]:
    """The messages to one client."""
    return [effect.message for effect in effects if isinstance(effect, do.Send) and effect.client == client]


def of(effects: list[do.Effect], *kinds: type[do.Effect]) -> list[do.Effect]:
    """Only the effects of some kinds."""
    return [effect for effect in effects if isinstance(effect, kinds)]


def signals(effects: list[do.Effect]) -> list[int]:
    """Which signals the child's session gets."""
    return [effect.signal for effect in effects if isinstance(effect, do.SignalSession)]


def flood(session: Session, now: float) -> list[do.Effect]:
    """The child prints until any live client that takes nothing is full. Returns the last effects."""
    effects: list[do.Effect] = []
    for data in FLOOD:
        effects = session.handle(ev.PtyOutput(data), now)
    return effects


def state(session: Session, client: int) -> AttachmentState:
    """How a client gets its output at this moment."""
    return session.attachments[client].state
