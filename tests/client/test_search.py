"""``toowl search``: on logs that a test wrote, and on sessions that run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Sandbox, wait_for
from toowld.log import LogWriter
from toowld.wire import Size

SESSION = "2f3a9c1b"
NOON = 1_763_640_000  # 2025-11-20 12:00:00 UTC


def write_log(
    folder: Path, *pieces: bytes | Size, start: int = NOON, step: float = 60.0, **options: Any
) -> None:
    """A log in which each piece came ``step`` seconds after the one before."""
    clock = [start * 10**9]
    log = LogWriter(
        folder, SESSION, size=Size(rows=24, cols=80), boot="b",
        wall=lambda: clock[0], mono=lambda: clock[0] - start * 10**9, **options,
    )  # fmt: skip
    for piece in pieces:
        if isinstance(piece, Size):
            log.resize(piece)
        else:
            log.append(piece)
            clock[0] += round(step * 10**9)
    log.close()


@pytest.fixture
def log(sandbox: Sandbox) -> Iterator[Path]:
    yield sandbox.paths.session(SESSION)


def search(sandbox: Sandbox, *argv: str, session: str = SESSION) -> tuple[int, list[str], str]:
    done = sandbox.toowl("search", session, *argv, check=False, TZ="UTC")
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_hits_with_times(sandbox: Sandbox, log: Path) -> None:
    write_log(log, b"$ make\r\n", b"\x1b[31mER\x1b[1mROR\x1b[0m: one\r\n", b"ok\r\n", b"50%\r100% error\r\n")
    assert search(sandbox, "ERROR") == (0, ["2025-11-20 12:01:00  ERROR: one"], "")
    both = ["2025-11-20 12:01:00  ERROR: one", "2025-11-20 12:03:00  100% error"]
    assert search(sandbox, "-i", "Error") == (0, both, "")
    assert search(sandbox, "-i", "-n1", "error") == (0, both[:1], "")
    assert search(sandbox, "50%") == (1, [], "")
    assert search(sandbox, "^$") == (1, [], "")
    assert search(sandbox, "--", "-x") == (1, [], "")
    _, out, _ = search(sandbox, "rr", "--json", "-i")
    assert [json.loads(line) for line in out] == [
        {"time": NOON + 60.0, "seq": 8, "line": "ERROR: one"},
        {"time": NOON + 180.0, "seq": 37, "line": "100% error"},
    ]


def test_context(sandbox: Sandbox, log: Path) -> None:
    write_log(log, *(b"line %d\r\n" % number for number in range(9)), step=0)
    at = "2025-11-20 12:00:00 "
    expected = ["-line 0", " line 1", "-line 2", "--", "-line 5", " line 6", " line 7", "-line 8"]
    _, out, _ = search(sandbox, "[167]", "-C", "1")
    assert out == [line if line == "--" else at + line for line in expected]
    assert search(sandbox, "[167]", "-C", "1", "-n", "1")[1] == [at + line for line in expected[:3]]
    _, out, _ = search(sandbox, "line 1", "-C", "1", "--json")
    assert [json.loads(line).get("context", False) for line in out] == [True, False, True]


def test_context_over_what_was_not_looked_at(sandbox: Sandbox, log: Path) -> None:
    pieces = [
        b"".join(b"%07d\r\n" % number for number in range(at, at + 400)) for at in range(0, 200_000, 400)
    ]
    write_log(log, *pieces, step=0)
    _, out, _ = search(sandbox, "0150000", "-C", "3")
    assert [line[-7:] for line in out] == [f"{number:07}" for number in range(149_997, 150_004)]
    near_a_seam = search(sandbox, "00(29128|87382)", "-C", "2")[1]
    assert [line[-7:] for line in near_a_seam if line != "--"] == [
        f"{number + more:07}" for number in (29128, 87382) for more in range(-2, 3)
    ]


@pytest.mark.parametrize("regex", ["(", "[a", "*", "a{2,1}", "(?P<x>"])
def test_bad_expressions(sandbox: Sandbox, log: Path, regex: str) -> None:
    write_log(log, b"x\n")
    status, out, err = search(sandbox, regex)
    assert (status, out) == (2, [])
    assert err.count("\n") == 1 and "regular expression" in err


def test_no_such_session(sandbox: Sandbox) -> None:
    assert search(sandbox, "x", session="nobody")[0] == 3


def test_damage_and_dropped_output(sandbox: Sandbox, log: Path) -> None:
    write_log(log, *(b"%06d\r\n" % number for number in range(9000)), step=0, limit=128 << 10)
    newest = sorted(log.glob("*.log"))[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    newest.write_bytes(data)
    assert search(sandbox, "008999")[0] == 0
    assert search(sandbox, "000001")[0] == 1


@pytest.mark.parametrize("flag", [True, False], ids=["persistent", "standard"])
def test_running_ended_and_without_a_daemon(sandbox: Sandbox, flag: bool) -> None:
    sandbox.up(flag)
    session = sandbox.new("sh", "-c", "printf 'he%s\\n' llo; read x; printf 'by%s\\n' e", name="work")["id"]
    wait_for(lambda: b"hello" in sandbox.output(session), what="its output")
    assert search(sandbox, "^hello$", session="work")[0] == 0
    sandbox.send("work", b"\n")
    wait_for(lambda: sandbox.info("work")["state"] == "ended", what="its end")
    assert search(sandbox, "^bye$", session="work")[0] == 0
    sandbox.kill9()
    assert search(sandbox, "^hello$", session="work")[0] == 0
    assert search(sandbox, "^he%s", session="work")[0] == 1
