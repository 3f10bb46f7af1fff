"""How the doctor says things: findings by their status, and values in words. PURE."""

from __future__ import annotations

from toowld.daemon.doctor.facts import Finding, Status


def ok(what: str, detail: str) -> Finding:
    """It is well."""
    return Finding(Status.OK, what, detail)


def warn(what: str, detail: str, next_step: str) -> Finding:
    """It works, but a day will come."""
    return Finding(Status.WARN, what, detail, next_step)


def fail(what: str, detail: str, next_step: str) -> Finding:
    """It does not work, or sessions are about to be lost."""
    return Finding(Status.FAIL, what, detail, next_step)


def some_of(sessions: list[str]) -> str:
    """A few ids, and how many more."""
    shown = ", ".join(sorted(sessions)[:5])
    return shown if len(sessions) <= 5 else f"{shown} and {len(sessions) - 5} more"


def either(words: set[str]) -> str:
    return " or ".join(sorted(words))


def size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
