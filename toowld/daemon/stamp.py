"""Whether a folder has got or lost an entry since somebody looked: one ``stat`` instead of hundreds."""

from __future__ import annotations

import time
from pathlib import Path

#: Times of files come from a clock of its own, which ticks every 10 ms at the slowest (nanoseconds).
_LASTS = 1_000_000_000


class Stamp:
    """The time of the last change of a folder, as it was before the last look at it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: int | None = None
        self._now: int | None = None

    def changed(self) -> bool:
        """Whether it may have changed since `looked`. One that can't be read always may."""
        try:
            self._now = self._folder.stat().st_mtime_ns
        except OSError:
            self._now = None
        return self._now is None or self._now != self._seen

    def looked(self) -> None:
        """All was seen that was there when `changed` was asked."""
        # What comes within the same tick of the clock leaves the time as it is.
        settled = self._now is not None and time.time_ns() - self._now > _LASTS
        self._seen = self._now if settled else None
