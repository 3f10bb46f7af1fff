"""The program in a session: ``python -I -S child.py MODE [ARGUMENT…]``, the same for every contender.

``print FILE MARKER``  answers ``p`` with PONG, and ``g`` with the file and the marker, in which times are counted
``echo``               gives back each byte, without the kernel's own echo
``flood COUNTS N GATE`` waits for the pipe GATE to be opened, then prints while the first byte of COUNTS is not 0, and
                       counts the bytes there as its Nth number
``show FILE MARKER``   prints the file and the marker at once, then rests

Imports nothing but what is needed: fifty of these run at once.
"""

from __future__ import annotations

import os
import sys
import termios
import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: What real programs write at once is less, but the child must not be what is measured.
_PIECE = 64 << 10


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view[:_PIECE]) :]


def _print(file: str, marker: str) -> None:
    tty.setcbreak(0)  # output is processed (ONLCR) as for any program; only input comes key by key
    with open(file, "rb") as opened:
        payload = opened.read()
    times = 0
    while key := os.read(0, 1):
        if key == b"p":
            _write(b"PONG")
        elif key == b"g":
            times += 1
            _write(payload)
            _write(marker.format(times).encode())


def _echo() -> None:
    tty.setraw(0)
    while data := os.read(0, 4096):
        os.write(1, data)


def _flood(counts: str, index: str, gate: str) -> None:
    import mmap

    with open(counts, "r+b") as opened:
        shared = mmap.mmap(opened.fileno(), 0)
    place = slice(8 * int(index), 8 * int(index) + 8)
    line = b"a flood of text, as a build or a log prints it: nobody reads all of it\n" * 57
    total = 0
    while True:
        open(gate, "rb").close()
        while shared[0]:
            total += os.write(1, line)
            shared[place] = total.to_bytes(8, "little")


def _show(file: str, marker: str) -> None:
    settings = termios.tcgetattr(0)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, settings)
    with open(file, "rb") as opened:
        while piece := opened.read(_PIECE):
            _write(piece)
    _write(marker.format(0).encode())
    while os.read(0, 4096):
        pass


if __name__ == "__main__":
    mode, *arguments = sys.argv[1:]
    modes: dict[str, Callable[..., None]] = {"print": _print, "echo": _echo, "flood": _flood, "show": _show}
    modes[mode](*arguments)
