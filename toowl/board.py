"""What a list that is watched knows of the sessions, and which news it has already. PURE.

Events and lists come over one connection, but a list is put together over a while, so it may tell of a session as it
was before an event that came first. Each says of which version of the session's record it is; older ones are dropped.
Versions never sink while a daemon runs: with another connection, begin with another board.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Session = Mapping[str, Any]


class Board:
    """The sessions as they are known.

    Attributes:
        sessions: as they were listed last, but for those of which that list was older than what was known.
    """

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self._versions: dict[str, int] = {}  # the newest that was heard of

    def heard(self, name: str, data: Mapping[str, Any]) -> bool:
        """An event came; whether it is news, and the list has to be asked for."""
        session, version = data.get("session"), data.get("version")
        if not isinstance(session, str) or not isinstance(version, int):
            return True  # not of a session: some were missed
        if name == "removed":
            self._versions.pop(session, None)
            return True
        if version < self._versions.get(session, version):
            return False
        self._versions[session] = version
        return True

    def listed(self, sessions: Sequence[Session]) -> bool:
        """A list came; whether it is older than what was heard of some session, and has to be asked for again."""
        before = {session.get("id"): session for session in self.sessions}
        found, late = [], False
        for session in sessions:
            key, version = str(session.get("id")), session.get("version")
            if isinstance(version, int) and version < self._versions.get(key, version):
                late = True
                session = before.get(key, session)
            elif isinstance(version, int):
                self._versions[key] = version
            found.append(session)
        self.sessions = found
        return late
