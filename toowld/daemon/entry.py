"""What the daemon knows of one session: its record, who keeps it, and what was last heard of it.

It decides nothing, and stores nothing: that is left to `registry` and those who use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from toowld.classes import frozen
from toowld.daemon.link import REQUEST_TIMEOUT
from toowld.daemon.process import Sleep
from toowld.session import Record, State, displays
from toowld.session.displays import Display
from toowld.wire import Encoded
from toowld.wire.text import pack_text

#: What `Entry.info` shows of a command, in characters. The record has it whole; but all sessions go into one frame of
#: `list`, and the kernel takes arguments of megabytes.
MAX_COMMAND = 1024


#: What is shown of what a program told its terminal about itself (`toowld.session.marks.Marked`).
MARKS = ("title", "bells", "cwd_url", "prompt", "last_exit", "commands")


class Keeper(Protocol):
    """Whoever holds a session's engine: a custodian behind a link, or this process."""

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float = REQUEST_TIMEOUT
    ) -> Mapping[str, Any]:
        """Ask the session something; see `toowld.host.control`."""

    async def hand_over(self, client: Any, unread: bytes, request_id: int, params: Mapping[str, Any]) -> None:
        """Give a client's connection away, to become an attachment."""

    @property
    def hangs(self) -> bool:
        """Whether it has not answered in time, and not since."""

    @property
    def ages(self) -> bool:
        """Whether it tells when what it said of itself is not so any more."""

    @property
    def rest(self) -> int | None:
        """While nothing has happened there since it last said how it is: a number, another one each time.

        None: something has, or it does not tell.
        """

    def close(self) -> None:
        """Let go. A persistent session goes on."""


@frozen
class Row:
    """One object of ``list``.

    Attributes:
        made_of: what is known of the session; while that is the same, so is the row.
        last_active_at: in seconds since the epoch.
        encoded: as it goes over the wire.
    """

    made_of: object
    last_active_at: float
    encoded: Encoded


class Entry:
    """One session: its record, and what was last heard of it.

    Attributes:
        record: as on disk.
        keeper: None while nothing runs.
        former: who kept it until its child ended, and may still be saying goodbye to clients.
        live: the answer to the last ``info``, or the last news.
        lock: held while the session is being started, ended or removed.
        saving: held while its record is being written or removed; taken behind `lock`, where both are.
        gone: set whenever nothing runs.
        sleep: of its custodian's process.
        obstacle: why its custodian can't be asked although it answers: it is of another version.
        ending: why it is just being ended by the daemon itself.
        known: whether the record says more than that somebody listens on that session's socket.
        due: what was observed is to be stored soon, and (True) against a power cut too; None: nothing is.
        away: it was told that it is out of reach.
        unsaved: the disk took no note of what was observed, or of what was not to be.
    """

    def __init__(self, record: Record, known: bool = True) -> None:
        self.record = record
        self.known = known
        self.keeper: Keeper | None = None
        self.former: Keeper | None = None
        self.live: Mapping[str, Any] = {}
        self.lock = asyncio.Lock()
        self.saving = asyncio.Lock()
        self.due: bool | None = None
        self.away = False
        self.unsaved = False
        self.gone = asyncio.Event()
        self.sleep = Sleep()
        self.scope: str | None = None
        self.custodian_build: str | None = None
        self.obstacle: str | None = None
        self.ending: str | None = None
        self._row = Row(None, 0.0, Encoded(None))

    @property
    def running(self) -> bool:
        return self.record.state in (State.RUNNING, State.STARTING, State.UNREACHABLE)

    @property
    def clients(self) -> int:
        return int(self.live.get("clients", 0)) if self.running else 0

    @property
    def rest(self) -> int | None:
        """While its log does not grow: a number, another one after each time that it did. None: it may grow."""
        if self.running:
            return None if self.keeper is None else self.keeper.rest
        return None if self.live.get("degraded") else -1 - self.record.version

    @property
    def state(self) -> State:
        """The record's, unless its keeper is out of reach."""
        state = self.record.state
        return State.UNREACHABLE if state is State.RUNNING and not self.answers else state

    @property
    def answers(self) -> bool:
        """Whether its keeper can be asked."""
        return self.keeper is not None and not self.keeper.hangs

    def shown(self) -> Display:
        """The state as people are shown it."""
        return displays.shown(
            self.record,
            clients=self.clients,
            answers=self.answers,
            other_version=self.obstacle is not None,
            degraded=bool(self.live.get("degraded", False)),
        )

    def display(self) -> str:
        """The word for the state."""
        return self.shown().word

    def row(self, fields: tuple[str, ...] | None) -> Row:
        """One object of ``list``, with some ``fields`` or all.

        It is kept until something happens. Made anew it takes 20 µs, ten times as long as all else that a list does
        for a session at rest.
        """
        made_of = (fields, self.record, self.live, self.answers, self.obstacle, self.custodian_build)
        if self._row.made_of != made_of:
            info = self.info()
            wanted = info if fields is None else {name: info[name] for name in fields if name in info}
            self._row = Row(made_of, info["last_active_at"], Encoded(pack_text(wanted)))
        return self._row

    def info(self) -> dict[str, Any]:
        """What is told of it."""
        record, live = self.record, self.live
        shown, state, running = self.shown(), self.state, self.running
        return {
            "id": record.id,
            "name": record.name,
            "tags": dict(record.tags),
            "persistent": record.persistent,
            "state": state.value,
            "display": shown.word,
            "glyph": shown.glyph,
            "sentence": shown.sentence,
            "end_reason": record.end_reason,
            "exit_code": record.exit_code,
            "exit_signal": record.exit_signal,
            "ended_at": None if running else record.ended_at,
            "error": record.error or (self.obstacle if state is State.UNREACHABLE else None),
            "restorable": record.restorable,
            "on_restore": record.on_restore,
            "clients": self.clients,
            "cwd": (live.get("cwd") if running else None) or record.cwd,
            "command": _shortened(" ".join(record.argv)) if record.argv else "(login shell)",
            "pid": record.pid if running else None,
            "custodian_pid": record.custodian_pid if running else None,
            "custodian_version": self.custodian_build if running else None,
            "created_at": record.created_at,
            "last_active_at": max(record.last_active_at, live.get("last_active_at", 0.0)),
            "seq": live.get("seq", 0),
            "log_bytes": live.get("log_bytes", 0),
            "rows": live.get("rows") or record.rows,
            "cols": live.get("cols") or record.cols,
            "degraded": bool(live.get("degraded", False)),
            "version": record.version,
            **{key: live.get(key) if running else None for key in MARKS},
        }


def _shortened(command: str) -> str:
    return command if len(command) <= MAX_COMMAND else command[: MAX_COMMAND - 1] + "…"
