"""The screens of all sessions: a picture for whoever attaches, answers for whoever asks, and snapshots.

The daemon itself has no model of any session in memory. A picture is made from the newest snapshot and the log behind
it, by a helper process. In between, another helper follows the logs of sessions that have printed `FOLLOW_EVERY`
since their snapshot, one at a time and with a low claim to the processor: so a picture never takes long, and what the
screen owes to output that the log no longer holds is kept. Sessions that print little cost two ``stat`` per look,
those at rest nothing, and where none prints, looks are rare.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toowld.classes import define, field
from toowld.daemon.helper import Helper
from toowld.errors import ScreenError
from toowld.log.segments import list_segments
from toowld.screen import snapshots
from toowld.wire import Size

_log = logging.getLogger(__name__)

#: Output after the last snapshot that is worth another one. Read again it takes less than 0.1 s.
FOLLOW_EVERY = 4 << 20
#: One turn for one session; what is more waits until the others had theirs.
_TURN = 8 << 20
#: Between two looks at the logs (seconds). After one at which nothing had changed, twice as long, and so on: hundreds
#: of idle sessions shall cost nothing. What begins to print meanwhile has a minute's output in its log all the same.
LOOK_EVERY = 5.0
LONGEST_PAUSE = 60.0

#: Somebody waits before a black terminal; then the output as it was printed is better (seconds).
_PICTURE_TIMEOUT = 5.0
_FOLLOW_TIMEOUT = 30.0
#: The session itself has an answer after a second (`toowld.session.answers`).
_ANSWER_TIMEOUT = 5.0
#: Turns that a session is left out after it failed, at first; twice as many each time.
_PAUSE = 4
_LONGEST_PAUSE = 256
#: Whoever types or prints goes first.
_NICE = 19


@define
class _Log:
    """One session's log, as it was at the last look. ``end`` is where its output ends, or a little more.

    ``rest``: see `look`.
    """

    rest: int | None = None
    seen: tuple[int, int] = (0, 0)
    newest: str = ""
    end: int = 0
    followed: int | None = None
    pause: int = 0
    skip: int = 0
    problem: str = ""


@define
class Screens:
    """Pictures and snapshots. Call `look` now and then."""

    pictures: Helper = field(factory=Helper)
    follower: Helper = field(factory=lambda: Helper(_NICE))
    _logs: dict[str, _Log] = field(factory=dict)
    _pause: float = LOOK_EVERY

    async def picture(
        self, folder: Path, size: Size | None, terminal: Size | None, lines: int
    ) -> Mapping[str, Any]:
        """``seq``, ``data``, ``unfinished``; see `toowld.screen.picture`.

        Raises:
            ScreenError: there is none now.
        """
        params = {
            "folder": os.fspath(folder), "size": _pair(size), "terminal": _pair(terminal), "lines": lines,
        }  # fmt: skip
        return await self.pictures.request("picture", params, timeout=_PICTURE_TIMEOUT)

    async def answer(self, folder: Path, end: int, query: bytes) -> bytes:
        """What a session's terminal says to a query that ended at ``end``; empty: nothing.

        Raises:
            ScreenError: that can't be known now.
        """
        params = {"folder": os.fspath(folder), "end": end, "query": query}
        answered = await self.pictures.request("answer", params, timeout=_ANSWER_TIMEOUT)
        return bytes(answered["data"])

    @property
    def problems(self) -> dict[str, str]:
        """Sessions whose screens could not be followed, and why; for the doctor."""
        return {name: log.problem for name, log in self._logs.items() if log.problem}

    async def look(self, sessions: Path, rests: Mapping[str, int | None]) -> float:
        """Bring the snapshots of these sessions up to date, as far as that is due. Returns when to look again (s).

        Args:
            sessions: the folder that has a folder for each of them.
            rests: their ids, and the `Entry.rest` of each: while it stays the same number, the log does too.
        """
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        while due := await asyncio.to_thread(self._due, sessions, rests):
            for session_id in due:
                await self._follow(sessions, session_id)
        return self._pause

    def _due(self, sessions: Path, rests: Mapping[str, int | None]) -> list[str]:
        """In a thread: those who have printed most since their snapshot first."""
        logs = {}
        for session_id, rest in rests.items():
            log = logs[session_id] = self._logs.get(session_id) or _Log()
            if rest is not None and rest == log.rest:  # of hundreds, nearly all
                continue
            log.rest = rest
            before = log.seen
            _measure(sessions / session_id, log)
            if log.seen != before:
                self._pause = LOOK_EVERY
        self._logs = logs
        waiting = []
        for session_id, log in logs.items():
            if log.end - (log.followed or 0) < FOLLOW_EVERY:
                continue
            if log.followed is None:
                log.followed = snapshots.seq_of(sessions / session_id)
                if log.end - log.followed < FOLLOW_EVERY:
                    continue
            if log.skip:
                log.skip -= 1
                continue
            waiting.append((log.followed - log.end, session_id))
        return [session_id for _, session_id in sorted(waiting)]

    async def _follow(self, sessions: Path, session_id: str) -> None:
        log = self._logs[session_id]
        try:
            done = await self.follower.request(
                "follow",
                {"folder": os.fspath(sessions / session_id), "limit": _TURN},
                timeout=_FOLLOW_TIMEOUT,
            )
        except ScreenError as error:
            log.pause = min(max(2 * log.pause, _PAUSE), _LONGEST_PAUSE)
            log.skip = log.pause
            if not log.problem:
                _log.warning("session %s: its screen can't be followed: %s", session_id, error)
            log.problem = str(error)
            return
        log.pause = 0
        log.problem = ""
        log.followed = int(done["seq"])
        if done["fed"] < _TURN:  # all there was: less than the size of the files made us believe
            log.end = log.followed

    def close(self) -> None:
        """End the helpers."""
        self.pictures.close()
        self.follower.close()


def _measure(folder: Path, log: _Log) -> None:
    """Where the log ends about now: by the size of its newest segment, which is named by its first seq."""
    try:
        made = os.stat(folder).st_mtime_ns  # noqa: PTH116 - for hundreds of sessions
        size = os.stat(log.newest).st_size if log.newest else -1  # noqa: PTH116
        if (made, size) == log.seen:
            return
        if made != log.seen[0] or size < 0:
            segments = list_segments(os.fspath(folder))
            if not segments:
                return
            seq, log.newest = segments[-1]
            size = os.stat(log.newest).st_size  # noqa: PTH116
            log.end = seq + size
        else:
            log.end += size - log.seen[1]
        log.seen = (made, size)
    except OSError:  # removed, or dropped just now: the next look tells
        log.seen = (0, 0)
        log.newest = ""


def _pair(size: Size | None) -> list[int] | None:
    return None if size is None else [size.rows, size.cols]
