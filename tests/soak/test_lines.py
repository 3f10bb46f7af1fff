"""The soak's own check must see every kind of loss: else a soak that passes shows nothing."""

from __future__ import annotations

import random

import pytest

from tests.soak.lines import Tracker, Truth, line, on_screen, read
from tests.soak.viewer import typed

BANNER = b"\x1b[?47l\x1b[0m\r\n--- killed: by somebody ---\r\n--- restored; new shell ---\r\n"


def stream(run: int, count: int, start: int = 0) -> bytes:
    """``count`` lines of one run."""
    output = b""
    for number in range(count):
        output += line(run, start + len(output), b"\x1b[31mbody \xe6\xbc\xa2 %d" % number)
    return output


WHOLE = stream(1, 40)


def watch(*pieces: bytes, seq: int = 0, truth: Truth | None = None) -> Tracker:
    tracker = Tracker(truth or Truth(), "who", seq)
    for piece in pieces:
        tracker.output(tracker.seq, piece)
    return tracker


def test_a_line_says_what_it_is() -> None:
    assert read(line(3, 77, b"body")) == (3, 77, 40)
    assert read(line(3, 77, b"body").replace(b"body", b"b0dy")) is None
    assert read(line(3, 77, b"body")[:-1]) is None


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_whole_stream_holds(piece: int) -> None:
    tracker = watch(*(WHOLE[at : at + piece] for at in range(0, len(WHOLE), piece)))
    tracker.finish()
    assert (tracker.problems, tracker.lines, tracker.seq) == ([], 40, len(WHOLE))


@pytest.mark.parametrize("seed", range(20))
def test_no_loss_and_no_double_escapes(seed: int) -> None:
    """Bytes left out, doubled or flipped; and everything behind them moved, as if nothing were."""
    chance = random.Random(seed)
    at, size = chance.randrange(100, len(WHOLE) - 200), chance.randint(1, 90)
    for bad in (
        WHOLE[:at] + WHOLE[at + size :],
        WHOLE[: at + size] + WHOLE[at:],
        WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :],
    ):
        tracker = watch(bad, b"\n" * 20_000)
        assert tracker.problems, (at, size)


def test_a_gap_of_the_wrong_size_shows() -> None:
    tracker = watch(WHOLE[:500])
    tracker.gap(500, 1001)
    tracker.output(1001, WHOLE[1000:])
    assert "bytes off" in tracker.problems[0]
    tracker = watch(WHOLE[:500])
    tracker.gap(500, 1000)
    tracker.output(1000, WHOLE[1000:])
    assert (tracker.problems, tracker.gap_bytes) == ([], 500)


def test_readers_must_agree() -> None:
    truth = Truth()
    assert watch(WHOLE, truth=truth).problems == []
    assert "bytes off" in watch(WHOLE, seq=1, truth=truth).problems[0]


def test_a_killed_run_may_end_anywhere_and_the_next_begins_anew() -> None:
    for cut in range(100, 200):
        tracker = watch(WHOLE[:cut], BANNER[:60], BANNER[60:], stream(2, 3))
        tracker.finish()
        assert tracker.problems == []
        assert tracker.run == 2
    assert watch(WHOLE[:150], stream(2, 3), b"\n" * 20_000).problems, "but not without a word"


def test_a_terminal_shows_each_line_once() -> None:
    lines = [stream(1, 1), *(b"" for _ in range(3))]
    for number in range(1, 4):
        lines[number] = line(1, sum(map(len, lines)), b"x")
    assert on_screen(b"".join(lines)) == (4, [])
    assert on_screen(b"".join([*lines, lines[3]]))[1]
    assert on_screen(lines[0] + lines[2] + lines[3])[1]
    notice = b"\r\n[%d bytes of output are no longer held]\r\n" % len(lines[1])
    assert on_screen(lines[0] + notice + lines[2])[1] == []
    picture = lines[0].replace(b"\n", b"\r\n") + lines[1] + b"\x1b[2Cx\x1b[1;1H"
    painted = b"\r\x1b[m\x1b[J\x1b[?25l" + picture + b"\x1b[?25h"
    assert on_screen(painted + lines[3]) == (1, [])


def test_typed_text_has_a_place_for_each_byte() -> None:
    whole = typed(0, 1000, False)
    assert typed(123, 456, False) == whole[123:456]
    assert len({whole[at : at + 24] for at in range(0, 900, 12)}) == 75
    assert min(typed(0, 100, True)) >= 0x80 > max(whole)
