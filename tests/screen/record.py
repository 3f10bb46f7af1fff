"""Makes the recordings in ``recordings/``: real programs at a real PTY. Run it again to have them of other versions.

    python -m tests.screen.record

A recording is an asciicast without times: what happened in between is no matter here, only its order.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from toowld.wire.messages import Size

FOLDER = Path(__file__).parent / "recordings"

Step = str | tuple[int, int] | None  # typed; resized to (rows, cols); None: just wait

_ENV = {
    "TERM": "xterm-256color",
    "LANG": "C.UTF-8",
    "PATH": os.environ["PATH"],
    "COLORTERM": "truecolor",
    "HOME": "/nonexistent",
}
_TEXT = "".join(f"{n}: the quick brown fox — 漢字かな {'x' * (n % 90)}\n" for n in range(200))
_BAR = r"""
import sys, time
for n in range(0, 101, 4):
    done = "\u2588" * (n // 4)
    sys.stdout.write(f"\r\x1b[K\x1b[32m{done:25}\x1b[m {n:3}% \x1b[2mfile-{n}.bin\x1b[m"); sys.stdout.flush()
sys.stdout.write("\r\n\x1b[1mdone\x1b[m\r\n")
"""
_GLYPHS = r"""
print("漢字 かな 한국어 ｗｉｄｅ")
print("e\u0301 n\u0303 👍 🎉 ❤\ufe0f 👨\u200d👩\u200d👧 \U0001f1e9\U0001f1ea")
print("─│┌┐└┘├┤ ▀▄█ ←↑→↓ ✓✗")
print("\x1b[4:3;58:2::255:0:0mcurly\x1b[m \x1b[3;9mboth\x1b[m \x1b]8;;https://example.org/\x1b\\link\x1b]8;;\x1b\\")
print("7" * 100)
"""
_IDLE = "sleep 99 & a=$!; sleep 98 & exec"  # so that there is something to list, and nothing of whoever records this
_PROMPT = r"PS1='\[\e[1;32m\]user@host\[\e[m\]:\w\n\$ '" + "\r"
_FISH = "function fish_prompt; echo -n (set_color green)'user '(set_color normal)'> '; end"
_TMUX = "tmux -L toowl-record"
_VIM = ["vim", "-n", "-u", "NONE", "-N"]
_USUAL = (24, 80)

#: name: (argv, rows and columns, steps). A recording ends in the middle of what the program shows.
PROGRAMS: dict[str, tuple[list[str], tuple[int, int], list[Step]]] = {
    "vim": (
        [*_VIM, "--cmd", "set mouse=a showcmd hlsearch | syntax on", "text.py"],
        _USUAL,
        ["/quick\r", "10Gdd", "ihello wörld 漢字 👍\x1b", ":vsplit\r", "v3j"],
    ),
    "vim-left": (
        ["sh", "-c", f"echo before; {' '.join(_VIM)} text.py; echo after; sleep 9"],
        _USUAL,
        ["G", "o\x1b", ":q!\r", None],
    ),
    "vim-resized": ([*_VIM, "text.py"], _USUAL, ["50G", (30, 100), "zz", (20, 60), None]),
    "less": (["less", "-R", "-S", "text.py"], _USUAL, ["50g", "/fox\r", "\x1b[C"]),
    "htop": (["sh", "-c", f"{_IDLE} htop -d 100 -p $$,$a,$!"], (24, 100), ["M", "t", None]),
    "top": (["sh", "-c", f"{_IDLE} top -d 100 -p $$,$a,$!"], _USUAL, ["1", "z"]),
    "git-log": (
        ["git", "-c", "color.ui=always", "--no-pager", "log", "--graph", "--oneline", "-60"],
        _USUAL,
        [None],
    ),
    "git-diff-less": (
        ["sh", "-c", "git -c color.ui=always log -p -3 | less -R"],
        _USUAL,
        ["\x1b[6~", "\x1b[6~"],
    ),
    "progress": ([sys.executable, "-c", _BAR], _USUAL, [None]),
    "glyphs": ([sys.executable, "-c", _GLYPHS], (12, 60), [None]),
    "bash": (
        ["bash", "--norc", "--noprofile"],
        _USUAL,
        [
            _PROMPT,
            "ls --color=always /usr\r",
            "echo \x1b[A\x1b[D\x15echo a long line " + "that wraps " * 9 + "\r",
            "cat missing",
            (24, 50),
            None,
        ],
    ),
    "fish": (
        ["fish", "--no-config", "--private", "-C", _FISH],
        _USUAL,
        ["set -g fish_greeting\r", "echo 漢字 | string upper\r", "ls /us", None],
    ),
    "tmux": (
        [
            "sh",
            "-c",
            f"{_TMUX} -f /dev/null new -d sh; {_TMUX} set -g status-right ''; "
            f"{_TMUX} set -g default-command sh; {_TMUX} attach",
        ],
        _USUAL,
        ["\x02%", "echo split\r", '\x02"', "seq 30\r", "\x02:kill-server"],
    ),
}


def record(name: str, folder: Path) -> list[list[object]]:
    """Run a program through its steps, and note what it printed."""
    argv, (rows, cols), steps = PROGRAMS[name]
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir("." if argv[0] == "git" or "git" in argv[-1] else folder)
        os.execvpe(argv[0], argv, _ENV)
    events: list[list[object]] = [["r", rows, cols]]
    _resize(fd, rows, cols)
    data = b"".join(_output(fd))
    for step in steps:
        if isinstance(step, str):
            os.write(fd, step.encode())
        elif step is not None:
            events.append(["o", data.decode("utf-8", "surrogateescape")])
            events.append(["r", *step])
            data = b""
            _resize(fd, *step)
        data += b"".join(_output(fd))
    events.append(["o", data.decode("utf-8", "surrogateescape")])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(fd)
    return events


def _output(fd: int) -> Iterator[bytes]:
    """What comes until nothing more does."""
    deadline = time.monotonic() + 4
    while select.select([fd], [], [], 0.7)[0] and time.monotonic() < deadline:
        try:
            data = os.read(fd, 65536)
        except OSError:  # the program has ended
            return
        _answer(fd, data)
        yield data


def _answer(fd: int, data: bytes) -> None:
    """Programs ask what terminal this is, and some wait for the answer."""
    if b"\x1b[c" in data:
        os.write(fd, b"\x1b[?62;22c")
    if b"\x1b[6n" in data:
        os.write(fd, b"\x1b[1;1R")


def _resize(fd: int, rows: int, cols: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def load(name: str) -> Iterator[Size | bytes]:
    """A recording: sizes and output, in their order."""
    for line in (FOLDER / f"{name}.jsonl").read_text("utf-8", "surrogateescape").splitlines():
        kind, *rest = json.loads(line)
        if kind == "r":
            yield Size(rows=rest[0], cols=rest[1])
        else:
            yield rest[0].encode("utf-8", "surrogateescape")


def main() -> None:
    """Record what is named, or all."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "text.py").write_text(_TEXT)
        for name in sys.argv[1:] or PROGRAMS:
            events = record(name, Path(folder))
            lines = "".join(json.dumps(event) + "\n" for event in events)
            (FOLDER / f"{name}.jsonl").write_text(lines)
            print(name, len(lines))


if __name__ == "__main__":
    main()
