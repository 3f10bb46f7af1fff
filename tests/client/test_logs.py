"""``toowl logs`` and ``toowl export --since``: stretches of time, and following."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.test_search import NOON, SESSION, write_log
from tests.harness import Sandbox, wait_for
from toowl.commands._span import Span
from toowld.log import MARK, OUTPUT, LogReader, LogRecord
from toowld.wire import Size


def logs(sandbox: Sandbox, *argv: str) -> str:
    return sandbox.toowl("logs", SESSION, *argv, TZ="UTC").stdout


@pytest.fixture
def log(sandbox: Sandbox) -> Path:
    """Every minute from noon on a line; the terminal grows before the third."""
    folder = sandbox.paths.session(SESSION)
    pieces: list[Any] = [
        b"zero\r\n",
        b"one\r\ntw",
        Size(rows=30, cols=100),
        b"o\r\n",
        b"\x1b[3",
        b"1mfour\r\n",
    ]
    write_log(folder, *pieces)
    return folder


def test_all_of_it(sandbox: Sandbox, log: Path) -> None:
    assert logs(sandbox) == "zero\none\ntwo\nfour\n"
    assert logs(sandbox, "--raw") == "zero\r\none\r\ntwo\r\n\x1b[31mfour\r\n"
    assert logs(sandbox, "--timestamps").splitlines()[2:] == [
        "2025-11-20 12:02:00  two",
        "2025-11-20 12:04:00  four",
    ]


def test_since_and_until(sandbox: Sandbox, log: Path) -> None:
    assert logs(sandbox, "--since", "2025-11-20T12:02") == "two\nfour\n"  # whole, though it began earlier
    assert logs(sandbox, "--since", f"@{NOON + 1}", "--until", f"@{NOON + 130}") == "one\ntwo\n"
    assert logs(sandbox, "--until", "2025-11-20 12:00:30") == "zero\n"
    assert logs(sandbox, "--since", "10m") == ""
    assert logs(sandbox, "--since", "2025-11-20T12:04", "--raw") == "\x1b[31mfour\r\n"


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--since", "soon"], "--since: 'soon' is no time"),
        (["--until", "25:00"], "14:30"),
        (["--since", "1m", "--until", "1h"], "later than --until"),
        (["-f", "--until", "1h"], "--until"),
        (["--raw", "--timestamps"], "--raw"),
        (["--raw", "--text"], "not allowed"),
    ],
)
def test_mistakes(sandbox: Sandbox, log: Path, argv: list[str], hint: str) -> None:
    done = sandbox.toowl("logs", SESSION, *argv, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and hint in done.stderr


def test_a_cut_recording(sandbox: Sandbox, log: Path) -> None:
    sandbox.toowl("export", SESSION, "-o", "x.cast", "--since", f"@{NOON + 90}", "--until", f"@{NOON + 240}")
    header, *events = map(json.loads, (sandbox.root / "x.cast").read_text().splitlines())
    assert (header["width"], header["height"], header["timestamp"]) == (100, 30, NOON + 120)
    assert events == [[0.0, "o", "o\r\n"], [60.0, "o", "\x1b[3"], [120.0, "o", "1mfour\r\n"]]


def test_cut() -> None:
    mark = LogRecord(MARK, 0, 0, 0, b"")
    records = [mark, *(LogRecord(OUTPUT, at, at, at, b"\xe2") for at in range(5))]
    assert list(Span().cut(records)) == records
    assert list(Span(until=2).cut(records)) == records[:4]
    assert list(Span(since=9).cut(records)) == []
    (first,) = Span(since=3, until=3).cut(records)
    assert isinstance(first, LogRecord)
    assert (first.seq, first.payload, first.wall_us) == (2, b"\xe2\xe2", 3)  # the begun character too


class Follower:
    """``toowl logs -f`` in the background."""

    def __init__(self, sandbox: Sandbox, *argv: str) -> None:
        self.path = sandbox.root / "followed"
        with self.path.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "toowl", "logs", "-f", *argv],
                env=sandbox.env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait_for(self, text: str) -> None:
        wait_for(lambda: text.encode() in self.path.read_bytes(), what=f"{text!r}")

    def wait(self) -> int:
        return self.process.wait(20)


@pytest.fixture
def work(sandbox: Sandbox) -> Iterator[str]:
    sandbox.up()
    script = "while printf 'wh%s\\n' at && read x; do printf 'got:%s\\n' $x; done"
    yield sandbox.new("sh", "-c", script, name="work", rows=33, cols=99)["id"]


def test_follow(sandbox: Sandbox, work: str) -> None:
    wait_for(lambda: b"what" in sandbox.output(work), what="the past")
    follower = Follower(sandbox, "work")
    follower.wait_for("what\n")
    sandbox.send("work", b"1\n")
    follower.wait_for("got:1\n")
    assert (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (33, 99)
    sandbox.restart()  # it stays with the session meanwhile
    sandbox.send("work", b"2\n")
    follower.wait_for("got:2\n")
    sandbox.toowl("kill", "work")
    assert follower.wait() == 0
    text = follower.path.read_text()
    assert text.count("got:1") == text.count("got:2") == 1
    assert sandbox.toowl("logs", "work", "-f").stdout == text  # of an ended session: all of it, at once


def test_follow_without_a_daemon(sandbox: Sandbox, work: str) -> None:
    wait_for(lambda: b"what" in sandbox.output(work), what="the past")
    sandbox.kill9()
    follower = Follower(sandbox, "work", "--since", "1h", "--raw")
    follower.wait_for("what\r\n")
    with_keeper = wait_for(lambda: sandbox.custodians().get(work), what="the keeper")
    from toowld.client import Client

    with Client.connect_path(sandbox.paths.custodian_socket(work)) as keeper:
        keeper.request("send", session=work, data=b"3\n")
    follower.wait_for("got:3\r\n")
    follower.process.send_signal(signal.SIGINT)
    assert follower.wait() == 130
    assert with_keeper in sandbox.custodians().values()
    assert LogReader(sandbox.paths.session(work)).end > 0
