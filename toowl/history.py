"""What a session printed: read from the state folder, where we see it as the daemon does, else asked of the daemon.

What could not be written to the log (full disk) is in the memory of who keeps the session, and is asked for: through
the daemon if it runs, else directly. Everything else needs neither. Says nothing to anybody: what is missing is told
to whom the caller names.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

from toowl.offline import recorded, resolve
from toowld.client import Client
from toowld.errors import CustodianUnreachable, DaemonUnreachable, ToowlError
from toowld.log.format import OUTPUT, LogRecord
from toowld.log.reader import GapMark, LogReader
from toowld.log.unwritten import with_unwritten
from toowld.wire.seq import gap_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any

    from toowld.paths import Paths
    from toowld.screen.follow import Followed
    from toowld.screen.state import Terminal

#: Bytes of one page. A frame holds 4 MiB; smaller pages leave the daemon room for others.
_PAGE = 1 << 20

#: A custodian that is not stopped answers within a millisecond (seconds).
_PATIENCE = 2.0


class History:
    """The past of one session. Use as a context manager.

    Args:
        where: the folders of the daemon.
        tell: is called with a line of text where something is missing that nobody can bring.
    """

    def __init__(self, session: str, where: Paths, tell: Callable[[str], None] = lambda _: None) -> None:
        """Find the session.

        Raises:
            SessionNotFound: there is none of that name; SessionAmbiguous: several.
        """
        self._where, self._tell = where, tell
        self.record: dict[str, Any] = {}
        self._client: Client | None = None
        self._folder: Path | None = None
        self._reader: LogReader | None = None
        self._unwritten: list[LogRecord] = []
        try:
            self._client = Client.connect(where)
        except DaemonUnreachable:
            self.info = self.record = resolve(where, session)
            # First what is in memory: it may be in the files by the time these are read.
            self._unwritten = _unwritten(where.custodian_socket(self.info["id"]), tell)
            self._folder = where.session(self.info["id"])
            self._reader = LogReader(self._folder)
            return
        try:
            self.info = self._client.request("info", session=session)
        except BaseException:
            self._client.close()
            raise
        self.record = recorded(where, self.info["id"])
        self._folder = _files(self.info)
        self._reader = LogReader(self._folder) if self._folder is not None else None

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def watching(self) -> AbstractContextManager[Client | None]:
        """A connection to attach to the session by: to the daemon, else to its keeper; None if neither is there.

        It takes the daemon's connection: nothing more can be asked by `records` of what only the daemon knows.
        """
        if self._client is not None:
            client, self._client = self._client, None
            return client
        try:
            return Client.connect_path(self._where.custodian_socket(self.info["id"]))
        except CustodianUnreachable:  # it has ended, or was never persistent
            return nullcontext()

    @property
    def label(self) -> str:
        """What people call the session."""
        return str(self.info.get("name") or self.info["id"])

    @property
    def end(self) -> int:
        """Where the output ended when the session was found."""
        if self._client is None and self._reader is not None:
            return max(self._reader.end, self._unwritten[-1].end if self._unwritten else 0)
        return int(self.info.get("seq") or 0)

    def screen(self) -> Terminal:
        """What the session shows now, with its scrollback as far as a terminal would have it.

        Raises:
            ScreenError: that can't be told here; the message says why.
        """
        return self.followed().model.state()

    def followed(self) -> Followed:
        """A model of the session's terminal as it is now.

        Raises:
            ScreenError: that can't be told here; the message says why.
        """
        from toowld.screen.follow import follow, play

        if self._folder is not None and not self._unwritten:
            return follow(self._folder)
        return play(self.records())

    def records(self, from_seq: int = 0) -> Iterator[LogRecord | GapMark]:
        """All that is held from ``from_seq`` on, and marks where something is missing."""
        if self._reader is not None:
            held = with_unwritten(self._reader.records(from_seq), self._unwritten, from_seq)
        else:
            assert self._client is not None
            held = _pages(self._client, self.info["id"], from_seq, self._tell)
        record = self.info.get("record", self.info)
        return held if record.get("state") != "ended" else _to_the_end(held, from_seq, record.get("next_seq"))


def _to_the_end(
    held: Iterator[LogRecord | GapMark], seq: int, end: int | None
) -> Iterator[LogRecord | GapMark]:
    """``held``, and a mark for what is known to have been printed behind it: a full disk has never taken it."""
    last: LogRecord | GapMark | None = None
    for last in held:
        yield last
    seq = seq if last is None else max(seq, last.end)
    if isinstance(end, int) and seq < end and gap_bytes(seq, end) is not None:
        yield GapMark(seq, end, "missing")


def _files(info: dict[str, Any]) -> Path | None:
    """The folder of the log, where we see it as the daemon does: megabytes need not go through its socket then."""
    folder = info.get("log_dir")
    if info.get("degraded") or not isinstance(folder, str) or not os.access(folder, os.R_OK | os.X_OK):
        return None
    return Path(folder)


def _unwritten(socket: Path, tell: Callable[[str], None]) -> list[LogRecord]:
    """What whoever keeps a session has in memory only."""
    found: list[LogRecord] = []
    seq: int | None = 0
    try:
        with Client.connect_path(socket, timeout=_PATIENCE) as client:
            while seq is not None:
                page = client.request("unwritten", seq=seq, limit=_PAGE, timeout=_PATIENCE)
                found += [LogRecord(*fields) for fields in page["records"]]
                seq = page["next"]
    except CustodianUnreachable:
        pass  # nobody keeps it: all that there is is in the files
    except ToowlError as error:
        tell(_incomplete(error))
    return found


def _incomplete(why: object) -> str:
    return f"output that could not be written to the disk, if there is any, is missing: {why}"


def _pages(
    client: Client, session_id: str, seq: int, tell: Callable[[str], None]
) -> Iterator[LogRecord | GapMark]:
    known: set[LogRecord] | None = None
    while True:
        page: dict[str, Any] = client.request(
            "read_log", session=session_id, seq=seq, limit=_PAGE, timeout=30.0
        )
        if gap := page.get("gap"):
            start, end, *reason = gap  # an older daemon gives none
            yield GapMark(start, end, reason[0] if reason else "dropped")
        if why := page.get("incomplete"):
            tell(_incomplete(why))
        records = [LogRecord(*fields) for fields in page["records"]]
        # A page begins with the marks that tell size and boot at that point. Behind another page they are
        # no news, and neither are the marks between that page's last output and this one's first.
        news = [
            record
            for record in records
            if record.type == OUTPUT or known is None or (record.seq >= seq and record not in known)
        ]
        yield from news
        following = page.get("next")
        if following is None or (following <= seq and not news):
            return
        known = {record for record in records if record.type != OUTPUT and record.seq == following}
        seq = following
