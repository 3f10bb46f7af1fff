"""`toowl info`: all that is known of a session, in words and safe to show. The daemon is scripted."""

from __future__ import annotations

import json

import pytest

from tests.client.scripted import ScriptedDaemon, run, session
from tests.harness import Sandbox


def test_info(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    client = {
        "client": 3,
        "tty": "/dev/pts/7",
        "rows": 40,
        "cols": 120,
        "pid": 99,
        "read_only": True,
        "since": 0.0,
    }
    daemon.answers["info"] = {
        **session(name="w\x07", clients=1, sentence="it survives"),
        "client_list": [client],
        "log_dir": "/s/2f3a9c1b",
    }
    text = run(sandbox, "info", "w")[1]
    for wanted in (
        "2f3a9c1b",
        "w\\x07",
        "P detached",
        "survives",
        "/srv",
        "4711",
        "80x24",
        "/dev/pts/7",
        "120x40",
        "viewer",
    ):
        assert wanted in text
    assert json.loads(run(sandbox, "info", "w", "--json")[1])["client_list"] == [client]


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [
        (None, ""),
        (1.0, ""),
        (100.0, "; at the 100 B/s of late, that holds the last 7d"),
        (1024.0, "; at the 1.0 KiB/s of late, that holds the last 18h"),
        (10240.0, "; at the 10.0 KiB/s of late, that holds the last 1h"),
        (102400.0, "; at the 100.0 KiB/s of late, that holds the last 10m"),
    ],
)
def test_info_tells_how_far_the_scrollback_reaches(
    sandbox: Sandbox, daemon: ScriptedDaemon, rate: float | None, wanted: str
) -> None:
    """D5."""
    record = {"scrollback_bytes": 64 << 20}
    daemon.answers["info"] = session(log_bytes=16 << 20, log_rate=rate, record=record)
    text = run(sandbox, "info", "x")[1].replace("\r\n", "\n")
    assert f"16.0 MiB of 64.0 MiB (25 %){wanted}\n" in text


def test_info_tells_whose_size_it_is(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["info"] = session(rows=40, cols=120, record={"size_policy": "latest"})
    assert "120x40, of the terminal used last" in run(sandbox, "info", "x")[1]
    daemon.answers["info"] = session(rows=40, cols=120, record={"size_policy": "smallest"})
    assert "used last" not in run(sandbox, "info", "x")[1]


def test_info_explains_the_state(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    """With what the daemon says of it, safely shown; an older one says nothing."""
    daemon.answers["info"] = session(sentence="it sl\x1beeps", error="no such program")
    text = run(sandbox, "info", "x")[1]
    assert "P detached\n                   it sl\\x1beeps\n" in text and "no such program" in text
    daemon.answers["info"] = session()
    assert "P detached\ncommand" in run(sandbox, "info", "x")[1]
