"""What a session printed, for commands: what of it can't be had is told beside the output."""

from __future__ import annotations

from toowl.commands._connect import note
from toowl.history import History
from toowld import paths


def history_of(session: str) -> History:
    """The past of a session, to be used as a context manager.

    Raises:
        SessionNotFound: there is none of that name; SessionAmbiguous: several.
    """
    return History(session, paths.resolve(), tell=note)
