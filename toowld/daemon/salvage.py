"""A session whose record is missing or damaged, put together again from its log.

The log notes how the child was started, where it was, and the size of its terminal. What only the record knew is
lost: the name, the environment, what was to be run on restore.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

from toowld.daemon import process
from toowld.log import MARK, OUTPUT, LogReader, LogRecord
from toowld.session import Record, State
from toowld.session.record import BadRecord
from toowld.settings.schema import Defaults
from toowld.wire import seq_after_loss

#: Stands in the record, until it is started again.
WHY = "its record was damaged: name and environment are lost"


def from_log(session_id: str, folder: Path, defaults: Defaults) -> Record | None:
    """The record of a session in which nothing runs any more; ``defaults`` tells what a log does not.

    Returns:
        None if the log holds no output, or if its child may still run, as a process of ours has its pid.
    """
    reader = LogReader(folder)
    try:
        found = _read(reader)
        ending = reader.ending()
    except OSError:
        return None
    if not found or _may_run(found):
        return None
    values: dict[str, Any] = {
        "id": session_id,
        "state": State.ENDED.value,
        "persistent": True,
        "argv": _own_program(found.get("argv")),
        "cwd": ending.folder or "/",
        "cwd_at": ending.folder_at,
        "scrollback_bytes": defaults.scrollback_bytes,
        "size_policy": defaults.size,
        "end_reason": "lost",
        "error": WHY,
        "next_seq": seq_after_loss(ending.end),
        **{
            key: found[key]
            for key in ("rows", "cols", "boot", "created_at", "last_active_at")
            if key in found
        },
        "ended_at": found["last_active_at"],
    }
    if ending.exit is not None and ending.exit.get("reason") == "exited":
        code, signum = ending.exit.get("code"), ending.exit.get("signal")
        values |= {"end_reason": "exited", "exit_code": code, "exit_signal": signum}
    try:
        return Record.from_map(values)
    except BadRecord:  # a mark that is whole, and holds what no writer of ours puts there
        return None


def _read(reader: LogReader) -> dict[str, Any]:
    """What the log says of its session; empty if there is no output."""
    found: dict[str, Any] = {}
    printed = False
    for item in reader.records():
        if not isinstance(item, LogRecord):
            continue
        found.setdefault("created_at", item.wall_us / 1e6)
        found["last_active_at"] = item.wall_us / 1e6
        printed = printed or item.type == OUTPUT
        if (size := item.size) is not None:
            found |= {"rows": size.rows, "cols": size.cols}
        if item.type == MARK:
            fields = item.fields
            kind = fields.get("kind")
            wanted = {"segment": ("boot",), "start": ("argv", "pid"), "respawn": ("pid",)}
            found |= {key: fields[key] for key in wanted.get(str(kind), ()) if key in fields}
    return found if printed else {}


def _own_program(argv: object) -> list[str] | None:
    """The arguments that a session was made with; None stands for the login shell."""
    if not isinstance(argv, list) or not argv or not all(isinstance(word, str) for word in argv):
        return None
    return None if argv == [pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"] else argv


def _may_run(found: dict[str, Any]) -> bool:
    pid = found.get("pid")
    return (
        found.get("boot") == process.boot_id()
        and isinstance(pid, int)
        and process.started_at(pid) is not None
    )
