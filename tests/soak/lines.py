"""Lines that prove themselves, and the check of a stream of them.

Each line says of which run of the child it is, at which offset in all that this run printed it stands, how long it is
and what its checksum is. So ``seq of the line - offset`` is the same number for every line of a run, wherever and by
whomever it is read: one byte lost, doubled or swapped anywhere shows, also behind a gap whose size was told wrongly.
"""

from __future__ import annotations

import re
import threading
import zlib
from dataclasses import dataclass, field

_HEADER = re.compile(rb"~(\d{4}) (\d{12}) (\d{6}) ([0-9a-f]{8}) ")
HEADER_BYTES = 35

#: What toowl itself prints between two runs.
_BANNER = re.compile(rb"(?:\x1b\[\?47l[^~\n]{0,200}\r\n)?(?:--- [^\n]{1,300} ---\r\n)+")

#: A gap as large as this stands where nobody knows how much is missing: the leap is 2^40, from where the log ended.
LEAP = 1 << 39

#: No line is longer, so that behind a gap there is always a place where one begins.
MAX_LINE = 8 << 10


def line(run: int, offset: int, body: bytes) -> bytes:
    """One line. ``body`` has no newline."""
    head = b"~%04d %012d %06d " % (run, offset, HEADER_BYTES + len(body) + 1)
    return b"%s%08x %s\n" % (head, zlib.crc32(body, zlib.crc32(head)), body)


def read(data: bytes | bytearray, at: int = 0) -> tuple[int, int, int] | None:
    """Run, offset and length of the line that begins at ``at``; None if none that is whole and right does."""
    match = _HEADER.match(data, at)
    if match is None:
        return None
    length = int(match[3])
    end = at + length
    if data[end - 1 : end] != b"\n":
        return None
    head = bytes(data[at : at + HEADER_BYTES - 9])
    if zlib.crc32(data[at + HEADER_BYTES : end - 1], zlib.crc32(head)) != int(match[4], 16):
        return None
    return int(match[1]), int(match[2]), length


@dataclass
class Truth:
    """What all readers of one session must agree on: at which seq each run begins."""

    bases: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def agrees(self, run: int, base: int) -> bool:
        """Whether others have seen the run begin there as well."""
        with self.lock:
            return self.bases.setdefault(run, base) == base


