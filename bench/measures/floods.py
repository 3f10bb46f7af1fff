"""Many sessions that all print as fast as they can, with nobody attached: what gets through, and who gets most."""

from __future__ import annotations

import time
from collections.abc import Collection

from bench.flood import Flood
from bench.run import Run, rounds

_MB = 1_000_000


def measure(run: Run, _names: Collection[str]) -> None:
    """``floods`` (x: sessions): of all together; ``floods.fairness``: the least that one got, of the most."""
    for count in (1, run.amount(50, 10, 2)):
        with run.opened("bare") as contenders:
            floods = [(contender, Flood(contender, count)) for contender in contenders]
            for contender, flood in rounds(run.amount(3, 2, 1), floods):
                with flood.on():
                    before, begin = flood.counts(), time.perf_counter()
                    time.sleep(run.amount(30, 10, 2) / 10)
                    after, seconds = flood.counts(), time.perf_counter() - begin
                shares = [then - now for then, now in zip(after, before, strict=True)]
                run.record("floods", contender.name, "MB/s", sum(shares) / seconds / _MB, count)
                if count > 1:
                    fairness = min(shares) / max(shares) * 100
                    run.record("floods.fairness", contender.name, "%", fairness, count)
