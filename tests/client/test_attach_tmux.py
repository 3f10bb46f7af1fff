"""What `Modes` believes, against what a real terminal has: attach runs in tmux, which tells its state."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toowld import wire

_PATIENCE = 20.0
_DRIVER = Path(__file__).with_name("attach_driver.py")

#: What tmux can tell of a pane, and its state in a fresh one.
_FORMAT = (
    "#{alternate_on} #{mouse_any_flag} #{mouse_sgr_flag} #{cursor_flag} #{keypad_flag} #{keypad_cursor_flag} "
    "#{insert_flag} #{origin_flag} #{wrap_flag} #{scroll_region_upper} #{scroll_region_lower}"
)

_EVERYTHING = (
    b"\x1b[?1049h\x1b[?1003h\x1b[?1002h\x1b[?1006h\x1b[?25l\x1b=\x1b[?1h\x1b[4h\x1b[3;10r\x1b[?7l"
    b"\x1b[?2004h\x1b[1;31m\x1b(0"
)


class Tmux:
    def __init__(self, folder: Path) -> None:
        self.socket = folder / "tmux"

    def run(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *arguments]
        env = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}
        env |= {"PYTHONPATH": str(_DRIVER.parents[2]), "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    def state(self) -> str:
        return self.run("display-message", "-p", "-t", "0", _FORMAT).strip()

    def text(self) -> str:
        return self.run("capture-pane", "-p", "-e", "-t", "0")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tw") as name:
        yield Path(name)


@pytest.fixture
def tmux(folder: Path) -> Iterator[Tmux]:
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    made = Tmux(folder)
    made.run("new-session", "-d", "-x", "80", "-y", "24", "env", "PS1=prompt:", "sh")
    yield made
    made.run("kill-server")


def wait_until(condition: Callable[[], bool], last: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain; at last {last()!r}"
        select.select([], [], [], 0.02)


def test_a_real_terminal_is_as_before(tmux: Tmux, folder: Path) -> None:
    wait_until(lambda: "prompt:" in tmux.text(), tmux.text)
    fresh = tmux.state()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(_PATIENCE)
        listener.bind(str(folder / "s"))
        listener.listen()
        tmux.run("send-keys", "-t", "0", f"{sys.executable} {_DRIVER} {folder}/s", "Enter")
        session, _ = listener.accept()
    with session:
        session.settimeout(_PATIENCE)
        for message in (wire.Hello(), wire.Attached(0, 0, 0, {"name": "work"})):
            session.sendall(wire.encode(message))
        session.sendall(wire.encode(wire.Output(0, _EVERYTHING + b"full screen")))
        wait_until(lambda: tmux.state().startswith("1 1 1 0 1 1 1 0 0 2 9"), tmux.state)
        tmux.run("send-keys", "-t", "0", "C-\\", "d")
        wait_until(lambda: "[detached from work]" in tmux.text(), tmux.text)
        wait_until(lambda: tmux.state() == fresh, tmux.state)
    tmux.run("send-keys", "-t", "0", "echo he''llo", "Enter")
    wait_until(lambda: "hello\n" in tmux.text(), tmux.text)  # no colour, no line drawing characters


class Breaking:
    """A session in tmux whose connection breaks when the test says so."""

    def __init__(self, tmux: Tmux, folder: Path) -> None:
        self.tmux = tmux
        self.seq = 0
        self._path = folder / "toowld.sock"
        self._listen()
        tmux.run(
            "send-keys", "-t", "0", f"clear; exec {sys.executable} {_DRIVER} {self._path} again", "Enter"
        )
        self.accept()

    def _listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(_PATIENCE)
        self._listener.bind(str(self._path))
        self._listener.listen()

    def accept(self) -> wire.Request:
        self._session, _ = self._listener.accept()
        self._session.settimeout(_PATIENCE)
        self._session.sendall(wire.encode(wire.Hello()))
        decoder = wire.FrameDecoder()
        while True:
            decoder.feed(self._session.recv(65536))
            for message in decoder.messages():
                if isinstance(message, wire.Request):
                    about = {"id": "2f3a9c1b", "name": "work"}
                    self._session.sendall(wire.encode(wire.Attached(self.seq, self.seq, 0, about)))
                    return message

    def print(self, data: bytes, wanted: str = "") -> None:
        self._session.sendall(wire.encode(wire.Output(self.seq, data)))
        self.seq += len(data)
        if wanted:
            wait_until(lambda: wanted in self.tmux.text(), self.tmux.text)

    def breaks(self) -> None:
        """Nobody answers any more."""
        self._listener.close()
        self._path.unlink()
        self._session.close()
        wait_until(lambda: "reconnecting…" in self.tmux.text(), self.tmux.text)

    def returns(self) -> wire.Request:
        self._listen()
        request = self.accept()
        wait_until(lambda: "reconnecting…" not in self.tmux.text(), self.tmux.text)
        return request

    def close(self) -> None:
        self._session.close()
        self._listener.close()


@pytest.fixture
def breaking(tmux: Tmux, folder: Path) -> Iterator[Breaking]:
    wait_until(lambda: "prompt:" in tmux.text(), tmux.text)
    tmux.run("set-option", "-g", "remain-on-exit", "on")
    made = Breaking(tmux, folder)
    yield made
    made.close()


@pytest.mark.parametrize("lines", [5, 100], ids=["room below the cursor", "cursor on the last line"])
def test_a_shell_is_not_disturbed_by_the_banner(breaking: Breaking, tmux: Tmux, lines: int) -> None:
    text = b"\x1b[H\x1b[2J" + b"".join(b"line %d\r\n" % number for number in range(lines))
    breaking.print(text + b"\x1b[1;32muser@host\x1b[33m $ echo un", "echo un")
    before = tmux.text().rstrip("\n")
    breaking.breaks()
    assert "user@host" in tmux.text()
    breaking.returns()
    after = tmux.text().rstrip("\n")
    # On the last line of the screen there is no place: all moves up by a line, as if one more was printed.
    assert after == (before if lines == 5 else before.partition("\n")[2])
    breaking.print(b"broken", "echo unbroken")
    breaking.breaks()
    breaking.returns()
    breaking.print(b"\r\nmore\x1b[m", "more")
    wait_until(lambda: tmux.text().rstrip().endswith("echo unbroken\nmore"), tmux.text)


def test_a_full_screen_is_asked_to_redraw_after_the_banner(breaking: Breaking, tmux: Tmux) -> None:
    breaking.print(b"\x1b[?1049h\x1b[?6h\x1b[2;20r\x1b(0\x1b[31m\x1b[5;7Htext", "text")
    before, state = tmux.text().split("\n"), tmux.state()
    breaking.breaks()
    assert tmux.text().split("\n")[:20] == before[:20]
    assert breaking.returns().params["redraw"] is True
    assert (tmux.text().split("\n"), tmux.state()) == (before, state)
    breaking.print(b"qqq")
    wait_until(
        lambda: "\x1b[31m\x0etextqqq" in tmux.text(), tmux.text
    )  # tmux's way to say: red, line drawing


@pytest.mark.parametrize(
    ("begun", "rest", "wanted"),
    [
        (b"\x1b[3", b"1mred", "\x1b[31mred"),
        (b"\x1b]2;a tit", b"le\x07after", "after"),
        (b"caf\xc3", b"\xa9", "é"),
    ],
    ids=["control sequence", "string", "character"],
)
def test_what_was_cut_in_the_middle_is_whole_in_the_end(
    breaking: Breaking, tmux: Tmux, begun: bytes, rest: bytes, wanted: str
) -> None:
    breaking.print(b"\x1b[H\x1b[2Jhere: ", "here:")
    breaking.print(begun)
    breaking.breaks()
    breaking.returns()
    breaking.print(rest, wanted)
    assert "tit" not in tmux.text()
    if b"title" in begun + rest:
        assert tmux.run("display-message", "-p", "-t", "0", "#{pane_title}").strip() == "a title"
