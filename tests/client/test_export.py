"""`toowl export`, and `toowl capture` of a log: from a daemon, and from the state folder where none runs."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.scripted import ScriptedDaemon, one_line, record, run, session
from tests.harness import Sandbox, Terminal, wait_for
from toowl.commands import export
from toowld import errors
from toowld.log import MARK, OUTPUT, RESIZE, GapMark, LogRecord, pack
from toowld.log.format import pack_mark, pack_size
from toowld.wire import SEQ_LEAP, Size

T0 = 1_700_000_000_000_000


def mark(seq: int, kind: str, **fields: Any) -> LogRecord:
    return LogRecord(MARK, seq, T0, 0, pack_mark(kind, fields))


def history(*texts: bytes) -> list[LogRecord]:
    """A log: its first mark, then output, a second between each."""
    found = [
        mark(0, "segment", session="2f3a9c1b", rows=24, cols=80, boot="b", format=1),
        mark(0, "start", argv=["bash"]),
    ]
    for number, text in enumerate(texts, 1):
        found.append(LogRecord(OUTPUT, found[-1].end, T0 + number * 10**6, number * 10**6, text))
    return found


def pages(records: list[LogRecord], gap: list[int] | None = None, size: int = 2) -> Any:
    """What the daemon answers to `read_log`: small pages, each begun by the marks before it, as the real one does."""

    def answer(params: dict[str, Any]) -> dict[str, Any]:
        seq = params["seq"]
        page = [item for item in records if item.seq < seq and item.type != OUTPUT][:1]
        following = None
        for item in records:
            if item.seq >= seq or item.end > seq:
                if len(page) >= size and any(taken.type == OUTPUT for taken in page):
                    following = item.seq
                    break
                page.append(item)
        return {
            "records": [[r.type, r.seq, r.wall_us, r.mono_us, r.payload] for r in page],
            "next": following,
            "gap": gap if seq == 0 else None,
        }

    return answer


def store(folder: Path, records: list[LogRecord]) -> None:
    (folder / f"{records[0].seq:020d}.log").write_bytes(b"".join(map(pack, records)))


TEXTS = (b"one\r\n", b"\x1b[31mt\xc3", b"\xa4o\x1b[0m\r\n", b"three\r\n")


@pytest.fixture(params=["daemon", "state folder"])
def source(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Sandbox]:
    """The same session, known to a daemon or found on the disk."""
    records = history(*TEXTS)
    folder = record(
        sandbox, "2f3a9c1b", name="work", argv=["bash", "-l x"], env={"TERM": "xterm", "SECRET": "s3cret"}
    )
    if request.param == "state folder":
        store(folder, records)
        yield sandbox
        return
    answers = {"info": session(name="work", seq=records[-1].end), "read_log": pages(records)}
    with ScriptedDaemon(sandbox.paths.daemon_socket, answers):
        yield sandbox


def test_capture(source: Sandbox) -> None:
    assert run(source, "capture", "work", "--scrollback") == (0, "one\ntäo\nthree\n", "")
    assert run(source, "capture", "2f3", "--lines", "2")[1] == "täo\nthree\n"
    raw = subprocess.run(
        [sys.executable, "-m", "toowl", "capture", "work", "--raw"],
        env=source.env,
        capture_output=True,
        check=True,
    )
    assert raw.stdout == b"".join(TEXTS)
    assert run(source, "capture", "work", "--raw", "--lines", "1")[1] == "three\r\n"


def test_export(source: Sandbox) -> None:
    assert run(source, "export", "work", "-o", "w.cast", "--idle-limit", "2") == (0, "", "")
    path = source.root / "w.cast"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    header, *events = map(json.loads, path.read_text().splitlines())
    assert (header["version"], header["width"], header["height"], header["title"]) == (2, 80, 24, "work")
    assert header["command"] == "bash '-l x'"
    assert header["env"] == {"TERM": "xterm"} and "s3cret" not in path.read_text()
    assert header["idle_time_limit"] == 2
    assert "".join(event[2] for event in events if event[1] == "o") == b"".join(TEXTS).decode()
    # To standard output, in the other format.
    status, out, err = run(source, "export", "-o", "-", "--format", "3", TOOWL_SESSION="2f3a9c1b")
    assert (status, err) == (0, "")
    assert json.loads(out.splitlines()[0])["version"] == 3
    assert sorted(item.name for item in source.root.iterdir() if "cast" in item.name) == ["w.cast"]


def test_export_tells_what_the_recording_lacks() -> None:
    few, unknown, none = (
        GapMark(0, 2048, "dropped"),
        GapMark(5, SEQ_LEAP, "missing"),
        GapMark(9, 9, "damaged"),
    )
    assert export._missing([few, few]) == "4.0 KiB of output are no longer held"
    assert export._missing([unknown, none]) == "some output was lost, nobody knows how much"
    both = "2.0 KiB of output are no longer held and some output was lost, nobody knows how much"
    assert export._missing([few, unknown]) == both
    assert export._missing([none]) == ""


def test_export_replaces_nothing_unasked(source: Sandbox) -> None:
    path = source.root / "w.cast"
    path.write_text("precious")
    status, _, err = run(source, "export", "work", "-o", "w.cast")
    assert status == 4
    assert one_line(err) and "--force" in err and path.read_text() == "precious"
    assert run(source, "export", "work", "-o", "w.cast", "--force") == (0, "", "")
    assert path.read_text().startswith("{")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for special in ("/dev/null", "."):
        status, _, err = run(source, "export", "work", "-o", special, "--force")
        assert status == 4
        assert one_line(err) and "is not a file" in err


def test_export_into_nowhere(source: Sandbox) -> None:
    status, _, err = run(source, "export", "work", "-o", "no/such/folder.cast")
    assert status == 1
    assert one_line(err) and "No such file" in err


def test_marks_are_told_once(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    """Pages overlap in their marks; a recording must not."""
    records = history(b"a", b"b")
    seq = records[-1].end
    records += [
        LogRecord(RESIZE, seq, T0, 0, pack_size(Size(rows=30, cols=90))),
        mark(seq, "exit", reason="exited", code=0, signal=None),
        mark(seq, "respawn", argv=["bash"]),
        LogRecord(OUTPUT, seq, T0 + 9 * 10**6, 9 * 10**6, b"c"),
    ]
    wanted = None
    for size in (99, 5, 4, 3, 2, 1):
        daemon.answers |= {"info": session(seq=seq + 1), "read_log": pages(records, size=size)}
        events = run(sandbox, "export", "x", "-o", "-")[1].splitlines()[1:]
        wanted = wanted or events
        assert events == wanted
    assert wanted is not None and sum("restarted" in event for event in wanted) == 1


def test_truncation_is_told(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    records = [LogRecord(r.type, r.seq + 5000, r.wall_us, r.mono_us, r.payload) for r in history(b"late\r\n")]
    daemon.answers |= {"info": session(name="work", seq=5006), "read_log": pages(records, gap=[0, 5000])}
    status, out, err = run(sandbox, "export", "work", "-o", "-")
    assert status == 0
    assert "4.9 KiB" in err and one_line(err)
    assert "truncated" in out
    status, out, err = run(sandbox, "capture", "work", "--scrollback")
    assert (status, out) == (0, "late\n")
    assert "4.9 KiB" in err


def test_capture_of_little_reads_little(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    records = history(*(b"line %d\r\n" % number * 1000 for number in range(200)))
    daemon.answers |= {"info": session(seq=records[-1].end), "read_log": pages(records, size=5)}
    assert run(sandbox, "capture", "x", "--lines", "3")[1] == "line 199\n" * 3
    assert min(params["seq"] for method, params in daemon.asked if method == "read_log") > records[-1].end - (
        1 << 17
    )
    assert len(run(sandbox, "capture", "x", "--lines", "150000")[1].splitlines()) == 150000


@pytest.mark.parametrize("command", [["capture", "x"], ["export", "x", "-o", "f"]])
def test_unknown_session_without_a_daemon(sandbox: Sandbox, command: list[str]) -> None:
    record(sandbox, "aa000000")
    record(sandbox, "aa000001", name="twin")
    (sandbox.paths.sessions / "aa000002").mkdir()
    (sandbox.paths.sessions / "aa000002" / "record").write_bytes(b"\xff garbage")
    (sandbox.paths.sessions / "stray file").touch()
    for name, hint in (
        ("x", "not found"),
        ("aa", "could be aa000000 or aa000001 or aa000002"),
        ("", "not found"),
    ):
        status, _, err = run(sandbox, *[name if word == "x" else word for word in command])
        assert status == 3
        assert one_line(err) and hint in err
    assert run(sandbox, "capture", "aa000002", "--scrollback") == (
        0,
        "",
        "",
    )  # no record, and nothing printed yet


def test_names_without_a_daemon(sandbox: Sandbox) -> None:
    record(sandbox, "aa000001", name="twin", persistent=True)
    assert run(sandbox, "ls", "--names")[1].startswith("twin\tP ")


def test_export_that_is_ended_leaves_nothing(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    """SIGTERM in the middle: no half recording under the name, none beside it."""
    records = history(b"x" * 1000)

    def endless(params: dict[str, Any]) -> dict[str, Any]:
        r = records[-1]
        return {
            "records": [[r.type, params["seq"], 0, 0, r.payload]],
            "next": params["seq"] + 1000,
            "gap": None,
        }

    daemon.answers |= {"info": session(seq=1 << 40), "read_log": endless}
    terminal: Terminal = sandbox.terminal("toowl", "export", "x", "-o", "w.cast")
    terminal.expect("exporting:")
    assert wait_for(lambda: list(sandbox.root.glob(".w.cast.*.tmp")))
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.wait() == 128 + signal.SIGTERM
    assert not [item for item in sandbox.root.iterdir() if "cast" in item.name]


def test_export_of_a_daemon_that_dies_leaves_nothing(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"info": session(seq=1 << 40), "read_log": errors.ToowlError("the disk is on fire")}
    assert run(sandbox, "export", "x", "-o", "w.cast") == (1, "", "toowl: the disk is on fire\n")
    assert not [item for item in sandbox.root.iterdir() if "cast" in item.name]
