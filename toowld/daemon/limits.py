"""The daemon's own limit of open files, kept away from the shells that it starts.

Each session costs the daemon descriptors, and the usual soft limit is 1024, for the sake of programs that still use
select(2). Those run in our sessions: they get the limit that we were started with.
"""

from __future__ import annotations

import contextlib
import resource

_AT_START = resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_own() -> None:
    """Use all that the hard limit allows."""
    hard = _AT_START[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def restore_for(pid: int) -> None:
    """Give a child that was just started the limit that we were started with."""
    with contextlib.suppress(ProcessLookupError):  # it died at once; whoever needs it will see
        resource.prlimit(pid, resource.RLIMIT_NOFILE, _AT_START)


def of_children() -> dict[str, tuple[int, int]]:
    """What children have that we start ourselves, if whoever wants them does not say: see `Inheritance.limits`."""
    return {"nofile": _AT_START}
