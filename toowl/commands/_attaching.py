"""What ``attach``, ``new`` and plain ``toowl`` share: putting a session on this terminal."""

from __future__ import annotations

import os

from toowl import caller, picture
from toowl.commands._connect import notices
from toowl.commands._current import current_session
from toowl.terminal import terminal_size
from toowld import paths
from toowld.errors import RefusedError, UsageError
from toowld.wire.login import login_variables
from toowld.wire.text import pack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from toowl.connection import Dialler
    from toowld.client import Client


def need_terminal(instead: str) -> None:
    """Make sure that there is a terminal to put a session on.

    Raises:
        UsageError: there is none; ``instead`` is what to do then.
    """
    if not (_is_terminal(0) and _is_terminal(1)):
        raise UsageError(f"attaching needs a terminal as standard input and output: {instead}")


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:  # closed
        return False


def create(
    client: Client,
    *,
    argv: list[str] | None = None,
    name: str | None = None,
    cwd: str | None = None,
    extra_env: dict[str, str] | None = None,
    persistent: bool | None = None,
    on_restore: str | None = None,
    size_policy: str | None = None,
    start: bool = True,
    settings: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Make a session as seen from here: our environment, our folder, our terminal's size.

    ``start``: and start its program; else it waits for that.
    """
    if settings and "Settings" not in client.hello.about.get("features", ()):
        raise RefusedError(
            f"the daemon is too old for {', '.join(settings)}: restart it first; persistent sessions live on"
        )
    size = terminal_size(next(filter(_is_terminal, (1, 0, 2)), 1))
    params = caller.new_params(
        argv, name=name, cwd=cwd, env=extra_env, size=size, persistent=persistent, on_restore=on_restore
    )
    # A host that swaps is slow to fork, and giving up would leave a session that nobody knows.
    made = client.request(
        "new" if start else "prepare",
        timeout=30.0,
        **params,
        size_policy=size_policy,
        settings=settings or {},
    )
    notices(made)
    return made


def put_on_terminal(
    client: Client,
    session: str,
    *,
    read_only: bool = False,
    replay: bool = True,
    respawn: bool = True,
    lead: bool = False,
    steal: bool = False,
    begun: Mapping[str, Any] | None = None,
) -> int:
    """Attach this terminal to a session until it ends or is detached. Takes the connection over.

    Args:
        replay: show what the session shows, before what comes.
        lead: take the lead. ``steal``: make all others leave.
        begun: with what a picture was ordered already, by the first request.
    """
    ordered = None
    if replay:  # painted by the daemon while we load the rest
        ordered = picture.order(client, session, terminal_size(), read_only, lead or steal, begun)

    from toowl.attach import attach

    params = {
        "session": session,
        "read_only": read_only,
        "replay": replay,
        "respawn": respawn,
        "lead": "take" if lead else "no",
        "steal": steal,
        "switches": True,
        "env": pack_text(login_variables(os.environ)),  # for a child that is started by this
        "environment": pack_text(
            {name: os.environ.get(name) for name in _followed(client)}
        ),  # for shells that run
    }
    return attach(client, params, _dialler, ordered)


def _dialler() -> Dialler:
    from toowl.connection import Dialler

    return Dialler(paths.resolve)


def _followed(client: Client) -> list[str]:
    """The variables that shells are to take over from us: as the daemon is set."""
    names = client.hello.about.get("follow")
    if isinstance(names, list):
        return [name for name in names if isinstance(name, str)]
    from toowld.settings import schema  # there is no daemon, or an older one

    return list(schema.default("environment", "follow"))


def left_last(client: Client) -> dict[str, Any] | None:
    """The running session with nobody attached that was active last."""
    free = [
        session
        for session in client.request("list")["sessions"]
        if session.get("state") == "running"
        and not session.get("clients")
        and session["id"] != current_session()
    ]
    return max(free, key=lambda session: session.get("last_active_at") or 0.0, default=None)


def refuse_own(session_id: str, label: str) -> None:
    """Refuse to attach a session to itself: its output would be its own input for ever.

    Raises:
        RefusedError: it is the session that we are in.
    """
    if current_session() == session_id:
        raise RefusedError(
            f'session "{label}": you are inside it already, and attaching it to itself would loop: '
            "detach first (Ctrl-\\ d), or attach another session"
        )


def label(info: dict[str, Any]) -> str:
    """What people call a session."""
    return str(info.get("name") or info.get("id") or "?")
