"""Every key that there is, with what is to be known of it. PURE: data, and nothing else.

A class is a table of ``config.toml``, a field a key. The fields' annotations are what a value is once it is read; a
key that is None says nothing.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from toowld.classes import field, fields, frozen

#: The daemon's environment variable without which no session is persistent.
GATE = "TOOWLD_PERSISTENT_SESSIONS"


class Kind(enum.Enum):
    """What a value is. The words stand in messages and in the manual."""

    FLAG = "true or false"
    COUNT = "a whole number"
    BYTES = 'a number of bytes, or text such as "64 MiB"'
    SECONDS = 'a number of seconds, or text such as "12h"'
    PERCENT = "a number: percent of one CPU"
    WORD = "one of some words"
    TEXT = "a text"
    TEXTS = "a list of texts"


class Takes(enum.Enum):
    """When a changed value is heeded by a daemon that runs."""

    NOW = "at once"
    NEW = "for sessions that are made from now on"
    CHILD = "when the program of a session is started"


@frozen
class Key:
    """One key.

    Attributes:
        least: of a number, and most.
        none: a number below ``least`` that is allowed too, and means "no limit".
        words: all that a `Kind.WORD` may be.
        connection: a table ``[connections."user@host"]`` may have it too.
        session: `toowl new` and `toowl set` may say it for one session.
        hint: what stands for a default of None, in the manual.
        names: of a key that is `free`: those that it may have.
        alone: a text may stand for a list that has only that.
    """

    kind: Kind
    means: str
    takes: Takes = Takes.NOW
    least: float = 0
    most: float = math.inf
    none: bool = False
    words: tuple[str, ...] = ()
    connection: bool = False
    session: bool = False
    hint: str = ""
    names: tuple[str, ...] = ()
    alone: bool = False


def _key(default: Any, kind: Kind, means: str, **more: Any) -> Any:
    return field(default=default, metadata={"key": Key(kind, means, **more)})


@frozen
class Daemon:
    """The daemon itself."""

    ended_retention: float = _key(
        300.0,
        Kind.SECONDS,
        "how long a session is kept whose program exited, or was ended on request; inf: for ever, as all others are",
    )
    scan_timeout: float = _key(
        2.0, Kind.SECONDS, "how long one custodian may take to answer when the daemon starts", least=0.01
    )
    tick: float = _key(
        30.0,
        Kind.SECONDS,
        "how often the daemon looks for sessions to end or forget, and for custodians that did not answer",
        least=0.01,
    )


@frozen
class Defaults:
    """What a session has that was made without saying otherwise."""

    persistent: bool | None = _key(
        None,
        Kind.FLAG,
        f"whether sessions survive the end of the daemon; only where the daemon has {GATE}=1 in its environment",
        takes=Takes.NEW,
        connection=True,
        session=True,
        hint=f"as {GATE} says",
    )
    shell: str = _key(
        "",
        Kind.TEXT,
        "the shell of sessions that are made without a command, as a path or a name; empty: the one that SHELL names "
        "where a session is made, or else that of the user's account",
        takes=Takes.CHILD,
        connection=True,
        session=True,
    )
    size: str = _key(
        "smallest",
        Kind.WORD,
        'how large a session is while several terminals are attached: "smallest", what all that may type can show, '
        'or "latest", as the one whose user attached, typed or resized it last',
        takes=Takes.NEW,
        words=("smallest", "latest"),
        connection=True,
        session=True,
    )
    scrollback_bytes: int = _key(
        64 << 20,
        Kind.BYTES,
        "how much of a session's output is kept on disk",
        takes=Takes.NEW,
        least=16 << 10,
        connection=True,
        session=True,
    )
    replay_lines: int = _key(
        2000,
        Kind.COUNT,
        "how many lines of scrollback a terminal is given above the screen when it attaches, 10 000 at most; all of "
        "it is in `toowl capture --scrollback` and `toowl search`",
        most=10_000,
        connection=True,
        session=True,
    )
    idle_timeout: float | None = _key(
        None,
        Kind.SECONDS,
        "how long nobody may be attached before a session is ended; what is said here holds whether [reaper] is "
        "enabled or not",
        none=True,
        least=1,
        connection=True,
        session=True,
        hint="as [reaper] says",
    )
    ttl: float = _key(
        0.0,
        Kind.SECONDS,
        "how long a session may last, whoever is attached, from the start of its program on; counted while a daemon "
        "runs",
        none=True,
        least=1,
        connection=True,
        session=True,
    )
    memory_max: int = _key(
        0,
        Kind.BYTES,
        "how much memory all programs of a session may take together; needs a scope of systemd, which only "
        "persistent sessions have",
        takes=Takes.CHILD,
        none=True,
        least=16 << 20,
        connection=True,
        session=True,
    )
    cpu_quota: float = _key(
        0.0,
        Kind.PERCENT,
        "how much of the processors they may use together, 200 being two of them; needs a scope too",
        takes=Takes.CHILD,
        none=True,
        least=1,
        connection=True,
        session=True,
    )
    tasks_max: int = _key(
        0,
        Kind.COUNT,
        "how many processes and threads they may have together, the session's keeper included; needs a scope too",
        takes=Takes.CHILD,
        none=True,
        least=4,
        connection=True,
        session=True,
    )


@frozen
class Reaper:
    """Ending sessions that nobody is attached to. Off, unless you turn it on, but for those made over a connection.

    The time counts only while nobody is attached and a daemon runs, and begins anew with each visit. What is
    ended stays listed, with its scrollback, for ``retention``.
    """

    enabled: bool = _key(
        False,
        Kind.FLAG,
        "whether sessions are ended for which [defaults] has no idle_timeout; those that were made over a connection "
        "are in any case",
    )
    idle_timeout_anonymous: float = _key(
        3600.0,
        Kind.SECONDS,
        "how long nobody may be attached to a session without a name",
        none=True,
        least=1,
    )
    idle_timeout_named: float = _key(
        86400.0, Kind.SECONDS, "how long nobody may be attached to a session with a name", none=True, least=1
    )
    idle_timeout_remote: float = _key(
        172800.0,
        Kind.SECONDS,
        "how long nobody may be attached to a session that was made over a connection, with a name or without, "
        "enabled or not; 3d lets it last over a weekend",
        none=True,
        least=1,
    )
    retention: float = _key(
        604800.0, Kind.SECONDS, "how long a session is kept that was ended for its idle_timeout or ttl"
    )


@frozen
class Environment:
    """What shells that run take over from the terminal that is attached."""

    agent: bool = _key(
        True,
        Kind.FLAG,
        "whether SSH_AUTH_SOCK in a session leads to the ssh-agent of the terminal that was attached last",
        takes=Takes.CHILD,
    )
    follow: tuple[str, ...] = _key(
        (
            "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "WINDOWID", "XDG_SESSION_ID", "XDG_SESSION_TYPE", "XDG_VTNR",
            "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "SSH_AGENT_PID", "SSH_ASKPASS",
            "DBUS_SESSION_BUS_ADDRESS", "KRB5CCNAME", "COLORTERM", "TERM_PROGRAM", "TERM_PROGRAM_VERSION",
        ),
        Kind.TEXTS,
        "the variables that shells with `toowl shell-integration` take over from the terminal that was attached last",
    )  # fmt: skip


@frozen
class Audit:
    """Noting who did what to which session, when and from where, in audit.jsonl in the state folder.

    Each line is one JSON object: a request that somebody made, or an event. What was typed, printed or run is not in
    there.
    """

    enabled: bool = _key(True, Kind.FLAG, "whether that is noted")
    max_bytes: int = _key(
        1 << 20, Kind.BYTES, "how large the file gets before a new one is begun", least=4096
    )
    keep: int = _key(3, Kind.COUNT, "how many older files are kept: audit.jsonl.1 and so on")


@frozen
class Hooks:
    """Commands that the daemon runs when something happens to a session.

    A command is a line for `sh`. It runs in your home folder, with the daemon's environment and `TOOWL_EVENT`,
    `TOOWL_SESSION` (the id), `TOOWL_NAME`, `TOOWL_AT` (seconds since the epoch), `TOOWL_DATA` (what else comes with
    the event, as JSON), and each of that as a variable too, such as `TOOWL_EVENT_REASON`. So `toowl` in it finds the
    daemon, and the session. Nobody waits for it; what it prints goes to the daemon's log.
    """

    FREE: ClassVar[Key] = Key(
        Kind.TEXTS,
        "The other keys are names of events: what is run then",
        names=(
            "created", "started", "restarted", "attached", "detached", "resized", "renamed", "tagged", "set", "title",
            "bell", "cwd", "command-started", "command-ended", "prompt", "unreachable", "reachable", "upgraded",
            "ended", "removed", "idle", "input",
        ),
        alone=True,
    )  # fmt: skip

    timeout: float = _key(
        10.0,
        Kind.SECONDS,
        "how long a command may take; then it is killed, with all that it started",
        least=0.1,
    )
    at_once: int = _key(
        4,
        Kind.COUNT,
        "how many may run at once; 64 more wait for their turn, the others are left out",
        least=1,
    )
    idle_after: float = _key(
        60.0, Kind.SECONDS, "for the event idle: how long a session has printed nothing", least=0.5
    )
    given: Mapping[str, tuple[str, ...]] = field(factory=dict)


#: Table of the file → its class; `Settings` in `resolve` has a field for each.
TABLES: Mapping[str, Any] = {
    "daemon": Daemon,
    "defaults": Defaults,
    "reaper": Reaper,
    "environment": Environment,
    "audit": Audit,
    "hooks": Hooks,
}

#: Tables of the keys with ``connection``, by "user@host".
CONNECTIONS = "connections"

#: Where a key stood before → where it stands. Both are read.
MOVED = {"daemon.size": "defaults.size", "daemon.scrollback_bytes": "defaults.scrollback_bytes"}


def free(table: str) -> Key | None:
    """What those keys of a table are like whose names are not known beforehand; None: there are none such."""
    found: Key | None = getattr(TABLES[table], "FREE", None)
    return found


def keys(table: str) -> dict[str, Key]:
    """The keys of a table, by name; but for those that are `free`."""
    return {one.name: one.metadata["key"] for one in fields(TABLES[table]) if one.metadata}


def default(table: str, name: str) -> Any:
    """What holds if nobody says anything."""
    return next(one.default for one in fields(TABLES[table]) if one.name == name)


def everything() -> dict[str, Key]:
    """All keys as ``table.key``, in the order of the manual; without those of free tables."""
    return {f"{table}.{name}": key for table in TABLES for name, key in keys(table).items()}


def of_connections() -> dict[str, Key]:
    """The keys that a connection's table may have."""
    return {name: key for name, key in keys("defaults").items() if key.connection}


def of_sessions() -> dict[str, Key]:
    """The keys that may be set for one session."""
    return {name: key for name, key in keys("defaults").items() if key.session}
