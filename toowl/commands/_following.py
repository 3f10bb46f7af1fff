"""What ``run``, ``wait`` and ``events`` share: plans, carried out with a word to the user while nothing comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from toowl.api.sync import Driver
from toowld import paths

#: What ends a program that does nothing about it, and what we leave a session for.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def driver() -> Iterator[Driver]:
    """Carries out plans with the daemon of this environment, as long as somebody reads what we print."""
    made = Driver(paths.resolve(), pipe=1)
    try:
        yield made
    finally:
        made.close()


class Interrupted(Exception):
    """A signal came that asks us to go."""

    def __init__(self, number: int) -> None:
        self.number = number


class Interrupts:
    """Turns signals into `Interrupted`, but not in the middle of what must be done whole (`held`)."""

    def __init__(self) -> None:
        self._held = False
        self._came: int | None = None

    def watch(self) -> None:
        """From now on. A signal that is ignored (nohup) stays so."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._came = number
        if not self._held:
            self._leave(number)

    def _leave(self, number: int) -> NoReturn:
        for other in SIGNALS:  # once is enough: we are going
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Signals that come meanwhile are acted on afterwards."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._came is not None:
            self._leave(self._came)


def label(name: str | None, session_id: str) -> str:
    """What a user types for that session."""
    return name or session_id


def write_all(fd: int, data: bytes) -> None:
    """Write to a descriptor, whatever it takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
