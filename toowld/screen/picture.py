"""What is asked of a session's screen: to be painted, to be kept up to date, to answer a question.

A picture is what a client puts on its terminal before the output from some seq on. Together with that output it is
exactly what the session shows. It is no output itself: it has no seq, and is in no log.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from toowld.classes import frozen, replace
from toowld.errors import ScreenError
from toowld.screen.follow import Followed, follow, store
from toowld.screen.model import SCROLLBACK_LINES
from toowld.screen.render import render
from toowld.screen.state import Terminal
from toowld.wire.messages import Size

#: A picture travels in one frame (4 MiB). Ten thousand lines of text are 1 MB; where each cell has a colour of its
#: own, the oldest lines are left out.
LONGEST = 3 << 20
#: So much output is read again rather than a snapshot written: it takes less time.
_WORTH_STORING = 256 << 10


@frozen
class Picture:
    """The session as it is when all output before ``seq`` has been printed.

    ``data`` paints it. ``unfinished`` goes behind that: the beginning of a sequence of which the rest is output to
    come; who looks for sequences in that output has to know it. ``fresh_line``: the cursor is on an empty line.
    """

    seq: int
    data: bytes
    unfinished: bytes
    fresh_line: bool


def picture(
    folder: Path, size: Size | None = None, terminal: Size | None = None, *, lines: int = SCROLLBACK_LINES
) -> Picture:
    """The newest picture of a session, from its log.

    Args:
        folder: of the session.
        size: that the session will have when the client is there; None: as it is.
        terminal: the client's; None: as large as the session. What is larger than it is cut off.
        lines: of scrollback above the screen, at most.

    Raises:
        ScreenError: there is none now, or no model to make it with.
        PermissionError: the log is not ours to read.
    """
    followed = _followed(folder)
    with followed.model:
        if size is not None and size != followed.size:
            followed.model.resize(size)
        state = followed.model.state(history=lines)
    cursor = state.grid.cursor
    fresh_line = cursor.x == 0 and not state.grid.rows[cursor.y].runs
    return Picture(followed.seq, _painted(state, terminal), state.unfinished, fresh_line)


def answer(folder: Path, end: int, query: bytes) -> bytes:
    """What a session's terminal answers to a query that was printed, up to ``end``; empty: nothing.

    Raises:
        ScreenError: the log has not come so far, or there is no model.
        PermissionError: the log is not ours to read.
    """
    followed = _followed(folder, until=end)
    with followed.model:
        if followed.seq < end:
            raise ScreenError(f"the log ends at {followed.seq}, the question at {end}")
        return followed.model.ask(query)


def _followed(folder: Path, until: int | None = None) -> Followed:
    followed = follow(folder, until=until)
    if followed.seq - (followed.snapshot or 0) >= _WORTH_STORING:
        with contextlib.suppress(OSError):  # the next one takes as long as this one, that is all
            store(folder, followed)
    return followed


def _painted(state: Terminal, terminal: Size | None) -> bytes:
    finished = replace(state, unfinished=b"")
    while len(data := render(finished, terminal)) > LONGEST and finished.main.history:
        keep = len(finished.main.history) * LONGEST // len(data) // 2
        history = finished.main.history[len(finished.main.history) - keep :]
        finished = replace(finished, main=replace(finished.main, history=history))
    return data


def caught_up(folder: Path, limit: int) -> Followed:
    """Read on in the log for at most ``limit`` bytes of output, and leave a snapshot.

    Raises:
        ScreenError: there is no model to do it with.
        OSError: the log can't be read, or the snapshot not be written.
    """
    followed = follow(folder, limit=limit)
    with followed.model:
        if followed.seq > (followed.snapshot or 0):
            store(folder, followed)
    return followed
