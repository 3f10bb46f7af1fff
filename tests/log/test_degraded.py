"""A disk that takes nothing: the output goes to memory, and to disk again when that works."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toowld.log import OUTPUT, GapMark, LogReader, LogRecord, LogWriter
from toowld.log.writer import RING_BYTES
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)


class Disk:
    """A ``writev`` that can be told to fail, or to take only some bytes first."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.takes = 0

    def writev(self, fd: int, buffers: Sequence[Any]) -> int:
        if self.error is None:
            return os.writev(fd, buffers)
        data = b"".join(map(bytes, buffers))[: self.takes]
        if not data:
            raise OSError(self.error, os.strerror(self.error))
        self.takes -= len(data)
        return os.write(fd, data)


def open_log(folder: Path, disk: Disk, **options: Any) -> LogWriter:
    return LogWriter(folder, "s", size=SIZE, writev=disk.writev, **options)


def held(folder: Path) -> bytes:
    return b"".join(LogReader(folder).output())


def gaps(folder: Path) -> list[GapMark]:
    return [item for item in LogReader(folder).records() if isinstance(item, GapMark)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EFBIG, errno.EDQUOT])
@pytest.mark.parametrize("takes", [0, 1, 39, 40, 41, 100])
def test_nothing_is_lost_over_a_failure(tmp_path: Path, code: int, takes: int) -> None:
    disk = Disk()
    log = open_log(tmp_path, disk)
    log.append(b"before\n")
    disk.error, disk.takes = code, takes
    log.append(b"during %d\n" % 1)
    log.resize(Size(rows=9, cols=9))
    log.append(b"during %d\n" % 2)
    log.mark("exit", code=1)
    assert log.end == 25
    if takes < 49:
        assert log.degraded and log.error and os.strerror(code) in log.error
        assert held(tmp_path) == b"before\n"
        assert not log.retry()
    assert log.degraded
    assert log.read(0, 100) == (0, b"before\nduring 1\nduring 2\n")
    assert not log.retry() and not log.sync()
    disk.error = None
    assert log.retry() and not log.degraded and log.error is None
    log.append(b"after\n")
    assert held(tmp_path) == b"before\nduring 1\nduring 2\nafter\n" and not gaps(tmp_path)
    assert log.read(0, 100) == (0, held(tmp_path))
    sizes = [item.size for item in LogReader(tmp_path).records() if isinstance(item, LogRecord) and item.size]
    assert sizes[-1] == log.size
    assert LogReader(tmp_path).last_exit() == {"kind": "exit", "code": 1}


