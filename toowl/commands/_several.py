"""One action on several sessions: all are tried, and each failure is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from toowl.commands._connect import note
from toowld.errors import DaemonUnreachable, ToowlError


def each(sessions: Iterable[str], action: Callable[[str], object]) -> int:
    """Do ``action`` for every session; the exit status is that of the first failure, 0 without one.

    Raises:
        DaemonUnreachable: the daemon went away; trying the others is of no use.
    """
    status = 0
    for session in dict.fromkeys(sessions):  # each once, in order
        try:
            action(session)
        except DaemonUnreachable:
            raise
        except ToowlError as error:
            note(str(error))
            status = status or error.exit_status
    return status
