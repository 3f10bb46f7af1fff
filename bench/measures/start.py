"""From the start of the daemon until it is ready, with custodians that wait for it."""

from __future__ import annotations

import time
from collections.abc import Collection

from bench.run import Run
from bench.toowl import Toowl


def measure(run: Run, _names: Collection[str]) -> None:
    """``start`` (x: sessions). Of nobody else do sessions outlive what keeps them."""
    others = [kind.name for kind in run.contenders if kind is not Toowl]
    with run.opened(*others) as contenders:
        for contender in contenders:
            assert isinstance(contender, Toowl)
            _measure(run, contender)


def _measure(run: Run, toowl: Toowl) -> None:
    for count in (1, 50, 500)[: run.amount(3, 2, 1)]:
        while len(toowl.sessions) < count:
            toowl.start("sleep", "infinity")
        for _ in range(run.amount(7, 3, 1)):
            toowl.kill_daemon()
            begin = time.perf_counter()
            toowl.open()
            run.record("start", toowl.name, "ms", (time.perf_counter() - begin) * 1e3, count)
