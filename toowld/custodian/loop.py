"""A bare epoll loop: what `toowld.host` asks of a loop, and not a wake-up more.

asyncio would do, at 9 MB and 35 ms for each session. This sleeps in epoll_wait(2) until a descriptor is ready, a
timer is due, or a signal came; an idle custodian does not wake at all.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: What to call, and the turn in which that was asked for.
    _Callback = tuple[Callable[..., object], tuple[Any, ...], int]

#: When nothing has been ready for so long, a key's echo has gone out, and nothing is likely to wait for us (seconds).
STILL = 0.001

_READ = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
_WRITE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR


class EpollTimer:
    """One pending call."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        """Don't call."""
        self.callback = None
        self.args = ()


class EpollLoop:
    """Implements `toowld.host.Loop`.

    Args:
        on_rest: called when no timer is left, so that nothing is done until something happens.
    """

    def __init__(self, on_rest: Callable[[], object] | None = None) -> None:
        self._on_rest = on_rest
        self._resting = False
        self._epoll = select.epoll()
        self._readers: dict[int, _Callback] = {}
        self._writers: dict[int, _Callback] = {}
        self._timers: list[tuple[float, int, EpollTimer]] = []
        self._order = itertools.count()  # equal times are called in the order in which they were asked for
        self._when_still: list[Callable[[], object]] = []
        self._stopped = False
        self._turns = 0
        self._signals: dict[int, Callable[[], object]] = {}
        self._arrived: deque[int] = deque()
        self._wakeup = -1  # the reading end of a pipe

    time = staticmethod(time.monotonic)  # asked for several times per key: not a frame more than needed

    # --- descriptors ------------------------------------------------------------------------------------

    def add_reader(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        self._watch(self._readers, fd, (callback, args, self._turns))

    def add_writer(self, fd: int, callback: Callable[..., object], *args: Any) -> None:
        self._watch(self._writers, fd, (callback, args, self._turns))

    def remove_reader(self, fd: int) -> None:
        self._unwatch(self._readers, fd)

    def remove_writer(self, fd: int) -> None:
        self._unwatch(self._writers, fd)

    def _mask(self, fd: int) -> int:
        return (select.EPOLLIN if fd in self._readers else 0) | (
            select.EPOLLOUT if fd in self._writers else 0
        )

    def _watch(self, table: dict[int, _Callback], fd: int, callback: _Callback) -> None:
        before = self._mask(fd)
        table[fd] = callback
        after = self._mask(fd)
        if not before:
            self._epoll.register(fd, after)
        elif after != before:
            self._epoll.modify(fd, after)

    def _unwatch(self, table: dict[int, _Callback], fd: int) -> None:
        if table.pop(fd, None) is None:
            return
        if mask := self._mask(fd):
            self._epoll.modify(fd, mask)
        else:
            self._epoll.unregister(fd)

    # --- time and signals -------------------------------------------------------------------------------

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> EpollTimer:
        timer = EpollTimer(callback, args)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        self._resting = False
        return timer

    def call_when_still(self, callback: Callable[[], object]) -> None:
        """Call once, when nothing has been ready for `STILL`: never, as long as something is."""
        self._when_still.append(callback)

    def on_signal(self, signum: int, callback: Callable[[], object]) -> None:
        """Call from the loop, not from within whatever the signal interrupted."""
        if self._wakeup < 0:
            self._wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            signal.set_wakeup_fd(writer)
            self.add_reader(self._wakeup, self._on_wakeup)
        self._signals[signum] = callback
        signal.signal(signum, lambda number, _frame: self._arrived.append(number))

    @property
    def signalled(self) -> bool:
        """Whether a signal has come that nobody was told of yet."""
        return bool(self._arrived)

    @property
    def signals(self) -> set[int]:
        """Those that somebody is told of."""
        return set(self._signals)

    def _on_wakeup(self) -> None:
        """The descriptor only ends the wait: a signal may come together with other things, and before it is ready."""
        os.read(self._wakeup, 64)

    # --- running ----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Return from `run` after the present turn."""
        self._stopped = True

    def close(self) -> None:
        """Let go of what a process that goes on must not keep. Signals do again what they do by default."""
        for signum in self._signals:
            signal.signal(signum, signal.SIG_DFL)
        if self._wakeup >= 0:
            os.close(signal.set_wakeup_fd(-1))
            os.close(self._wakeup)
        self._epoll.close()

    def run(self) -> None:
        """Call back until `stop`."""
        while not self._stopped:
            self._turn()

    def _turn(self) -> None:
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if self._when_still:
            ready = self._epoll.poll(STILL)  # a timer may be late by that
            if not ready:
                self._call_still()
        else:
            if not timers:
                self._rest()
            ready = self._epoll.poll(max(0.0, timers[0][0] - self.time()) if timers else None)
        self._turns += 1
        # Signals first: at a shutdown all processes get SIGTERM, and a child that is just a little quicker to end has
        # not ended by itself.
        while self._arrived:
            self._signals[self._arrived.popleft()]()
        # One that was added in this very turn was not waiting when epoll looked: its number may have belonged to
        # a descriptor that was closed a moment ago. If it is ready, the next turn says so.
        turn = self._turns
        for fd, mask in ready:
            if mask & _READ and (found := self._readers.get(fd)) is not None and found[2] != turn:
                found[0](*found[1])
            if mask & _WRITE and (found := self._writers.get(fd)) is not None and found[2] != turn:
                found[0](*found[1])
        if timers:
            now = self.time()
            while timers and timers[0][0] <= now:
                timer = heapq.heappop(timers)[2]
                if timer.callback is not None:
                    timer.callback(*timer.args)

    def _call_still(self) -> None:
        waiting, self._when_still = self._when_still, []
        for callback in waiting:
            callback()

    def _rest(self) -> None:
        """Once after there were timers, and not after each turn without."""
        if not self._resting:
            self._resting = True
            if self._on_rest is not None:
                self._on_rest()
