"""The PTY of one child on a loop: what it prints is told to the engine, what it is to read is written.

Owns the `Pty`, when it is read, and the queue of bytes on their way to the child. Decides nothing: when to pause,
what to type and whom to signal comes from the engine.
"""

from __future__ import annotations

import os
from collections import deque

from toowld.host.inheritance import NOTHING_GIVEN, Inheritance
from toowld.host.loop import Loop
from toowld.host.pty import Pty
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

#: The PTY is read up to here in one wake-up: then clients, timers and the next session get their turn.
READ_AT_ONCE = 64 << 10

#: The same while all goes to one terminal that is lent to us. That is a pseudo-terminal, and takes no more at once
#: (the kernel's pty.c limits its buffer to 8192 bytes): what is read beyond would wait for it, and the child for
#: that, instead of both at work side by side. 64 KiB instead were a tenth slower.
READ_FOR_LENT = 8 << 10

#: The kernel hands out at most 4095 bytes of a PTY in one read (N_TTY_BUF_SIZE - 1). To ask for 64 KiB makes each
#: read a fifth slower: so much is allocated, and given back.
_READ_BYTES = 4 << 10

#: One much shorter was the last for now, so asking again would only cost a system call and an exception.
_FULL_READ = 2048

#: A child that has ended left at most this in the kernel's buffers (64 KiB, tty_buffer.c); more comes from a
#: background job that must not keep the session from ending.
DRAIN_LIMIT = 256 << 10


class Terminal:
    """A child and its PTY; before `start` and after `close`, nothing at all.

    Args:
        loop: calls us.
        tell: takes the engine's events.
        on_output: takes what the child prints while the loop runs.

    Attributes:
        at_once: the PTY is read up to here in one wake-up (bytes).
    """

    def __init__(
        self, loop: Loop, tell: Callable[[ev.Event], None], on_output: Callable[[bytes], None]
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._on_output = on_output
        self.at_once = READ_AT_ONCE
        self._pty: Pty | None = None
        self._typed: deque[bytes | memoryview] = deque()  # what the child has not taken yet
        self._waiting = False  # for it to take more

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        size: Size,
        argv0: str | None,
        inheritance: Inheritance = NOTHING_GIVEN,
    ) -> int:
        """Start the child; its pid. It is not read before `listen`.

        Raises:
            SpawnFailed: it can't be started; nothing is left behind.
        """
        self._pty = Pty.spawn(argv, cwd=cwd, env=env, size=size, argv0=argv0, inheritance=inheritance)
        return self._pty.pid

    def listen(self) -> None:
        """Tell of what it prints, and of its end, from now on."""
        assert self._pty is not None
        self._loop.add_reader(self._pty.fd, self._on_readable)
        self._loop.add_reader(self._pty.pidfd, self._on_child_ended)

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """The child that runs, as plain values for `thaw`. ``keep`` gets each descriptor, and gives it back."""
        assert self._pty is not None
        return {**self._pty.freeze(keep), "typed": b"".join(self._typed)}

    def thaw(self, state: Mapping[str, Any], take: Callable[[int], int], *, paused: bool) -> None:
        """Go on with a child that another one had. ``take`` makes descriptors ours."""
        self._pty = Pty.thaw(state, take)
        self.listen()
        if paused:
            self._loop.remove_reader(self._pty.fd)
        if state["typed"]:
            self._typed.append(state["typed"])
            self._wait(self._pty.fd)

    @property
    def folder(self) -> str | None:
        """Where the child is now, if there is one and the kernel says it."""
        return None if self._pty is None else self._pty.folder()

    # --- output -----------------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        assert self._pty is not None
        try:
            data = os.read(self._pty.fd, _READ_BYTES)  # all that there is, while somebody types
        except OSError:
            data = b""  # `_read` finds out why
        if not 0 < len(data) < _FULL_READ:
            data += self._read(self.at_once - len(data))
        if data:
            self._on_output(data)

    def _read(self, limit: int) -> bytes:
        assert self._pty is not None
        fd = self._pty.fd
        pieces = []
        total = 0
        while total <= limit - _READ_BYTES:
            try:
                piece = os.read(fd, _READ_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # EIO: the end of the file on a PTY; the child's end is reported by its pidfd
                self._loop.remove_reader(fd)
                break
            if not piece:
                break
            pieces.append(piece)
            total += len(piece)
            if len(piece) < _FULL_READ:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def drain(self) -> None:
        """Read what is left in the kernel; its buffers are flushed to us before it says EAGAIN (n_tty_read)."""
        if self._pty is None:
            return
        left = DRAIN_LIMIT
        while left > 0 and (data := self._read(min(left, READ_AT_ONCE))):
            left -= len(data)
            self._tell(ev.PtyOutput(data))

    def pause(self, effect: do.PausePty) -> None:
        if self._pty is not None:
            self._loop.remove_reader(self._pty.fd)

    def resume(self, effect: do.ResumePty) -> None:
        if self._pty is not None:
            self._loop.add_reader(self._pty.fd, self._on_readable)

    def _on_child_ended(self) -> None:
        assert self._pty is not None
        result = self._pty.reap()
        if result is None:
            return
        self.drain()
        self._tell(ev.ChildEnded(*result))

    # --- input ------------------------------------------------------------------------------------------

    def write(self, effect: do.WritePty) -> None:
        idle = not self._typed
        self._typed.append(effect.data)
        if idle:
            self._flush()

    def write_now(self, data: bytes) -> int:
        """Write past the queue, which is empty; how many bytes the child's terminal took at once."""
        assert self._pty is not None
        try:
            return os.write(self._pty.fd, data)
        except OSError:  # full, or gone: for `write` to find out
            return 0

    def _flush(self) -> None:
        pty = self._pty
        if pty is None:
            self._typed.clear()
            return
        took = 0
        try:
            while self._typed:
                head = self._typed[0]
                count = os.write(pty.fd, head)
                took += count
                if count == len(head):
                    self._typed.popleft()
                else:
                    self._typed[0] = memoryview(head)[count:]
        except (BlockingIOError, InterruptedError):
            self._wait(pty.fd)
        except OSError:  # EIO: nobody reads there any more; without acknowledgement, clients know it
            self._typed.clear()
        if self._waiting and not self._typed:
            self._waiting = False
            self._loop.remove_writer(pty.fd)
        if took:
            self._tell(ev.PtyTook(took))

    def _wait(self, fd: int) -> None:
        self._waiting = True
        self._loop.add_writer(fd, self._flush)

    # --- the rest ---------------------------------------------------------------------------------------

    def resize(self, effect: do.ResizePty) -> None:
        if self._pty is not None:
            self._pty.resize(effect.size)

    def nudge(self, effect: do.NudgeForeground) -> None:
        if self._pty is not None:
            self._pty.nudge()

    def signal(self, effect: do.SignalSession) -> None:
        if self._pty is not None:
            self._pty.signal_session(effect.signal)

    def close(self) -> None:
        """Hang up on whoever is left. May be called twice."""
        if self._pty is not None:
            self._loop.remove_reader(self._pty.fd)
            self._loop.remove_writer(self._pty.fd)
            self._loop.remove_reader(self._pty.pidfd)
            self._pty.close()
            self._pty = None
        self._typed.clear()
