"""What happened to a session, told from how it was and how it is. PURE.

Nobody has to remember to tell of a change: whatever stores a record or hears news gives both states here, and the
difference is what happened. Owns the names of the events and what comes with them (docs/protocol.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toowld.session import Record, State

_Event = tuple[str, dict[str, Any]]
_Info = Mapping[str, Any]

#: What of a record is said by people, beside name and tags; all else is noted by the daemon.
_SAID = ("on_restore", "scrollback_bytes", "size_policy")


def of_record(before: Record, now: Record) -> Iterator[_Event]:
    """What happened when a session's record became another one."""
    if before.name != now.name:
        yield "renamed", {"before": before.name}
    if before.tags != now.tags:
        yield "tagged", {"tags": dict(now.tags)}
    if before.state is not now.state:
        yield from _moved(before, now)
        return
    if changed := _set(before, now):
        yield "set", {"keys": changed}


def _set(before: Record, now: Record) -> list[str]:
    said = [key for key in _SAID if getattr(before, key) != getattr(now, key)]
    keys = sorted({*before.settings, *now.settings})
    return said + [key for key in keys if before.settings.get(key) != now.settings.get(key)]


def _moved(before: Record, now: Record) -> Iterator[_Event]:
    match now.state:
        case State.RUNNING if before.state is State.STARTING:
            # Only one that has run before has had a child.
            yield ("started" if before.pid is None else "restarted"), {"pid": now.pid}
        case State.ENDED:
            yield (
                "ended",
                {
                    "reason": now.end_reason,
                    "code": now.exit_code,
                    "signal": now.exit_signal,
                    "requested": now.end_requested,
                    "cause": now.end_cause,
                    "error": now.error,
                },
            )


def of_news(before: _Info, now: _Info) -> Iterator[_Event]:
    """What happened between two answers to ``info`` (`toowld.host.control.info`); clients are `attendance`'s.

    Args:
        before: empty if nothing was known.
    """
    if before and (before.get("rows"), before.get("cols")) != (now.get("rows"), now.get("cols")):
        yield "resized", {"rows": now.get("rows"), "cols": now.get("cols")}
    if now.get("title") != before.get("title"):
        yield "title", {"title": now.get("title")}
    if (bells := _count(now, "bells") - _count(before, "bells")) > 0:
        yield "bell", {"count": bells}
    if now.get("cwd_url") != before.get("cwd_url") or (
        before and now.get("cwd") not in (None, before.get("cwd"))
    ):
        yield "cwd", {"cwd": now.get("cwd"), "url": now.get("cwd_url")}
    if (done := _count(now, "commands") - _count(before, "commands")) > 0:
        yield "command-ended", {"exit": now.get("last_exit"), "count": done}
    if now.get("prompt") != before.get("prompt") or done > 0:
        if now.get("prompt") == "prompt":
            yield "prompt", {"exit": now.get("last_exit")}
        elif now.get("prompt") == "command":
            yield "command-started", {}


def _count(info: _Info, key: str) -> int:
    value = info.get(key)
    return value if isinstance(value, int) else 0
