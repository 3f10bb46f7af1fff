"""What each command asks of the daemon, and what it makes of the answer. The daemon is scripted."""

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

import cbor2
import pytest

from tests.client.scripted import ScriptedDaemon, session
from tests.harness import Sandbox, Terminal, wait_for
from toowl.commands import attach, export
from toowl.commands._keynames import key_bytes
from toowld import errors
from toowld.log import MARK, OUTPUT, RESIZE, GapMark, LogRecord, pack
from toowld.log.format import pack_mark, pack_size
from toowld.wire import SEQ_LEAP, Size


@pytest.fixture
def daemon(sandbox: Sandbox) -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon(sandbox.paths.daemon_socket) as scripted:
        yield scripted


def run(sandbox: Sandbox, *argv: str, **options: Any) -> tuple[int, str, str]:
    done = sandbox.toowl(*argv, check=False, **options)
    return done.returncode, done.stdout, done.stderr


def one_line(text: str) -> bool:
    return text.startswith("toowl: ") and text.count("\n") == 1


# -- new --------------------------------------------------------------------------------------------------


def test_new_detached(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["new"] = {**session(), "notices": ['the name "work" is taken: it is called work-1']}
    argv = [
        "new",
        "-d",
        "-n",
        " work ",
        "--cwd",
        "sub/../x",
        "--env",
        "A=b=c",
        "--persistent",
        "--",
        "sh",
        "-c",
        "--",
        "x y",
    ]
    status, out, err = run(
        sandbox, *argv, KEEP="me", NOTIFY_SOCKET="/x", LISTEN_FDS="1", WATCHDOG_PID="1", TOOWL_SESSION="z"
    )
    assert (status, out) == (0, "2f3a9c1b\n")
    assert err == 'toowl: the name "work" is taken: it is called work-1\n'
    params = daemon.params("new")
    assert params["argv"] == ["sh", "-c", "--", "x y"]
    assert params["name"] == "work"
    assert params["cwd"] == str(sandbox.root / "x")
    assert params["persistent"] is True
    assert (params["rows"], params["cols"]) == (24, 80)
    env = params["env"]
    assert env["KEEP"] == "me" and env["A"] == "b=c" and env["LANG"] == sandbox.env["LANG"]
    assert not [name for name in env if name.startswith(("TOOWL", "NOTIFY", "LISTEN", "WATCHDOG"))]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {"argv": None, "name": None, "persistent": None, "size_policy": None}),
        (["--size", "latest"], {"size_policy": "latest"}),
        (["-n", "  ", "--standard"], {"name": None, "persistent": False}),
    ],
)
def test_new_defaults(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], expected: dict[str, Any]
) -> None:
    daemon.answers["new"] = {**session(), "notices": []}
    assert run(sandbox, "new", "-d", *argv) == (0, "2f3a9c1b\n", "")
    assert expected.items() <= daemon.params("new").items()
    assert daemon.params("new")["cwd"] == str(sandbox.root)


def test_new_passes_bytes_that_are_not_utf8(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["new"] = {**session(), "notices": []}
    env = {**{os.fsencode(k): os.fsencode(v) for k, v in sandbox.env.items()}, b"ODD": b"\xff"}
    subprocess.run(
        [sys.executable, "-m", "toowl", "new", "-d", "--", b"\xfe"], env=env, check=True, capture_output=True
    )
    assert daemon.params("new")["env"]["ODD"] == b"\xff"
    assert daemon.params("new")["argv"] == [b"\xfe"]


def test_new_keeps_the_links_of_the_folder(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["new"] = {**session(), "notices": []}
    (sandbox.root / "link").symlink_to(sandbox.home)
    subprocess.run(
        ["sh", "-c", f"cd link && exec {sys.executable} -m toowl new -d"],
        env=sandbox.env, cwd=sandbox.root, check=True, capture_output=True,
    )  # fmt: skip
    assert daemon.params("new")["cwd"] == str(sandbox.root / "link")


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["-d", "vim"], "--"),
        (["-d", "--"], "shell"),
        (["-d", "--", ""], "shell"),
        (["-d", "--env", "A"], "K=V"),
        (["-d", "--env", "=x"], "K=V"),
        (["-d", "--persistent", "--standard"], "not allowed"),
        (["-d", "--size", "120x40"], "smallest"),
        ([], "toowl new -d"),  # no terminal here
    ],
)
def test_new_mistakes(sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], hint: str) -> None:
    status, out, err = run(sandbox, "new", *argv)
    assert (status, out) == (2, "")
    assert one_line(err) and hint in err
    assert daemon.asked == []  # nothing was made


