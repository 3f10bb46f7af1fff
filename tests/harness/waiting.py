"""How a test waits: for a condition, never for time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Generous: two busy cores, and a failure must mean "never" rather than "late".
DEADLINE = 20.0


def wait_for(condition: Callable[[], T], timeout: float = DEADLINE, what: str = "") -> T:
    """Ask until ``condition`` gives something true, and return that.

    Raises:
        AssertionError: it did not within ``timeout`` seconds; the last value is named.
    """
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__name__", "condition")
            raise AssertionError(f"waited {timeout:g} s for {name}; last value: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.25, 0.05)  # what is waited for needs the processor too
