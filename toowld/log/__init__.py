"""The scrollback log: everything that a session printed, append-only, in segment files of its state folder.

::

    format    PURE   a record as bytes and back; finding records again after damage
    segments         the files: names, listing, reading one piece by piece
    writer           LogWriter: one per running session, where its PTY is; survives a full disk in a
                     ring (ring) and reads back for clients that need older output (cursor)
    folder           the files as their writer sees them: found, repaired, opened, dropped
    sync             bringing them to the disk platter, beside whoever writes
    reader           LogReader: anyone else, at any time, also on the log of a dead session
    trail            for who has to know again and again what was written meanwhile
    unwritten        what only the writer's memory holds, behind what the files hold
    cast             records as an asciinema recording
    text      PURE   output as plain lines
    plain     PURE   the same of whole blocks at once, and which of them a search need not look at
    lines            records as lines with their times

The custodian loads ``toowld.log.writer`` and nothing of the reading side; so this package resolves the
names below only when they are asked for. One log serves replay, restore, ``capture`` and ``export``, and none of
them needs the process that wrote it.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toowld.log.cast import write_cast
    from toowld.log.cursor import Cursor
    from toowld.log.format import MARK, OUTPUT, RESIZE, LogRecord, pack, scan
    from toowld.log.reader import GapMark, LogEnding, LogReader
    from toowld.log.text import TextLines, text_lines
    from toowld.log.writer import LogWriter

_HOME = {
    "MARK": "format",
    "OUTPUT": "format",
    "RESIZE": "format",
    "Cursor": "cursor",
    "GapMark": "reader",
    "LogEnding": "reader",
    "LogReader": "reader",
    "LogRecord": "format",
    "LogWriter": "writer",
    "TextLines": "text",
    "pack": "format",
    "scan": "format",
    "text_lines": "text",
    "write_cast": "cast",
}

__all__ = [
    "MARK",
    "OUTPUT",
    "RESIZE",
    "Cursor",
    "GapMark",
    "LogEnding",
    "LogReader",
    "LogRecord",
    "LogWriter",
    "TextLines",
    "pack",
    "scan",
    "text_lines",
    "write_cast",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{home}"), name)
