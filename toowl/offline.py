"""Sessions as the state folder knows them, for what works while no daemon runs.

Reads records, writes nothing. A record that can't be read still leaves its session with an id.
"""

from __future__ import annotations

from toowld import cbor
from toowld.errors import SessionAmbiguous, SessionNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from toowld.paths import Paths

#: Far above any record; a folder full of something else must not fill our memory.
_MAX_RECORD = 16 << 20


def records(paths: Paths) -> list[dict[str, Any]]:
    """What is recorded about every session; at least its ``id``."""
    try:
        folders = sorted(folder for folder in paths.sessions.iterdir() if folder.is_dir())
    except OSError:  # no state folder, no sessions
        return []
    return [recorded(paths, folder.name) for folder in folders if not folder.name.startswith(".")]


def recorded(paths: Paths, session_id: str) -> dict[str, Any]:
    """What is recorded about the session with that id; ``id`` and ``name`` at least."""
    found: dict[str, Any] = {}
    try:
        with (paths.session(session_id) / "record").open("rb") as file:
            value = cbor.loads(file.read(_MAX_RECORD))
    except (OSError, ValueError, cbor.CBORError):
        pass  # missing or damaged: the log beside it may be whole
    else:
        if isinstance(value, dict):
            found = {key: item for key, item in value.items() if isinstance(key, str)}
    name = found.get("name")
    return {**found, "id": session_id, "name": name if isinstance(name, str) else None}


def resolve(paths: Paths, session: str) -> dict[str, Any]:
    """The record of the session with that id, name or unique beginning of an id.

    Raises:
        SessionNotFound: there is none.
        SessionAmbiguous: several ids begin so.
    """
    known = records(paths)
    for exact in ("id", "name"):
        for record in known:
            if record[exact] == session:
                return record
    fitting = [record for record in known if session and record["id"].startswith(session)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise SessionAmbiguous(f'session "{session}" could be {_some(fitting)}: give more of the id')
    raise SessionNotFound(f'session "{session}" not found: `toowl ls` lists what is there')


def _some(records: Sequence[dict[str, Any]]) -> str:
    ids = [record["id"] for record in records]
    return " or ".join(ids[:3]) + (" or others" if len(ids) > 3 else "")
