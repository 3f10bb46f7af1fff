"""What runs in a session of the soak: ``python -m tests.soak.child KIND FOLDER SEED``.

Prints lines that prove themselves (`tests.soak.lines`), in the manner of its kind, and writes whatever it reads to
``FOLDER/in-RUN``; how much it has printed stands in ``FOLDER/out-RUN``. Both are outside of toowl's state, so they
are the truth that toowl's log and clients are compared with. With ``FOLDER/quiet`` there it prints no more.
"""

from __future__ import annotations

import os
import random
import select
import struct
import sys
import time
import tty
from collections.abc import Callable
from pathlib import Path

from tests.soak.lines import HEADER_BYTES, MAX_LINE, line

COUNT = struct.Struct(">Q")
_WORDS = [b"alpha", b"beta", b"gamma", b"delta", b"0123456789", b"\xe2\x80\xa6", b"tab\there", b"  "]
_GLYPHS = ["ä", "ß", "漢", "字", "🙂", "👩‍🚀", "é", "→", "x", " "]
_ESCAPES = [
    b"\x1b[31m",
    b"\x1b[1;32m",
    b"\x1b[0m",
    b"\x1b[38;2;1;2;3m",
    b"\x1b]0;title\x07",
    b"\x1b[2K",
    b"\r",
]


class Child:
    """One run."""

    def __init__(self, folder: Path, seed: int) -> None:
        tty.setraw(0)  # nothing is echoed or rewritten: what is printed is what the session's output holds
        self.folder = folder
        self.run = 1 + max((int(path.name[4:]) for path in folder.glob("out-*")), default=0)
        self.random = random.Random(seed * 10007 + self.run)
        self.written = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._out = os.open(folder / f"out-{self.run:04d}", flags, 0o600)
        self._in = os.open(folder / f"in-{self.run:04d}", flags, 0o600)
        os.pwrite(self._out, COUNT.pack(0), 0)
        (folder / f"run-of-{os.getpid()}").write_text(str(self.run))

    def print(self, body: bytes, piece: int = 0) -> None:
        """One line, in pieces of at most ``piece`` bytes if that is given."""
        whole = line(self.run, self.written, body[: MAX_LINE - HEADER_BYTES - 1])
        while whole:
            size = self.random.randint(1, piece) if piece else len(whole)
            count = os.write(1, whole[:size])
            whole = whole[count:]
            self.written += count
            os.pwrite(self._out, COUNT.pack(self.written), 0)

    def read(self, seconds: float) -> None:
        """Take in what is typed, for so long."""
        deadline = time.monotonic() + seconds
        while True:
            wait = max(deadline - time.monotonic(), 0)
            if not select.select([0], [], [], wait)[0]:
                return
            data = os.read(0, 65536)
            if not data:
                sys.exit(0)
            os.write(self._in, data)

    @property
    def quiet(self) -> bool:
        return (self.folder / "quiet").exists()


def _text(child: Child) -> bytes:
    return b" ".join(child.random.choices(_WORDS, k=child.random.randint(3, 20)))


def _coloured(child: Child) -> bytes:
    return b"".join(child.random.choices([*_ESCAPES, *_WORDS], k=child.random.randint(5, 40)))


def _unicode(child: Child) -> bytes:
    return "".join(child.random.choices(_GLYPHS, k=child.random.randint(5, 60))).encode()


def steady(child: Child) -> float:
    """A log that grows."""
    child.print(_text(child))
    return 0.02


def burst(child: Child) -> float:
    """A build: much at once, then nothing."""
    text = _text(child) * 40
    for _ in range(child.random.randint(50, 800)):
        child.print(text[: child.random.randint(100, 2000)])
    return child.random.uniform(0.5, 2.0)


def colour(child: Child) -> float:
    """Escape sequences, cut anywhere."""
    child.print(_coloured(child), piece=40)
    return 0.05


def split(child: Child) -> float:
    """UTF-8 that arrives byte by byte."""
    child.print(_unicode(child), piece=5)
    return 0.05


def idle(child: Child) -> float:
    """Somebody's shell in the background."""
    child.print(_text(child))
    return 5.0


KINDS: dict[str, Callable[[Child], float]] = {
    "steady": steady,
    "burst": burst,
    "colour": colour,
    "split": split,
    "idle": idle,
}


def main() -> None:
    """See the module's docstring."""
    kind, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    child = Child(folder, seed)
    if kind == "short":
        for _ in range(child.random.randint(1, 300)):
            child.print(_text(child))
        sys.exit(child.random.randint(0, 100))
    child.print(b"here we go")  # so that it is known where this run begins, however quiet it is
    while True:
        child.read(0.2 if child.quiet else KINDS[kind](child))


if __name__ == "__main__":
    main()