def test_new_in_a_folder_that_is_gone(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    code = "import os, toowl.cli as c; os.mkdir('g'); os.chdir('g'); os.rmdir('../g'); raise SystemExit(c.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "new", "-d"],
        env=sandbox.env,
        cwd=sandbox.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--cwd" in done.stderr and one_line(done.stderr)


# -- attach -----------------------------------------------------------------------------------------------


def at_terminal(sandbox: Sandbox, *argv: str, **env: Any) -> tuple[int, str]:
    """Run at a real terminal: exit status and what it printed."""
    terminal = sandbox.terminal("toowl", *argv, **env)
    status = terminal.wait()
    return status, terminal.text


REFUSED = errors.AttachRefused("refused by the script")  # far enough: what is asked is what is tested here


def test_attach_asks(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["attach"] = REFUSED
    assert at_terminal(sandbox, "a", "work", "--read-only", "--no-replay", "--no-respawn") == (
        4,
        "toowl: refused by the script\r\n",
    )
    params = daemon.params("attach")
    expected = {
        "session": "work",
        "read_only": True,
        "replay": False,
        "respawn": False,
        "from_seq": None,
        "rows": 24,
        "cols": 80,
    }
    assert expected.items() <= params.items()
    assert (
        len(params["client_id"]) >= 16
        and params["term"] == "xterm-256color"
        and params["tty"].startswith("/dev/")
    )


def test_attach_knows_a_plain_command_line_without_its_parser() -> None:
    assert vars(attach.plain("work")) == vars(attach.parser().parse_args(["work"]))


def test_attach_needs_a_terminal(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    status, _, err = run(sandbox, "attach", "work")
    assert status == 2
    assert one_line(err) and "terminal" in err
    assert daemon.asked == []


def test_attach_create(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {
        "attach": REFUSED,
        "info": errors.SessionNotFound("no"),
        "new": {**session(), "notices": []},
    }
    assert at_terminal(sandbox, "attach", "work", "--create")[0] == 4
    assert [method for method, _ in daemon.asked] == ["info", "new", "attach"]
    assert daemon.params("new")["name"] == "work"
    assert daemon.params("attach")["session"] == "2f3a9c1b"


def test_attach_create_of_one_that_exists(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"attach": REFUSED, "info": session(name="work")}
    assert at_terminal(sandbox, "attach", "work", "--create")[0] == 4
    assert [method for method, _ in daemon.asked] == ["info", "attach"]


def test_attach_refuses_itself(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"attach": REFUSED, "info": session(name="work")}
    status, text = at_terminal(sandbox, "attach", "work", TOOWL_SESSION="2f3a9c1b")
    assert status == 4
    assert "inside" in text and "loop" in text and text.count("\n") == 1
    assert [method for method, _ in daemon.asked] == ["info"]
    assert "refused by" in at_terminal(sandbox, "attach", "work", TOOWL_SESSION="00000000")[1]


def record(sandbox: Sandbox, session_id: str, **values: Any) -> Path:
    folder = sandbox.paths.session(session_id)
    folder.mkdir(parents=True)
    (folder / "record").write_bytes(cbor2.dumps({"form": 1, "id": session_id, **values}))
    return folder


@pytest.mark.parametrize("name", ["work", "2f3a9c1b", "2f"])
def test_attach_without_a_daemon(sandbox: Sandbox, name: str) -> None:
    record(sandbox, "2f3a9c1b", name="work")
    record(sandbox, "91be0000", name=None)
    with ScriptedDaemon(
        sandbox.paths.custodian_socket("2f3a9c1b"), {"attach": REFUSED}, role="custodian"
    ) as keeper:
        status, text = at_terminal(sandbox, "attach", name)
    assert status == 4
    assert "no daemon answers" in text and "refused by the script" in text
    assert [method for method, _ in keeper.asked] == ["attach"]


@pytest.mark.parametrize("name", ["nobody", "91be0000"])
def test_attach_without_anybody(sandbox: Sandbox, name: str) -> None:
    record(sandbox, "91be0000")
    status, text = at_terminal(sandbox, "attach", name)
    assert status == 5
    assert "toowld --detach" in text


# -- plain toowl ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sessions", "chosen"),
    [
        ([session("0000000a", last_active_at=5.0), session("0000000b", last_active_at=9.0)], "0000000b"),
        ([session("0000000a", clients=1), session("0000000b", last_active_at=1.0)], "0000000b"),
        ([session("0000000a", state="ended"), session("0000000b", state="unreachable")], None),
        ([session("0000000c")], None),  # the one that we are in
        ([], None),
    ],
)
def test_plain(
    sandbox: Sandbox, daemon: ScriptedDaemon, sessions: list[dict[str, Any]], chosen: str | None
) -> None:
    daemon.answers |= {"list": {"sessions": sessions}, "attach": REFUSED, "new": {**session(), "notices": []}}
    assert at_terminal(sandbox, TOOWL_SESSION="0000000c")[0] == 4
    assert [method for method, _ in daemon.asked] == ["list", *([] if chosen else ["new"]), "attach"]
    assert daemon.params("attach")["session"] == (chosen or "2f3a9c1b")


@pytest.mark.parametrize(
    ("sessions", "chosen"),
    [
        ([session("0000000a", last_active_at=5.0), session("0000000b", last_active_at=9.0)], "0000000b"),
        ([session("0000000a", clients=1), session("0000000b", state="ended")], None),
    ],
)
def test_attach_without_a_session_means_the_one_that_was_left_last(
    sandbox: Sandbox, daemon: ScriptedDaemon, sessions: list[dict[str, Any]], chosen: str | None
) -> None:
    """As tmux has it; it makes none."""
    daemon.answers |= {"list": {"sessions": sessions}, "attach": REFUSED}
    status, text = at_terminal(sandbox, "a")
    if chosen:
        assert status == 4
        assert daemon.params("attach")["session"] == chosen
    else:
        assert status == 3
        assert "nobody has left a session that runs" in text and "toowl new" in text
        assert [method for method, _ in daemon.asked] == ["list"]


def test_attach_creates_only_by_name(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    status, text = at_terminal(sandbox, "attach", "--create")
    assert status == 2
    assert "--create needs the name" in text
    assert daemon.asked == []


def test_plain_needs_a_terminal(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    status, _, err = run(sandbox)
    assert status == 2
    assert "toowl ls" in err


# -- the simple ones --------------------------------------------------------------------------------------

ASKED = [
    (["rename", "x", "new name"], "rename", {"session": "x", "name": "new name"}),
    (["tag", "x", "a=b=c", "d="], "tag", {"session": "x", "tags": {"a": "b=c", "d": None}}),
    (["set", "x", "size=latest", "persistent="], "set",
     {"session": "x", "settings": {"size": "latest", "persistent": None}}),
    (["detach", "x", "--all"], "detach", {"session": "x", "client": None, "all": True}),
    (["detach", "x", "--client", "3"], "detach", {"session": "x", "client": 3, "all": False}),
    (["kill", "x"], "kill", {"session": "x", "force": False}),
    (["kill", "--force", "x"], "kill", {"session": "x", "force": True}),
    (["rm", "x"], "remove", {"session": "x"}),
    (["restart", "x", "--yes"], "restart", {"session": "x", "persistent": None, "force": False}),
    (["restart", "x", "--yes", "--standard"], "restart", {"session": "x", "persistent": False, "force": False}),
    (["restart", "--force", "x", "--yes"], "restart", {"session": "x", "persistent": None, "force": True}),
    (["resize", "x", "120x40"], "resize", {"session": "x", "rows": 40, "cols": 120}),
    (["send", "x", "make", "test"], "send", {"session": "x", "data": b"make test\r"}),
    (["send", "x", "--no-enter", "a  b"], "send", {"session": "x", "data": b"a  b"}),
    (["send", "x"], "send", {"session": "x", "data": b"\r"}),
    (["send", "x", "--", "-v", "--keys"], "send", {"session": "x", "data": b"-v --keys\r"}),
    (["send", "x", "--keys", "C-c", "Up", "Enter"], "send", {"session": "x", "data": b"\x03\x1b[A\r"}),
    (["send", "--keys", "x", "-"], "send", {"session": "x", "data": b"-"}),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "method", "params"), ASKED, ids=[" ".join(row[0]) for row in ASKED])
def test_asks(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], method: str, params: dict[str, Any]
) -> None:
    daemon.answers[method] = {**session(), "notices": [], "detached": 1}
    assert run(sandbox, *argv) == (0, "", "")
    assert daemon.asked == [(method, params)]


INSIDE = [
    (["info"], "info", {"session": "2f3a9c1b"}),
    (["detach", "--all"], "detach", {"session": "2f3a9c1b"}),
    (["kill"], "kill", {"session": "2f3a9c1b"}),
    (["rename", "me"], "rename", {"session": "2f3a9c1b", "name": "me"}),
    (["set", "size=latest"], "set", {"session": "2f3a9c1b", "settings": {"size": "latest"}}),
    (["tag", "a=1"], "tag", {"session": "2f3a9c1b", "tags": {"a": "1"}}),
]


@pytest.mark.parametrize(("argv", "method", "params"), INSIDE, ids=[" ".join(row[0]) for row in INSIDE])
def test_inside_a_session(
    sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str], method: str, params: dict[str, Any]
) -> None:
    daemon.answers[method] = {**session(), "notices": [], "detached": 1}
    assert run(sandbox, *argv, TOOWL_SESSION="2f3a9c1b")[0] == 0
    assert params.items() <= daemon.params(method).items()
    status, _, err = run(sandbox, *argv)
    assert status == 2
    assert "which session" in err and one_line(err)


MISTAKES = [
    ["rename", "a", "b", "c"], ["rename"], ["tag", "x", "y"], ["set", "x", "y"],
    ["config"], ["config", "check", "--session", "x"],
    ["detach", "x", "--all", "--client", "1"],
    ["detach", "x", "--client", "me"],
    ["rm"], ["restart"], ["reconnect"], ["resize", "x"], ["resize", "x", "80"], ["resize", "x", "0x24"],
    ["resize", "x", "80x99999"],
    ["send"], ["send", "x", "--keys"], ["send", "x", "--keys", "Entr"], ["send", "x", "--stdin", "text"],
    ["send", "x", "--no-enter"], ["send", "x", "--stdin", "--keys"], ["send", "x", "-v"],
    ["capture"], ["capture", "x", "--lines", "0"], ["capture", "x", "--lines", "-3"],
    ["capture", "x", "--lines", "many"],
    ["export", "x"], ["export", "x", "-o", "f", "--format", "1"],
    ["export", "x", "-o", "f", "--idle-limit", "0"],
    ["export", "x", "-o", "f", "--idle-limit", "nan"], ["info", "a", "b"], ["info", "x", "--jso"],
    ["version", "x"],
]  # fmt: skip


@pytest.mark.parametrize("argv", MISTAKES, ids=" ".join)
def test_mistakes(sandbox: Sandbox, daemon: ScriptedDaemon, argv: list[str]) -> None:
    status, out, err = run(sandbox, *argv)
    assert (status, out) == (2, "")
    assert one_line(err)
    assert daemon.asked == []


def test_several_are_all_tried(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    def answer(params: dict[str, Any]) -> dict[str, Any]:
        if params["session"] == "gone":
            raise errors.SessionNotFound('session "gone" not found')
        if params["session"] == "busy":
            raise errors.RefusedError('session "busy" will not end')
        return {}

    daemon.answers |= {"kill": answer, "remove": answer}
    for command in ("kill", "rm"):
        daemon.asked.clear()
        status, out, err = run(sandbox, command, "a", "gone", "b", "busy", "a")
        assert (status, out) == (3, "")
        assert err == 'toowl: session "gone" not found\ntoowl: session "busy" will not end\n'
        assert [params["session"] for _, params in daemon.asked] == ["a", "gone", "b", "busy"]
    assert run(sandbox, "rm", "busy", "gone")[0] == 4


def test_detach_of_nobody(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"detach": {"detached": 0}, "info": {**session(), "client_list": []}}
    for option in ([], ["--all"]):
        status, out, err = run(sandbox, "detach", "x", *option)
        assert (status, out) == (0, "")
        assert "nobody" in err


def test_detach_without_saying_whom(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"detach": {"detached": 1}, "info": {**session(), "client_list": [{"client": 4}]}}
    assert run(sandbox, "detach", "x") == (0, "", "")
    assert daemon.params("detach") == {"session": "x", "client": 4, "all": False}
    daemon.answers["info"] = {**session(name="x"), "client_list": [{"client": 4}, {"client": 5}]}
    status, out, err = run(sandbox, "detach", "x")
    assert (status, out) == (4, "")
    assert one_line(err) and "--client" in err and "--all" in err
    assert daemon.params("detach")["client"] == 4  # asked once only, before


def test_notices_are_told(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["rename"] = {**session(), "notices": ["dev is taken: dev-150623"]}
    assert run(sandbox, "rename", "x", "dev") == (0, "", "toowl: dev is taken: dev-150623\n")


def test_send_stdin(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["send"] = {}
    data = bytes(range(256)) * 1000
    assert run(sandbox, "send", "x", "--stdin", input=data) == (0, "", "")
    pieces = [params["data"] for _, params in daemon.asked]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 1 << 16


def test_send_bytes_that_are_not_utf8(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers["send"] = {}
    subprocess.run([sys.executable, "-m", "toowl", "send", "x", b"\xff\xc3\xa4"], env=sandbox.env, check=True)
    assert daemon.params("send")["data"] == b"\xff\xc3\xa4\r"


# -- restart ----------------------------------------------------------------------------------------------


def test_restart_without_a_terminal_is_refused(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"info": session(name="work"), "restart": {"notices": []}}
    status, _, err = run(sandbox, "restart", "work")
    assert status == 4
    assert one_line(err) and '"work"' in err and "--yes" in err
    assert [method for method, _ in daemon.asked] == ["info"]


def test_restart_of_what_has_ended_needs_no_question(sandbox: Sandbox, daemon: ScriptedDaemon) -> None:
    daemon.answers |= {"info": session(state="ended"), "restart": {"notices": []}}
    assert run(sandbox, "restart", "work") == (0, "", "")


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 4), ("\n", 4), ("\x04", 4)])
def test_restart_asks(sandbox: Sandbox, daemon: ScriptedDaemon, typed: str, status: int) -> None:
    daemon.answers |= {"info": session(name="work", command="vim \x1b[2J"), "restart": {"notices": []}}
    terminal = sandbox.terminal("toowl", "restart", "work")
    terminal.expect("[y/N]")
    terminal.send(typed)
    assert terminal.wait() == status
    assert "vim" in terminal.text and "\x1b" not in terminal.text
    assert ("restart" in [method for method, _ in daemon.asked]) == (status == 0)


# -- info -------------------------------------------------------------------------------------------------


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


# -- capture and export -----------------------------------------------------------------------------------

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


# -- keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Enter", b"\r"), ("enter", b"\r"), ("Tab", b"\t"), ("Escape", b"\x1b"), ("Space", b" "),
        ("BSpace", b"\x7f"),
        ("BTab", b"\x1b[Z"), ("S-Tab", b"\x1b[Z"), ("C-c", b"\x03"), ("^C", b"\x03"), ("C-C", b"\x03"),
        ("C-[", b"\x1b"),
        ("C-\\", b"\x1c"), ("C-Space", b"\0"), ("C-@", b"\0"), ("C-?", b"\x7f"), ("C--", b"\x1f"),
        ("^", b"^"), ("-", b"-"),
        ("M-x", b"\x1bx"), ("C-M-x", b"\x1b\x18"), ("M-Enter", b"\x1b\r"), ("M--", b"\x1b-"),
        ("S-a", b"A"), ("a", b"a"),
        ("ä", "ä".encode()), ("Up", b"\x1b[A"), ("C-Up", b"\x1b[1;5A"), ("S-M-Left", b"\x1b[1;4D"),
        ("Home", b"\x1b[H"),
        ("F1", b"\x1bOP"), ("S-F1", b"\x1b[1;2P"), ("F5", b"\x1b[15~"), ("C-F12", b"\x1b[24;5~"),
        ("F20", b"\x1b[34~"),
        ("DC", b"\x1b[3~"), ("Delete", b"\x1b[3~"), ("PgUp", b"\x1b[5~"), ("NPage", b"\x1b[6~"),
        ("C-BSpace", b"\b"),
    ],
)  # fmt: skip
def test_keys(name: str, sent: bytes) -> None:
    assert key_bytes(name) == sent


@pytest.mark.parametrize(
    "name", ["", "Entr", "F0", "F21", "C-", "C-ä", "C-1", "X-a", "C-Enter", "Hyper-x", "M-"]
)
def test_no_such_key(name: str) -> None:
    with pytest.raises(errors.UsageError):
        key_bytes(name)
