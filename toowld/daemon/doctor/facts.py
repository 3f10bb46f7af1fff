"""What the doctor knows, as plain values: gathered by `gather`, judged by `checks`. Nothing is looked up here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from toowld.classes import frozen


class Status(Enum):
    """How well one thing is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@frozen
class Finding:
    """One line of the report. ``next_step``: what to do about it, for a warning or a failure."""

    status: Status
    what: str
    detail: str
    next_step: str | None = None


@frozen(kw_only=True)
class Folder:
    """One of toowl's folders as the file system shows it."""

    path: str
    kind: str = "folder"  # "folder", "symlink", "missing", "other"
    uid: int = 0
    mode: int = 0o700
    free_bytes: int | None = None
    total_bytes: int | None = None
    read_only: bool = False
    filesystem: str | None = None


@frozen(kw_only=True)
class Keeper:
    """A file in the folder of the custodians' sockets, and what we heard when we called there ourselves."""

    session: str
    pid: int | None  # None: nobody listens, the socket is stale
    build: str | None = None  # None: it listens, but did not answer
    upgradable: bool = False  # it can replace its code while its session goes on
    mismatch: str | None = None  # it did, and speaks no version of ours: which
    cgroup: str | None = None


@frozen(kw_only=True)
class Service:
    """The systemd unit that the daemon's cgroup belongs to."""

    unit: str
    user: bool  # of the user's manager, not of the system's
    cgroup: str
    properties: Mapping[str, str] | None  # None: systemd could not be asked
    error: str | None = None


@frozen(kw_only=True)
class Facts:
    """All that the checks look at."""

    version: str
    system: str
    uid: int
    user: str
    runtime: Folder
    state: Folder
    socket: str
    socket_mode: int | None  # None: there is no socket
    own_flag: str | None  # of our environment; only to explain a misunderstanding
    report: Mapping[str, Any] | None  # the daemon's answer to "doctor"; None: it gave none
    error: str | None  # why it gave none
    listener: int | None  # pid of whoever listens on the daemon's socket
    sessions: tuple[Mapping[str, Any], ...] | None
    keepers: tuple[Keeper, ...]
    service: Service | None
    linger: bool | None  # None: systemd-logind keeps no such folder here
    pty_used: int | None
    pty_max: int | None
    wall: float
    clock_jump: float | None  # seconds that the wall clock gained on the boot clock since the daemon's start
    config: str  # the file of the settings
    config_problems: tuple[str, ...]  # what is wrong in there, by its line
    emulator_error: str | None  # why there is no terminal emulator; None: there is one
