"""A session's log, a page at a time: the answer to `read_log`. Knows nothing of who asks, nor where the records are.

Output is in exactly one page, and a page that ends before the log does leads to a later one. What is not output
has no length: marks that stand where a page ends come in the next one too, and so do those that tell the size
and the boot at its beginning. Whoever reads on leaves out what he has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from toowld.log import GapMark, LogRecord
from toowld.log.format import HEADER_BYTES

#: What one page holds at most, in bytes of the log. A record takes less in a frame than there, header and all: so a
#: page fits into one, also if it consists of single bytes.
LOG_PAGE = 512 << 10


def log_page(log: Iterable[LogRecord | GapMark], seq: int, limit: int = LOG_PAGE) -> dict[str, Any]:
    """Of a ``log`` from ``seq`` on: about ``limit`` bytes of it, `LOG_PAGE` at most, and one record at least.

    Returns:
        ``records``; ``next``, where the next page begins, None at the end; and ``gap``, the output that is not held
        between ``seq`` and the first of the page, and why, or None.
    """
    limit = min(max(limit, 1), LOG_PAGE)
    records: list[list[Any]] = []
    gap = None
    held = 0
    for item in log:
        if isinstance(item, GapMark):
            if records and item.start > seq:
                return {"records": records, "next": item.start, "gap": gap}
            gap = [gap[0] if gap else item.start, item.end, item.reason]
            continue
        # A page of marks that stand at `seq` would lead nowhere: these don't count, as long as there is room at all.
        size = HEADER_BYTES + len(item.payload)
        if records and held + size > (limit if item.seq > seq else LOG_PAGE):
            return {"records": records, "next": item.seq, "gap": gap}
        records.append([item.type, item.seq, item.wall_us, item.mono_us, item.payload])
        held += size
    return {"records": records, "next": None, "gap": gap}