def test_overflow_of_memory_is_an_announced_gap(tmp_path: Path) -> None:
    disk = Disk()
    log = open_log(tmp_path, disk)
    log.append(b"before\n")
    disk.error = errno.ENOSPC
    log.mark("any")
    log.resize(Size(rows=9, cols=9))
    piece = b"x" * 9999 + b"\n"
    for _ in range(1000):
        log.append(piece)
    assert log.degraded and log.bytes_used <= RING_BYTES + 20_000
    assert log.start == 0 and log.end == 7 + 10_000_000
    cursor = log.cursor(0)
    assert cursor.read(1000) == b"before\n"
    data = cursor.read(1000)
    begin = cursor.seq - len(data)
    assert begin > 7 and (begin - 7) % 10_000 == 0 and data == b"x" * 1000
    disk.error = None
    assert log.retry()
    (gap,) = gaps(tmp_path)
    assert gap.start == 7 and gap.end <= begin and gap.reason == "missing"
    assert held(tmp_path) == b"before\n" + piece * ((log.end - gap.end) // len(piece))
    # The resize itself fell out of memory; the new segment tells the size.
    assert next(r.size for r in LogReader(tmp_path).records(gap.end) if isinstance(r, LogRecord)) == log.size
    assert cursor.read(1 << 30) == (piece * 1000)[begin - 7 + 1000 :]


def test_begins_degraded_where_there_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = tmp_path / "file" / "log"
    log = LogWriter(folder, "s", size=SIZE)
    assert log.degraded and not log.retry()
    log.append(b"abc")
    assert (log.start, log.end) == (0, 3) and log.read(0, 10) == (0, b"abc")
    log.close()
    (tmp_path / "file").unlink()
    assert log.retry()
    assert held(folder) == b"abc"


def test_output_of_another_writer_is_never_destroyed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    late = LogWriter(tmp_path / "file" / "log", "s", size=SIZE)
    late.append(b"late")
    (tmp_path / "file").unlink()
    other = LogWriter(tmp_path / "file" / "log", "s", size=SIZE)
    other.append(b"was here")
    other.close()
    assert not late.retry() and late.degraded
    assert held(tmp_path / "file" / "log") == b"was here" and late.read(0, 9) == (0, b"late")


def test_told_after_close(tmp_path: Path) -> None:
    """An upgrade that closes the log and then can't go on must not lose what is printed in between."""
    log = LogWriter(tmp_path, "s", size=SIZE)
    log.append(b"one")
    log.close()
    log.close()
    log.append(b"two")
    assert log.degraded and log.error and "closed" in log.error
    assert log.retry()
    log.close()
    assert held(tmp_path) == b"onetwo"


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["append", "append", "append", "break", "mend", "retry", "sync", "reopen"]),
            st.integers(0, 5000),
        ),
        max_size=60,
    )
)
def test_any_order_of_faults(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    folder = tmp_path_factory.mktemp("log")
    disk = Disk()
    log = open_log(folder, disk, limit=32 << 10)
    written = b""
    for what, number in steps:
        if what == "append":
            data = (b"%07d\n" % len(written)) * (number // 8 + 1)
            log.append(data)
            written += data
        elif what == "break":
            disk.error, disk.takes = errno.ENOSPC, number
        elif what == "mend":
            disk.error = None
        elif what == "retry":
            assert log.retry() is (not log.degraded)
        elif what == "sync":
            log.sync()
        elif what == "reopen" and not log.degraded:
            log.close()
            log = open_log(folder, disk, limit=32 << 10, seq=log.end)
        assert log.end == len(written)
        at, data = log.read(log.start, 3000)
        assert at == log.start and written[at:].startswith(data)
    disk.error = None
    assert log.retry()
    assert held(folder) == written[log.start :]
    cursor = log.cursor(log.start)
    assert cursor.read(1 << 30) == written[log.start :]
    log.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "toowl-test", str(folder)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    folder = small_disk / "log"
    log = LogWriter(folder, "s", size=SIZE, limit=1 << 20)
    piece = b"0123456789abcde\n" * 64
    for _ in range(400):
        log.append(piece)
    assert log.degraded and log.error and "No space left" in log.error
    assert log.end == 400 * 1024 and log.read(0, 10) == (0, piece[:10])
    assert not log.retry()
    assert log.cursor(0).read(1 << 30) == piece * 400
    log.append(piece)
    subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)
    assert log.retry() and log.sync()
    log.append(piece)
    log.close()
    assert held(folder) == piece * 402 and not gaps(folder)


def test_a_file_size_limit(tmp_path: Path) -> None:
    """EFBIG after a part of a record: in a process of its own, where the limit hurts nobody else."""
    script = f"""
import resource, sys
from pathlib import Path
from toowld.log import LogWriter
from toowld.wire import Size
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
log = LogWriter(Path({str(tmp_path)!r}), "s", size=Size(rows=1, cols=1))
for number in range(300):
    log.append(b"%099d\\n" % number)
assert log.degraded and "too large" in log.error, log.error
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
assert log.retry()
log.close()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN and resource.RLIMIT_FSIZE
    assert held(tmp_path) == b"".join(b"%099d\n" % number for number in range(300)) and not gaps(tmp_path)
    assert all(r.payload.endswith(b"\n") for r in LogReader(tmp_path).records()
               if isinstance(r, LogRecord) and r.type == OUTPUT)  # fmt: skip
