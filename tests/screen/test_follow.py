"""A log and a snapshot beside it: the same screen by whatever way, and no trust in what is damaged."""

from __future__ import annotations

import os
import random
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.screen.oracle import differences
from tests.screen.record import load
from toowld.errors import ScreenError
from toowld.log import LogWriter
from toowld.screen import snapshots
from toowld.screen.follow import Followed, follow, store
from toowld.screen.model import Model
from toowld.screen.picture import answer
from toowld.wire.messages import Size

_SIZE = Size(rows=24, cols=80)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    log = LogWriter(tmp_path, size=_SIZE, session_id="00000000", limit=1 << 20)
    yield log
    log.close()


def play(log: LogWriter, name: str) -> None:
    """A recording, as a session would have logged it."""
    for event in load(name):
        if isinstance(event, Size):
            log.resize(event)
        else:
            for start in range(0, len(event), 1000):
                log.append(event[start : start + 1000])


def played(*names: str) -> Model:
    model = Model(_SIZE)
    for name in names:
        for event in load(name):
            model.resize(event) if isinstance(event, Size) else model.feed(event)
    return model


def same(followed: Followed, model: Model) -> bool:
    assert differences(model.state(), followed.model.state(), wraps=True) == []
    return True


@pytest.mark.parametrize("end", [1, 999, 1000, 1001, 2500])
def test_the_screen_as_it_was(writer: LogWriter, tmp_path: Path, end: int) -> None:
    play(writer, "vim-resized")
    model = Model(_SIZE)
    at = 0
    for event in load("vim-resized"):
        if at >= end:
            break
        if isinstance(event, Size):
            model.resize(event)
        else:
            model.feed(event[: end - at])
            at += len(event[: end - at])
    followed = follow(tmp_path, until=end)
    assert followed.seq == end
    assert same(followed, model)


def test_a_question_is_answered_by_what_was_there_when_it_was_asked(
    writer: LogWriter, tmp_path: Path
) -> None:
    """As vim asks how wide a character is: and goes elsewhere at once."""
    writer.append(b"\x1b[2;1H\xe2\x96\xbd\x1b[6n\x1b[1;1Hmore")
    assert answer(tmp_path, 13, b"\x1b[6n") == b"\x1b[2;2R"
    assert answer(tmp_path, writer.end, b"\x1b[6n") == b"\x1b[1;5R"
    with pytest.raises(ScreenError):
        answer(tmp_path, writer.end + 1, b"\x1b[6n")


def test_the_screen_is_what_the_log_makes_of_it(writer: LogWriter, tmp_path: Path) -> None:
    play(writer, "vim-resized")
    followed = follow(tmp_path)
    assert followed.seq == writer.end
    assert followed.size == Size(rows=20, cols=60)
    assert followed.snapshot is None
    assert same(followed, played("vim-resized"))


def test_a_snapshot_and_what_came_after_it(writer: LogWriter, tmp_path: Path) -> None:
    play(writer, "bash")
    assert store(tmp_path, follow(tmp_path))
    at = writer.end
    play(writer, "vim")
    followed = follow(tmp_path)
    assert followed.snapshot == at
    assert followed.seq == writer.end
    assert same(followed, played("bash", "vim"))
    path = tmp_path / snapshots.NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.glob("screen*")] == ["screen"]


def test_the_snapshot_knows_what_the_log_has_dropped(writer: LogWriter, tmp_path: Path) -> None:
    """A program that switched to the alternate screen long ago, and has printed more than the log holds since."""
    writer.append(b"shell$ prog\r\n\x1b[?1049h\x1b[?1003h\x1b]2;prog\x07")
    page = b"\x1b[H" + b"".join(b"\x1b[%dmvalue %d\x1b[K\r\n" % (30 + n % 8, n) for n in range(20))
    expected = Model(_SIZE)
    expected.feed(b"shell$ prog\r\n\x1b[?1049h\x1b[?1003h\x1b]2;prog\x07")
    while writer.start == 0:
        for _ in range(100):
            writer.append(page)
            expected.feed(page)
        store(tmp_path, follow(tmp_path))
    assert follow(tmp_path).model.state().title == b"prog"
    assert same(follow(tmp_path), expected)
    # Without it nothing is left but the picture.
    (tmp_path / snapshots.NAME).unlink()
    assert follow(tmp_path).model.state().alternate is None


def test_in_pieces_it_is_the_same(writer: LogWriter, tmp_path: Path) -> None:
    for name in ("bash", "less", "vim", "vim-left", "glyphs"):
        play(writer, name)
    pieces = 0
    while follow(tmp_path, limit=1500).seq < writer.end:
        assert store(tmp_path, follow(tmp_path, limit=1500))
        pieces += 1
    assert pieces > 5
    assert same(follow(tmp_path), played("bash", "less", "vim", "vim-left", "glyphs"))


def _torn(whole: bytes) -> bytes:
    return whole[: random.Random(1).randrange(len(whole))]


def _flipped(whole: bytes) -> bytes:
    at = random.Random(2).randrange(len(whole))
    return whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]


def _another_version(whole: bytes) -> bytes:
    return _sealed(whole.replace(b"ghostty-", b"ghastly-", 1))


def _of_the_future(whole: bytes) -> bytes:
    return _sealed(whole[:8] + struct.pack(">Q", 1 << 40) + whole[16:])


def _of_nothing(whole: bytes) -> bytes:
    return _sealed(whole[:35] + zlib.compress(b"GHOSTSNP and then nothing of the kind"))


def _sealed(changed: bytes) -> bytes:
    return changed[:4] + struct.pack(">I", zlib.crc32(changed[8:])) + changed[8:]


@pytest.mark.parametrize(
    "spoil", [_torn, _flipped, _another_version, _of_the_future, _of_nothing, lambda whole: b""]
)
def test_a_snapshot_that_is_no_good_is_made_anew(writer: LogWriter, tmp_path: Path, spoil: object) -> None:
    play(writer, "vim")
    store(tmp_path, follow(tmp_path))
    path = tmp_path / snapshots.NAME
    whole = path.read_bytes()
    assert callable(spoil)
    path.write_bytes(spoil(whole))
    followed = follow(tmp_path)
    assert followed.snapshot is None
    assert same(followed, played("vim"))
    assert store(tmp_path, followed)
    assert follow(tmp_path).snapshot == writer.end


def test_a_snapshot_is_no_link_to_somewhere_else(writer: LogWriter, tmp_path: Path) -> None:
    play(writer, "bash")
    store(tmp_path, follow(tmp_path))
    path = tmp_path / snapshots.NAME
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert snapshots.load(tmp_path) is None
    path.unlink()
    os.mkfifo(path)
    assert snapshots.load(tmp_path) is None  # and does not wait for a writer


def test_after_a_gap_no_rest_of_a_sequence_is_text(writer: LogWriter, tmp_path: Path) -> None:
    while writer.start == 0:
        writer.append(b"\x1b]0;" + b"t" * 5000 + b"\x07" + b"line of text\r\n" * 100)
    rows = follow(tmp_path).model.state().main
    assert {row.text for row in (*rows.history, *rows.rows)} <= {"line of text", ""}


def test_the_disk_takes_no_snapshot(writer: LogWriter, tmp_path: Path) -> None:
    play(writer, "bash")
    (tmp_path / snapshots.NAME).mkdir()
    with pytest.raises(OSError):
        store(tmp_path, follow(tmp_path))
    assert [found.name for found in tmp_path.glob("screen*")] == ["screen"]
