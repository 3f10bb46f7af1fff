"""`toowl ls`: the table, the JSON, the short way to the daemon, and what is loaded for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.scripted import ScriptedDaemon, session
from tests.harness import Sandbox
from toowl.commands import _quick, _text, ls
from toowld import __version__, errors, wire


def test_columns(sandbox: Sandbox) -> None:
    home = sandbox.env["HOME"]
    now = time.time()
    sessions = [
        session(
            name="work",
            cwd=home + "/src",
            command="vim notes",
            last_active_at=now - 3,
            clients=2,
            display="attached",
        ),
        session("91be0000", persistent=False, display="detached", last_active_at=now - 3600 * 5, cwd=home),
        session(
            "0000aaaa", state="ended", display="ended (exited 7)", last_active_at=now - 86400 * 4, cwd=None
        ),
        session("0000bbbb", display="unreachable", state="unreachable", last_active_at=now + 99),
    ]
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": sessions}}):
        lines = sandbox.toowl("ls").stdout.splitlines()
    cells = [re.split(r"  +", line) for line in lines]
    assert cells[0] == ["ID", "NAME", "STATUS", "CLIENTS", "ACTIVE", "CWD", "COMMAND"]
    assert cells[1] == ["2f3a9c1b", "work", "P attached", "2", "3s", "~/src", "vim notes"]
    assert cells[2] == ["91be0000", "-", "- detached", "0", "5h", "~", "bash"]
    assert cells[3] == ["0000aaaa", "-", "P ended (exited 7)", "0", "4d", "-", "bash"]
    assert cells[4][2:5] == ["P unreachable", "0", "0s"]
    starts = {
        line.index(cell)
        for line, cell in zip(lines, ["STATUS", "P att", "- det", "P end", "P unr"], strict=True)
    }
    assert len(starts) == 1  # aligned


def test_the_table_is_made_of_what_is_asked_for() -> None:
    used = set()

    class Noted(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            used.add(key)
            return super().get(key, default)

        def __getitem__(self, key: str) -> Any:
            used.add(key)
            return super().__getitem__(key)

    ls._lines([Noted(session(custodian_version="0.0.1", glyph="*"))], 200)
    assert used == set(ls._COLUMNS)


def test_a_list_of_what_is_asked_for(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("/bin/cat", name="cat")
    with sandbox.client() as client:
        listed = client.request("list", fields=["name", "id", "of a later version"])["sessions"]
    assert listed == [{"name": "cat", "id": info["id"]}]


def test_empty_has_a_header_and_a_hint(sandbox: Sandbox) -> None:
    with ScriptedDaemon(sandbox.paths.daemon_socket):
        done = sandbox.toowl("ls")
        assert sandbox.toowl("ls", "--json").stdout == "[]\n"
    assert done.stdout.split() == ["ID", "NAME", "STATUS", "CLIENTS", "ACTIVE", "CWD", "COMMAND"]
    assert "toowl new" in done.stderr


def test_hostile_text_reaches_no_terminal(sandbox: Sandbox) -> None:
    evil = session(
        name="a\x1b]0;owned\x07\nb", cwd="/tmp/\u202egpj.exe", command=b"\xff\xfe \x9b31m", display="x\ry"
    )
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": [evil]}}):
        table = sandbox.toowl("ls").stdout
        as_json = sandbox.toowl("ls", "--json").stdout
        names = sandbox.toowl("ls", "--names").stdout
    _header, row = table.splitlines()
    assert row.isprintable() and r"a\x1b]0;owned\x07\nb" in row and r"\u202e" in row and r"\xff\xfe" in row
    assert json.loads(as_json)[0]["name"] == evil["name"]
    assert as_json.isascii()
    assert names.startswith("2f3a9c1b\t")  # its name can't be typed, so its id stands for it


@pytest.mark.parametrize("cols", [200, 80, 60, 30])
def test_fits_the_terminal(sandbox: Sandbox, cols: int) -> None:
    sessions = [
        session(name="日本語の名前", cwd="/very/long/folder/" * 6 + "end", command="make " * 30),
        session("91be0000", name="e\u0301" * 5, command="b"),
    ]
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": sessions}}):
        terminal = sandbox.terminal("toowl", "ls", cols=cols)
        assert terminal.wait() == 0
    lines = terminal.text.splitlines()
    assert len(lines) == 3
    assert all(_text.width(line) <= cols for line in lines)
    if cols >= 80:
        assert "end" in lines[1] and "…" in lines[1]  # of a folder the end says more


def test_json_is_what_the_daemon_says(sandbox: Sandbox) -> None:
    sessions = [session(name="work"), session("91be0000")]
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": sessions}}):
        assert json.loads(sandbox.toowl("ls", "--json").stdout) == sessions


def test_names_for_completion(sandbox: Sandbox) -> None:
    sessions = [session(name="work"), session("91be0000"), session("91bf0000", name="build")]
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": sessions}}):
        asked = {word: sandbox.toowl("ls", "--names", word).stdout for word in ("", "w", "91b", "2f")}
    words = {word: [line.split("\t")[0] for line in text.splitlines()] for word, text in asked.items()}
    assert words == {
        "": ["work", "91be0000", "build"],
        "w": ["work"],
        "91b": ["91be0000", "91bf0000"],
        "2f": ["2f3a9c1b"],
    }
    assert "P detached, bash" in asked[""]


def test_names_without_a_daemon(sandbox: Sandbox) -> None:
    done = sandbox.toowl("ls", "--names")
    assert (done.stdout, done.stderr) == ("", "")


def test_no_daemon(sandbox: Sandbox) -> None:
    done = sandbox.toowl("ls", check=False)
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert str(sandbox.paths.daemon_socket) in line and "toowld --detach" in line and "toowld doctor" in line


@pytest.mark.parametrize("argv", [["--nonsense"], ["work"], ["--json", "x"]])
def test_mistakes(sandbox: Sandbox, argv: list[str]) -> None:
    done = sandbox.toowl("ls", *argv, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "toowl ls --help" in done.stderr


def test_a_failure_is_told(sandbox: Sandbox) -> None:
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": errors.RefusedError("not now")}):
        done = sandbox.toowl("ls", check=False)
    assert (done.returncode, done.stderr) == (4, "toowl: not now\n")


def test_reader_that_goes_away(sandbox: Sandbox) -> None:
    sessions = [session(f"{number:08x}") for number in range(3000)]
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": sessions}}):
        process = subprocess.Popen(
            [sys.executable, "-m", "toowl", "ls"],
            env=sandbox.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(20) == 141


def test_full_disk(sandbox: Sandbox) -> None:
    with ScriptedDaemon(sandbox.paths.daemon_socket), open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "toowl", "ls"],
            env=sandbox.env,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1:] == [
        b"toowl: can't write what there is to say: No space left on device: send the output elsewhere"
    ]


# -- the short way ----------------------------------------------------------------------------------------


def test_frames_are_those_of_the_wire() -> None:
    about = {"role": "client", "build": __version__, "pid": 1}
    assert _quick.frame([0, 1, 1, about]) == wire.encode(wire.Hello(1, 1, about))
    assert _quick.frame([16, 1, "list", {}]) == wire.encode(wire.Request(1, "list", {}))
    assert (_quick._HELLO, _quick._REQUEST, _quick._RESPONSE) == (
        wire.Hello.TAG,
        wire.Request.TAG,
        wire.Response.TAG,
    )
    assert wire.VERSION_MIN <= _quick._VERSION <= wire.VERSION_MAX


_SCALARS = st.none() | st.booleans() | st.integers(0, (1 << 32) - 1) | st.text(max_size=300)


@given(st.dictionaries(st.text(), _SCALARS | st.lists(_SCALARS, max_size=30), max_size=30))
def test_what_is_asked_is_written_as_the_wire_does(params: dict[str, Any]) -> None:
    assert _quick.frame([16, 1, "screen", params]) == wire.encode(wire.Request(1, "screen", params))


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400\r\n\r\n",
        b"\0\0\0\0",
        wire.encode(wire.Pong(1)),
        wire.encode(wire.Hello(9, 9)),
        wire.encode(wire.Response(1, {})),
        wire.encode(wire.Hello()) + _quick.frame([17, 1, "x"]),
        wire.encode(wire.Hello()) + _quick.frame([17]),
        wire.encode(wire.Hello()) + b"\0\0\0\1\xff",
        b"",
    ],
)
def test_nonsense_is_left_to_the_long_way(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, reply: bytes
) -> None:
    import socket
    import threading

    monkeypatch.setenv("TOOWL_RUNTIME_DIR", str(sandbox.paths.runtime))
    sandbox.paths.runtime.mkdir()

    def talk() -> None:
        link, _ = listener.accept()
        with link:
            link.sendall(reply)
            link.shutdown(socket.SHUT_WR)
            while link.recv(1 << 16):
                pass

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sandbox.paths.daemon_socket))
        listener.listen()
        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(_quick.Unusable):
            _quick.ask("list")
        thread.join(10)


# -- what it costs ----------------------------------------------------------------------------------------


def _modules(*argv: str) -> set[str]:
    code = f"import sys\nfrom toowl.cli import main\nmain({list(argv)!r})\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    return set(done.stdout.splitlines()[-1].split())


def test_imports_little(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sandbox.env.items():
        monkeypatch.setenv(name, value)
    with ScriptedDaemon(sandbox.paths.daemon_socket, {"list": {"sessions": [session()]}}):
        loaded = _modules("ls")
        with_json = _modules("ls", "--json")
    heavy = {
        "argparse",
        "asyncio",
        "contextlib",
        "dataclasses",
        "enum",
        "functools",
        "inspect",
        "pathlib",
        "re",
        "shutil",
        "socket",
        "subprocess",
        "toowld.wire",
        "typing",
    }
    assert not heavy & loaded
    assert "json" not in loaded and "json" in with_json
