"""What newer code is left of a log that is being written: it goes on at the byte, with its file and its memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cbor2
import pytest

from toowld.log import LogReader, LogWriter
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)


def again(log: LogWriter) -> LogWriter:
    """The log in the hands of whoever took over; the old one's descriptor is theirs."""
    kept: list[int] = []

    def keep(fd: int) -> int:
        kept.append(fd)
        return fd

    state = cbor2.loads(cbor2.dumps(log.freeze(keep)))
    taken = LogWriter.thaw(state, lambda fd: fd)
    assert kept == ([] if log.degraded else [state["fd"]])
    assert taken.freeze(lambda fd: fd) == log.freeze(lambda fd: fd)
    return taken


def output(folder: Path) -> bytes:
    return b"".join(LogReader(folder).output())


def test_it_goes_on_at_the_byte(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, "0badcafe", size=SIZE, limit=64 << 10)
    expected = b""
    for number in range(300):  # through several segments
        log.append(piece := b"%d " % number * 50)
        expected += piece
        if number == 7:
            log.resize(Size(rows=30, cols=90))
        if number % 10 == 0:
            log.check()
            log = again(log)
    assert log.end == len(expected)
    log.check()
    log.close()
    held = output(tmp_path)
    assert expected.endswith(held) and len(held) > 16 << 10
    seq, data = log.read(log.start, 1 << 20)
    assert expected[seq:].startswith(data)


def test_what_is_not_synced_is_known(tmp_path: Path) -> None:
    log = again(LogWriter(tmp_path, "0badcafe", size=SIZE))
    assert log.dirty
    sync = log.begin_sync()
    assert sync is not None and len(sync.segments) == 1 and sync.new_names
    sync.run()
    log.end_sync(sync)
    assert not again(log).dirty
    log.close()


def test_what_is_in_memory_reaches_the_disk_later(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    log = LogWriter(folder, "0badcafe", size=SIZE)
    log.append(b"lost")
    shutil.rmtree(folder)
    folder.touch()  # in the way
    assert not log.sync() and log.degraded
    log.append(b"kept, ")
    log.resize(Size(rows=30, cols=90))
    log = again(log)
    assert log.degraded and log.error
    log.check()  # of what is not there, nothing can be wrong
    log.append(b"and on")
    folder.unlink()
    assert log.retry()
    assert not log.degraded and output(folder) == b"kept, and on"
    log = again(log)
    log.append(b", on the disk")
    log.close()
    assert output(folder) == b"kept, and on, on the disk"


@pytest.mark.parametrize("cut", [1, 40])
def test_a_file_that_was_cut_is_noticed(tmp_path: Path, cut: int) -> None:
    log = LogWriter(tmp_path, "0badcafe", size=SIZE)
    log.append(b"some output")
    segment = log.segments[-1].path
    os.truncate(segment, Path(segment).stat().st_size - cut)
    with pytest.raises(ValueError, match="the log can be read up to byte"):
        again(log).check()
    log.close()


def test_a_file_that_is_gone_is_no_reason(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "log", "0badcafe", size=SIZE)
    shutil.rmtree(tmp_path / "log")
    again(log).check()
    log.close()
