"""Sessions that print without end, between `on` and `off`, and how much each of them got rid of."""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.contender import Contender
from bench.outer import limit
from bench.run import child_command

_CLOSED, _OPEN = b"\0", b"\1"


class Flood:
    """A number of sessions of one contender; none prints before `on`."""

    def __init__(self, contender: Contender, count: int) -> None:
        self._gate: Path = contender.folder / "gate"
        os.mkfifo(self._gate)
        counts = contender.folder / "counts"
        counts.write_bytes(bytes(8 * (count + 1)))  # the first is the switch
        with counts.open("r+b") as opened:
            self._shared = mmap.mmap(opened.fileno(), 0)
        self._count = count
        self.sessions = [
            contender.start(*child_command("flood", counts, number + 1, self._gate))
            for number in range(count)
        ]

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """All of them print while in here."""
        self._shared[0:1] = _OPEN
        with limit(20, "the flood to begin"):
            # Who waits for a writer goes on when there is one, and not all may wait yet.
            before = self.counts()
            while any(now == then for now, then in zip(self.counts(), before, strict=True)):
                with contextlib.suppress(OSError):  # ENXIO: nobody waits at this moment
                    os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))
                time.sleep(0.001)
        try:
            yield
        finally:
            self._shared[0:1] = _CLOSED

    def counts(self) -> list[int]:
        """Bytes printed so far, of each session."""
        numbers = range(1, self._count + 1)
        return [int.from_bytes(self._shared[8 * number : 8 * number + 8], "little") for number in numbers]
