"""What can be asked of a hosted session, by whoever holds a link to it: the daemon, or a client.

The same requests are answered here for a custodian and for a session inside the daemon.
"""

from __future__ import annotations

import os

from toowld.errors import RefusedError, RemoteProtocolError, SessionError
from toowld.host.client import Joining
from toowld.host.driver import SessionHost
from toowld.host.following import Offer, offer
from toowld.host.params import Params
from toowld.session import SessionState, SizePolicy
from toowld.session import events as ev
from toowld.wire.text import unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: What a fresh attach shows of the scrollback, unless the client wants none: enough for some thousand lines, and
#: little enough to be drawn at once by any terminal.
REPLAY_BYTES = 1 << 20

#: Of what is in memory only, what is given at once: in a frame it takes less than in a log, header and all.
MEMORY_PAGE = 512 << 10


def info(host: SessionHost) -> dict[str, Any]:
    """The session as it is at this moment."""
    session = host.session
    ended = session.ended
    return {
        "state": session.state.value,
        "pid": session.pid,
        "rows": session.size.rows,
        "cols": session.size.cols,
        "clients": len(session.attachments),
        "client_list": host.clients(),
        "departures": [list(departure) for departure in host.departures()],
        "seq": session.seq,
        "log_bytes": host.log.bytes_used,
        "degraded": host.log.degraded,
        "log_error": host.log.error,
        "last_active_at": host.last_active_at,
        "end_reason": ended.reason if ended else None,
        "exit_code": ended.code if ended else None,
        "exit_signal": ended.signal if ended else None,
        "end_requested": session.end_requested,
        "cwd": child_cwd(session.pid) if session.state is SessionState.RUNNING else None,
        "told_at": host.now,
        "output_at": session.output_at,
        **session.marked.describe(),
        "questions": [[query.end, query.text] for query in session.questions],
    }


def child_cwd(pid: int | None) -> str | None:
    """The folder that the child is in now, or None where the kernel does not say (it is gone, or setuid)."""
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None


def _detach(host: SessionHost, params: Params) -> dict[str, Any]:
    wanted = params.integer_or_none("client")
    if wanted is None and not params.flag("all", False):
        raise RemoteProtocolError("detach: say which 'client', or 'all' of them")
    attached = list(host.session.attachments)
    if wanted is not None and wanted not in attached:
        raise SessionError(f"client {wanted} is not attached: `toowl clients` lists those who are")
    numbers = attached if wanted is None else [wanted]
    for number in numbers:
        host.tell(ev.ClientDismissed(number, "requested"))
    return {"detached": len(numbers)}


def _switch(host: SessionHost, params: Params) -> dict[str, Any]:
    """Have clients go to another session. They attach there by themselves, and leave us then; or stay."""
    wanted = params.integer_or_none("client")
    if wanted is not None and wanted not in host.session.attachments:
        raise SessionError(f"client {wanted} is not attached: `toowl clients` lists those who are")
    asked, unable = host.switch(params.text("to"), wanted)
    return {"asked": asked, "unable": unable}


def _send(host: SessionHost, params: Params) -> dict[str, Any]:
    if data := params.data("data"):
        host.tell(ev.Injected(data))
    return {}


def _resize(host: SessionHost, params: Params) -> dict[str, Any]:
    host.tell(ev.ResizeRequested(params.size()))
    return {}


def _kill(host: SessionHost, params: Params) -> dict[str, Any]:
    if params.flag("restart", False):
        host.restarts()
    host.tell(ev.KillRequested(params.flag("force", False)))
    return {}


def _answer(host: SessionHost, params: Params) -> dict[str, Any]:
    """What the session's screen says to one of the ``questions`` of `info`, which somebody else has computed."""
    host.tell(ev.ScreenAnswered(params.integer("end"), params.data("data")))
    return {}


def _set(host: SessionHost, params: Params) -> dict[str, Any]:
    """What was set for the session while it runs; what is left out stays."""
    policy = params.word_or_none("size_policy", SizePolicy)
    limit = params.integer_or_none("scrollback_bytes")
    if policy is not None:
        host.tell(ev.PolicyChanged(policy))
    if limit is not None:
        host.set_log_limit(limit)
    return {}


def _unwritten(host: SessionHost, params: Params) -> dict[str, Any]:
    """What of the log is in memory only, as the disk takes nothing. Whoever wants the rest reads the files."""
    limit = min(max(params.integer("limit"), 1), MEMORY_PAGE)
    records, following = host.log.ring.page(params.integer("seq"), limit)
    fields = [[item.type, item.seq, item.wall_us, item.mono_us, item.payload] for item in records]
    return {"records": fields, "next": following}


_METHODS: Mapping[str, Callable[[SessionHost, Params], dict[str, Any]]] = {
    "info": lambda host, params: info(host),
    "detach": _detach,
    "switch": _switch,
    "send": _send,
    "resize": _resize,
    "kill": _kill,
    "answer": _answer,
    "set": _set,
    "unwritten": _unwritten,
}


def request(host: SessionHost, method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one request.

    Raises:
        RefusedError: not now. RemoteProtocolError: wrong parameters. SessionError: see the message.
    """
    handler = _METHODS.get(method)
    if handler is None:
        raise RefusedError(
            f"this version of toowl does not know the request '{method}': upgrade the older side"
        )
    return handler(host, Params(method, values))


def joining(values: Mapping[str, Any], replay_bytes: int = REPLAY_BYTES) -> Joining:
    """Read the parameters of an ``attach`` request.

    Raises:
        RemoteProtocolError: a wrong type or value.
    """
    params = Params("attach", values)
    client_id = params.text("client_id")
    if not 0 < len(client_id) <= 64:
        raise RemoteProtocolError("attach: 'client_id' must have 1 to 64 characters")
    tty = params.text_or_none("tty")
    if len(tty or "") > 256:  # all of them together are told in one frame
        raise RemoteProtocolError("attach: 'tty' must have 256 characters at most")
    return Joining(
        client_id=client_id,
        size=params.size() if values.get("rows") is not None else None,
        read_only=params.flag("read_only", False),
        from_seq=params.integer_or_none("from_seq"),
        replay_bytes=replay_bytes if params.flag("replay", True) else 0,
        pid=params.integer_or_none("pid"),
        tty=tty,
        redraw=params.flag("redraw", False),
        offer=_offer(params),
        lead=params.word_or_none("lead", ev.Lead) or ev.Lead.NO,
        steal=params.flag("steal", False),
        switches=params.flag("switches", False),
    )


def _offer(params: Params) -> Offer | None:
    """What shells may follow, of one who may type into them and gives something along."""
    given = params.mapping("environment", None)
    if given is None or params.flag("read_only", False):
        return None
    agent = params.environment("env", {}).get("SSH_AUTH_SOCK")
    return offer(agent, Params("attach", {"environment": unpack_text(given)}).changes("environment"))
