"""The beginning of an attachment: what is asked for, and the answer, with the picture that is shown first.

A session is entered while the terminal still is as it was; or while another one is on it, which stays if that fails.
"""

from __future__ import annotations

import os
import time

from toowl import picture
from toowl.terminal import terminal_size
from toowld import __version__, errors, wire
from toowld.classes import frozen
from toowld.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from toowld.paths import Paths

#: The daemon waits up to 3 s for a session that is just being started; then there is the way back.
_ATTACH_TIMEOUT = 15.0


@frozen
class Entered:
    """A session that was attached: over which connection, how that was asked for, and what to show of it first."""

    client: Client
    attached: wire.Attached
    request: dict[str, Any]
    picture: picture.Picture | None

    @property
    def session_id(self) -> str | None:
        """None from one that does not tell it."""
        session_id = self.attached.about.get("id")
        return session_id if isinstance(session_id, str) else None


def enter(client: Client, request: dict[str, Any], ordered: picture.Order | None) -> Entered:
    """Attach to a session.

    Args:
        request: the parameters of ``attach``, of `complete`.
        ordered: the picture to begin with.

    Raises:
        ToowlError: it can't be attached.
    """
    painted = picture.get(client, ordered, terminal_size()) if ordered is not None else None
    if painted is not None:
        # Asked to draw anew all the same: a picture has no images, and some programs know more than we do.
        request |= {"from_seq": painted.seq, "redraw": True}
    attached = _ask(client, request)
    _check_roles(attached, request)
    if painted is not None and attached.seq < painted.seq:
        painted = None
    return Entered(client, attached, request, painted)


def elsewhere(where: Paths, before: Mapping[str, Any], session: str, size: wire.Size) -> Entered:
    """Attach to another session than before, as its user attached to that.

    Args:
        before: the request for the one before.
        session: the id of the other one.
        size: of the terminal now.

    Raises:
        ToowlError: it can't be attached.
    """
    if session == os.environ.get("TOOWL_SESSION"):
        raise errors.RefusedError("this terminal is inside that one, which would loop")
    request = {
        **before,
        "session": session,
        "rows": size.rows,
        "cols": size.cols,
        "from_seq": None,
        "redraw": False,
        "respawn": True,
        "lead": "no" if before["lead"] == "no" else "keep",  # from nobody who leads there
        "steal": False,
    }
    client = Client.connect(where)
    try:
        ordered = picture.order(client, session, size, request["read_only"]) if request["replay"] else None
        return enter(client, request, ordered)
    except BaseException:
        client.close()
        raise


def complete(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of ``attach``, with what goes without saying."""
    size = terminal_size()
    return {
        "client_id": os.urandom(8).hex(),
        "rows": size.rows,
        "cols": size.cols,
        "term": os.environ.get("TERM", ""),
        "tty": _tty_name(),
        "pid": os.getpid(),
        "read_only": False,
        "lead": "no",
        "steal": False,
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


def _check_roles(attached: wire.Attached, request: Mapping[str, Any]) -> None:
    """Make sure that what was asked for is what we are.

    Raises:
        RefusedError: the session's keeper is of a version that knew no roles.
    """
    if (request["lead"] != "no" or request["steal"]) and "role" not in attached.about:
        session = attached.about.get("id") or request["session"]
        raise errors.RefusedError(
            f"the keeper of session {session} is of an older version, in which nobody takes the lead, or the place "
            f"of others: `toowld upgrade {session}` has it go on with {__version__}"
        )
