"""``python -m bench.screens``: what a picture of a session costs, by the length of the log behind its snapshot.

Asks the daemon's helper as the daemon does, one helper for each picture. Prints the table of docs/terminals.md.
"""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from toowld.log import LogWriter
from toowld.screen import snapshots
from toowld.wire import FrameDecoder, Request, Response, Size, encode

SIZE = Size(rows=24, cols=80)
LENGTHS = (0, 1, 16, 64)  # MiB
#: What one read of a PTY brings.
_PIECE = 4000


def main() -> None:
    """Measure and print."""
    print("| log behind the snapshot | output | CPU | until it is there | helper's peak | snapshot |")
    print("|---|---|---|---|---|---|")
    for kind in ("text", "colour"):
        for length in LENGTHS:
            with tempfile.TemporaryDirectory(prefix="toowl-bench-") as name:
                print(_row(Path(name), kind, length))


def _row(folder: Path, kind: str, length: int) -> str:
    log = LogWriter(folder, "0badcafe", limit=256 << 20, size=SIZE)
    for piece in _lines(kind, max(length, 2) << 20):
        log.append(piece)
    log.close()
    if not length:
        _picture(folder)  # leaves one
    cpu, wall, peak = _picture(folder)
    stored = (folder / snapshots.NAME).stat().st_size
    what = f"{length} MiB" if length else "none"
    return (
        f"| {what} | {kind} | {cpu:.2f} s | {wall:.2f} s | {peak / 2**20:.0f} MB | {stored / 1000:.0f} KB |"
    )


def _lines(kind: str, count: int) -> Iterator[bytes]:
    """Lines of 60 characters, plain or in six colours, in pieces as a PTY gives them."""
    chance = random.Random(1)
    words = [bytes(chance.choices(b"abcdefghijklmnop", k=9)) for _ in range(500)]
    made, piece = 0, b""
    while made < count:
        line = [chance.choice(words) for _ in range(6)]
        if kind == "colour":
            line = [b"\x1b[38;5;%dm%s\x1b[m" % (chance.randrange(256), word) for word in line]
        piece += b" ".join(line) + b"\r\n"
        if len(piece) >= _PIECE:
            made += len(piece)
            yield piece
            piece = b""


def _picture(folder: Path) -> tuple[float, float, int]:
    """Processor time, time until it is there (the helper's start is in both), and the helper's memory (peak)."""
    ours, its = socket.socketpair()
    begin = time.perf_counter()
    command = [sys.executable, "-P", "-m", "toowld.screen.worker", str(its.fileno())]
    with ours, subprocess.Popen(command, pass_fds=[its.fileno()]) as helper:
        its.close()
        params = {
            "folder": str(folder),
            "size": None,
            "terminal": None,
            "expires": time.monotonic() + 60,
        }
        ours.sendall(encode(Request(1, "picture", params)))
        decoder = FrameDecoder()
        while (answer := decoder.next_message()) is None:
            decoder.feed(ours.recv(1 << 20))
        wall = time.perf_counter() - begin
        assert isinstance(answer, Response), answer
        used = psutil.Process(helper.pid)
        times = used.cpu_times()
        status = Path(f"/proc/{helper.pid}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) << 10
        ours.close()  # it goes
    return times.user + times.system, wall, peak


if __name__ == "__main__":
    main()
