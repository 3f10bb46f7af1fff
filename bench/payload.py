"""What the sessions print: the same bytes in every run, so that runs can be compared.

Nothing of it begins like `MARKER`, by which the outer terminal knows that everything has arrived.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

#: Of the user's terminal: about half of a laptop's screen.
ROWS, COLS = 40, 120

#: Behind what is printed, with a number that tells one time from the next. Of characters that no payload has, so that
#: no contender can save itself writing them in one run.
MARKER = "<@END {} @>"


def marker(number: int = 0) -> bytes:
    """What the outer terminal waits for."""
    return MARKER.format(number).encode()


_WORDS = [
    *(
        "error",
        "warning",
        "info",
        "debug",
        "compile",
        "link",
        "install",
        "fetch",
        "resolve",
        "update",
        "remove",
    ),
    *("the", "a", "of", "in", "session", "terminal", "kernel", "driver", "module", "package", "version"),
    *("request", "response", "timeout", "connected", "/usr/lib/python3/dist-packages", "src/main.c:120"),
    *("0x7ffe3c1b", "42", "3.14159", "200", "404", "GET", "POST", "done", "failed", "ok", "skipped"),
]


def text(size: int) -> bytes:
    """Plain lines of different lengths, as a build or a log prints them."""
    return _fill(size, _plain_lines())


def colour(size: int) -> bytes:
    """A change of colours at every word: listings, compilers, highlighted source."""
    return _fill(size, _colour_lines())


def redraw(size: int) -> bytes:
    """Frames of a full-screen program: every row addressed and rewritten; then cleared for the marker."""
    return _fill(size, _frames()) + b"\x1b[0m\x1b[H\x1b[2J"


def _fill(size: int, pieces: Iterator[bytes]) -> bytes:
    """Pieces until ``size`` is reached. A block of them is made once and repeated: making 50 MB takes seconds."""
    block = bytearray()
    while len(block) < min(size, 1 << 20):
        block += next(pieces)
    return bytes(block) * max(size // len(block), 1)


def _plain_lines() -> Iterator[bytes]:
    chance = random.Random(1)
    while True:
        yield (" ".join(chance.choices(_WORDS, k=chance.randrange(3, 15))) + "\n").encode()


def _colour_lines() -> Iterator[bytes]:
    chance = random.Random(2)
    while True:
        words = (_coloured(chance, word) for word in chance.choices(_WORDS, k=chance.randrange(3, 12)))
        yield (" ".join(words) + "\x1b[0m\n").encode()


def _coloured(chance: random.Random, word: str) -> str:
    kind = chance.randrange(3)
    if kind == 0:
        return f"\x1b[{chance.choice((0, 1, 4))};{chance.randrange(31, 38)}m{word}\x1b[0m"
    if kind == 1:
        return f"\x1b[38;5;{chance.randrange(256)}m{word}"
    red, green, blue = (chance.randrange(256) for _ in range(3))
    return f"\x1b[38;2;{red};{green};{blue}m{word}"


def _frames() -> Iterator[bytes]:
    chance = random.Random(3)
    number = 0
    while True:
        number += 1
        frame = [f"\x1b[H\x1b[7m frame {number:06d} {'=' * (COLS - 20)}\x1b[0m"]
        for row in range(2, ROWS - 1):
            body = " ".join(chance.choices(_WORDS, k=20))[: COLS - 12]
            frame.append(f"\x1b[{row};1H\x1b[3{row % 8}m{row:3d}\x1b[39m {body}\x1b[K")
        yield "".join(frame).encode()
