"""The page that a client shares with the session which has its terminal. PURE: works on any buffer.

While a terminal is lent, its client sees neither what is written to it nor what is read from it. Should the session
be killed or hang, no message tells where that ended; memory that both have mapped does::

    0   u64  seq        output below it was written to the terminal
    8   u64  input_seq  input below it was taken from the terminal
    16  u8   revoked    the client has taken its terminal back: keep your hands off
    17  u8   busy       the session is using the terminal right now

Numbers are in the machine's byte order. The client sets ``revoked``, the session everything else. The session sets
``busy``, looks at ``revoked``, uses the terminal, notes what that came to, and clears ``busy``; the client sets
``revoked`` and then waits (not for long: a session that was stopped in between can't be waited for) until ``busy`` is
clear. Between the store and the load each side makes a system call, so that one of them sees the other's.

The session does that at every key and every echo, so it works on the buffer itself, by `REVOKED`, `BUSY` and
`POSITION`: each property would be a call.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: `Lend` tells how the terminal is set up in so many bytes: what the ioctl TCGETS fills of them (the kernel's struct
#: termios, which no kernel has that large), and zeros.
SETTINGS_SIZE = 64

POSITION = struct.Struct("=QQ")
REVOKED = 16
BUSY = 17


class Page:
    """One such page. ``buffer``: writable, `SIZE` bytes, zeroed in the beginning."""

    SIZE = 32

    __slots__ = ("_buffer",)

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    @property
    def position(self) -> tuple[int, int]:
        """seq and input_seq."""
        seq, input_seq = POSITION.unpack_from(self._buffer)
        return seq, input_seq

    @position.setter
    def position(self, seqs: tuple[int, int]) -> None:
        POSITION.pack_into(self._buffer, 0, *seqs)

    @property
    def revoked(self) -> bool:
        return bool(self._buffer[REVOKED])

    def revoke(self) -> None:
        """For the client: from now on the terminal is its own."""
        self._buffer[REVOKED] = 1

    @property
    def busy(self) -> bool:
        return bool(self._buffer[BUSY])

    @busy.setter
    def busy(self, value: bool) -> None:
        self._buffer[BUSY] = value