class Tracker:
    """Checks one reader's view of a session: contiguous, right, and in agreement with the others'.

    Attributes:
        seq: up to where the stream was read.
        problems: what was wrong.
    """

    def __init__(self, truth: Truth, who: str, seq: int = 0) -> None:
        self.truth = truth
        self.who = who
        self.seq = seq
        self.problems: list[str] = []
        self.bytes = 0
        self.lines = 0
        self.gaps = 0
        self.gap_bytes = 0
        self.leaps = 0
        self.run = 0
        self._buffer = bytearray()
        self._synced = False

    def output(self, seq: int, data: bytes) -> None:
        """The next piece."""
        if seq != self.seq:
            self._problem(f"output at {seq}, expected at {self.seq}")
            self.restart(seq)
        self.seq += len(data)
        self.bytes += len(data)
        self._buffer += data
        self._parse()

    def gap(self, start: int, end: int) -> None:
        """An announced gap."""
        if start != self.seq or end <= start:
            self._problem(f"a gap from {start} to {end} was announced at {self.seq}")
        self.gaps += 1
        if end - start >= LEAP:
            self.leaps += 1
        else:
            self.gap_bytes += end - start
        self.restart(end)

    def restart(self, seq: int) -> None:
        """Go on somewhere else."""
        self.seq = seq
        self._buffer.clear()
        self._synced = False

    def finish(self) -> None:
        """Nothing more comes: what is left must be no half line."""
        if self._synced and self._buffer:
            self._problem(f"the stream ends inside of a line: {bytes(self._buffer[-80:])!r}")

    def _problem(self, text: str) -> None:
        self.problems.append(f"{self.who}: {text}")

    def _parse(self) -> None:
        buffer = self._buffer
        at = 0
        if not self._synced:
            at = self._find_start()
            if at < 0:
                return
            self._synced = True
        while at < len(buffer):
            found = read(buffer, at)
            if found is None:
                step = self._odd(at)
                if step == 0:
                    break
                at += step
                continue
            run, offset, length = found
            base = self.seq - len(buffer) + at - offset
            if not self.truth.agrees(run, base):
                self._problem(f"run {run}, offset {offset} is {base - self.truth.bases[run]} bytes off")
            if run < self.run:
                self._problem(f"run {run} after run {self.run}")
            self.run = run
            self.lines += 1
            at += length
        del buffer[:at]

    def _find_start(self) -> int:
        """Where the first line begins, -1 if that can't be told yet."""
        if self._buffer[:1] == b"~" and (len(self._buffer) < MAX_LINE or read(self._buffer) is not None):
            return 0
        at = self._buffer.find(b"\n~")
        if at < 0:
            if len(self._buffer) > 2 * MAX_LINE:
                self._problem(f"no line begins in {bytes(self._buffer[:80])!r}")
                self._buffer.clear()
            return -1
        return at + 1

    def _odd(self, at: int) -> int:
        """What is no whole line: not all there yet (0), or the end of a killed run (its length)."""
        buffer = self._buffer
        banner = _BANNER.search(buffer, at, at + MAX_LINE + 400)
        if banner is not None:
            return banner.end() - at
        if len(buffer) - at < MAX_LINE + 400:
            whole = _HEADER.match(buffer, at)
            if whole is None or len(buffer) - at < int(whole[3]):
                return 0
            if b"\x1b[?47l" in buffer[at:]:
                return 0
        self._problem(f"at {self.seq - len(buffer) + at} is no line: {bytes(buffer[at : at + 120])!r}")
        end = buffer.find(b"\n~", at + 1)
        return end + 1 - at if end >= 0 else len(buffer) - at


def on_screen(output: bytes) -> tuple[int, list[str]]:
    """Check what a terminal was given: how many lines, and what was wrong.

    The one who was killed may end anywhere; between two lines only an announcement of ours excuses missing ones.
    """
    output = _PICTURE.sub(b"", _OWN_LINE.sub(b"", output), count=1)
    problems: list[str] = []
    last: tuple[int, int] | None = None
    last_end = lines = 0
    for match in _HEADER.finditer(output):
        found = read(output, match.start())
        if found is None:
            continue
        run, offset, length = found
        if last is not None and run == last[0] and offset != last[1]:
            between = output[last_end : match.start()]
            if offset < last[1]:
                problems.append(f"offset {offset} of run {run} again, after {last[1]}")
            elif b"[" not in between or not _NOTICE.search(between):
                problems.append(
                    f"{offset - last[1]} bytes missing at {last[1]} of run {run}: {between[:200]!r}"
                )
        elif last is not None and run < last[0]:
            problems.append(f"run {run} after run {last[0]}")
        last, last_end = (run, offset + length), match.start() + length
        lines += 1
    return lines, problems


#: "reconnecting…" on the bottom line, drawn and taken away (see `toowl.banner`).
_OWN_LINE = re.compile(
    rb"(?:\x1bD\x1bM)?\x1b7\x1b\[\?6l\x1b\(B\x0f\x1b\[m\x1b\[9999H\x1b\[2K.*?\x1b8", re.DOTALL
)
#: What an attach paints before the session's own output. A line in it that happens to have nothing but text stands
#: there as it was printed, those around it do not.
_PICTURE = re.compile(rb"\r\x1b\[m\x1b\[J\x1b\[\?25l.*?\x1b\[\?25h", re.DOTALL)
_NOTICE = re.compile(rb"bytes of output|scrollback")
