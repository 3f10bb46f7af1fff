"""What all programs of a session together may use of the machine, and whether that is so.

The kernel sees to it, for the session's scope (`systemd`). Somebody who said it for one session relies on it: where
it can't be had, that session does not start. Where only the settings for all sessions say so, it is noted, and it
does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toowld.daemon.systemd import Limits
from toowld.errors import RefusedError
from toowld.session import Record
from toowld.settings.resolve import Settings

_log = logging.getLogger(__name__)

#: The settings → the file of the scope's cgroup that says what holds (cgroups(7)), and its controller.
LIMITS = {
    "memory_max": ("memory.max", "memory"),
    "cpu_quota": ("cpu.max", "cpu"),
    "tasks_max": ("pids.max", "pids"),
}

_NO_SCOPE = (
    "a standard session has no scope of its own: toowld needs TOOWLD_PERSISTENT_SESSIONS=1 for one that has"
)


def wanted(record: Record, settings: Settings) -> dict[str, Any]:
    """The limits that a session is to have, by the names of the settings."""
    found = settings.of_session(record.settings, record.connection)
    return {name: value for name in LIMITS if (value := getattr(found, name))}


def for_systemd(limits: dict[str, Any]) -> Limits:
    """The same as a scope takes them."""
    quota = limits.get("cpu_quota")
    return Limits(
        memory_max=limits.get("memory_max"),
        cpu_quota_per_sec_usec=None if quota is None else round(quota * 10_000),
        tasks_max=limits.get("tasks_max"),
    )


def check(record: Record, limits: dict[str, Any], pid: int | None, obstacle: str | None) -> dict[str, Any]:
    """The limits that hold for a session that is just being started.

    Args:
        limits: those that are wanted.
        pid: its custodian, in its scope; None: it has none.
        obstacle: why there is no scope.

    Raises:
        RefusedError: one that was said for this very session does not hold.
    """
    if pid is None:
        obstacle = _NO_SCOPE
    if not limits:
        return {}
    lacking = dict.fromkeys(limits, obstacle) if obstacle else _lacking(limits, pid)
    if said := _said(record, lacking):
        raise RefusedError(
            f"session {record.label} is not started, as its {', '.join(said)} can't be had here "
            f"({lacking[said[0]]}): change that, or start it without {'it' if len(said) == 1 else 'them'}"
        )
    for name, reason in lacking.items():
        _log.warning("session %s has no %s: %s", record.id, name, reason)
    return {name: value for name, value in limits.items() if name not in lacking}


def check_before_restart(record: Record, limits: dict[str, Any], obstacle: str | None) -> None:
    """What is known before anything is ended for it.

    Args:
        record: as it is to be.
        obstacle: why there would be no scope.

    Raises:
        RefusedError: a limit that was said for this very session would not hold.
    """
    if not record.persistent:
        obstacle = _NO_SCOPE
    if obstacle is not None and (said := _said(record, limits)):
        raise RefusedError(
            f"session {record.label} runs on, as its {', '.join(said)} can't be had here ({obstacle}): "
            f"`toowl set {record.label} {' '.join(f'{name}=' for name in said)}`, then restart it"
        )


def _said(record: Record, names: Iterable[str]) -> list[str]:
    """Those that were said for this very session."""
    return [name for name in names if name in record.settings]


def _lacking(limits: dict[str, Any], pid: int | None) -> dict[str, str]:
    """Which limits the kernel knows nothing of: a manager may be told all of them, and own no such controller."""
    folder = _cgroup(pid)
    if folder is None or not folder.is_dir():  # a hierarchy that we can't see: systemd said that it is done
        return {}
    return {
        name: f"its scope has no {controller} controller: a user's own manager needs Delegate={controller}"
        for name, (file, controller) in LIMITS.items()
        if name in limits and _content(folder / file).split()[:1] in ([], ["max"])
    }


def _cgroup(pid: int | None) -> Path | None:
    """Its folder in the unified hierarchy."""
    for line in _content(Path(f"/proc/{pid}/cgroup")).splitlines():
        if line.startswith("0::/"):
            return Path("/sys/fs/cgroup", line[4:])
    return None


def _content(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
