"""`read_log`, page by page: all output once, no page too large, and an end that is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toowld.daemon.pages import LOG_PAGE, log_page
from toowld.log import MARK, OUTPUT, LogReader, LogWriter
from toowld.wire import MAX_FRAME, SEQ_LEAP, Response, Size, encode

SIZE = Size(rows=24, cols=80)


def all_pages(folder: Path, limit: int = LOG_PAGE, seq: int = 0) -> list[dict[str, Any]]:
    """Each page of a log, until there is no further one."""
    pages = []
    following: int | None = seq
    while following is not None:
        pages.append(log_page(LogReader(folder).records(following), following, limit))
        assert pages[-1]["next"] is None or pages[-1]["next"] > following, "leads nowhere"
        following = pages[-1]["next"]
    return pages


def output(pages: list[dict[str, Any]]) -> bytes:
    return b"".join(record[4] for page in pages for record in page["records"] if record[0] == OUTPUT)


@pytest.mark.parametrize("limit", [-1, 0, 1, 100, 2000, LOG_PAGE, 1 << 63])
def test_every_limit_gets_to_the_end(tmp_path: Path, limit: int) -> None:
    """Also where more marks than it takes stand at one place."""
    log = LogWriter(tmp_path / "s", "s", size=SIZE)
    told = b""
    for number in range(20):
        for _ in range(3):
            log.mark("any", number=number)
        log.resize(Size(rows=24, cols=80 + number))
        log.append(b"line %d\n" % number)
        told += b"line %d\n" % number
    log.mark("exit", reason="exited", code=0)
    log.close()
    pages = all_pages(tmp_path / "s", limit)
    assert output(pages) == told
    assert all(page["gap"] is None for page in pages)
    assert pages[-1]["records"][-1][0] == MARK


def test_marks_where_a_page_ends_come_again_and_output_does_not(tmp_path: Path) -> None:
    log = LogWriter(tmp_path / "s", "s", size=SIZE)
    log.append(b"x" * 100)
    log.mark("any")
    log.append(b"y" * 100)
    log.close()
    first = log_page(LogReader(tmp_path / "s").records(0), 0, 350)
    assert [record[0] for record in first["records"]] == [MARK, OUTPUT, MARK]
    second = log_page(LogReader(tmp_path / "s").records(first["next"]), first["next"], 350)
    context, again, rest = second["records"]
    assert (first["next"], rest[4]) == (100, b"y" * 100)
    assert (context, again) == (first["records"][0], first["records"][2])


def test_a_gap_behind_a_mark_is_passed(tmp_path: Path) -> None:
    """The end was noted at its place, and the next life begins far behind it."""
    log = LogWriter(tmp_path / "s", "s", size=SIZE)
    log.append(b"before")
    log.mark("exit", reason="lost", code=None)
    log.close()
    log = LogWriter(tmp_path / "s", "s", size=SIZE, seq=SEQ_LEAP)
    log.append(b"after")
    log.close()
    for seq in (0, 6):
        pages = all_pages(tmp_path / "s", seq=seq)
        assert output(pages) == b"beforeafter"[seq:]
        assert [page["gap"] for page in pages if page["gap"]] == [[6, SEQ_LEAP, "missing"]]


def test_a_page_of_single_bytes_fits_into_a_frame(tmp_path: Path) -> None:
    """What a slow typist leaves: each byte is a record of its own."""
    log = LogWriter(tmp_path / "s", "s", size=SIZE)
    for _ in range(150_000):
        log.append(b"x")
    log.close()
    page = log_page(LogReader(tmp_path / "s").records(0), 0)
    assert len(encode(Response(1, page))) <= LOG_PAGE < MAX_FRAME
    assert len(page["records"]) > 10_000
