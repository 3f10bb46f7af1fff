"""What a driver needs of an event loop. asyncio's loop has it; the custodian's epoll loop implements it.

With so little asked for, one driver serves both kinds of session, and a custodian never imports asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol
else:
    Protocol = object


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Don't call. Harmless when it was called already."""


class Loop(Protocol):
    """Calls back when a file descriptor is ready (level-triggered), and when a time has come."""

    def time(self) -> float:
        """Monotonic seconds."""

    def add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> Any:
        """Call when ``fd`` can be read; replaces the one before."""

    def remove_reader(self, fd: int) -> Any:
        """Don't call for reading any more."""

    def add_writer(self, fd: int, callback: Callable[..., object], *args: Any) -> Any:
        """Call when ``fd`` can be written; replaces the one before."""

    def remove_writer(self, fd: int) -> Any:
        """Don't call for writing any more."""

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> Timer:
        """Call once at ``when`` of `time`."""
