#!/usr/bin/env python3
"""Draw the README's picture from a real run: real toowl, real ``kill -9``, in a real tmux as the terminal.

``docs/picture.py`` writes ``docs/picture.svg``. Needs tmux. Works in folders of its own and leaves nothing running.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

OUT = Path(__file__).with_name("picture.svg")
COLS, ROWS = 84, 20

#: What is typed, and what must be on the screen before the next line is.
SCRIPT = (
    ("toowl new -d -n count -- bash -c 'while echo tick $((++i)); do sleep .1; done'", r"^[0-9a-f]{8}$"),
    ("toowl ls", r"P detached"),
    ("kill -9 $(cat $TOOWL_RUNTIME_DIR/toowld.pid)   # the daemon is gone", r"gone$"),
    ("toowl ls", r"no toowld is running"),
    ("toowld --detach                                # and back", r"back$"),
    ("toowl ls", r"P detached(?s:.*)P detached"),
    (
        "toowl capture count --lines 3                  # it counted on meanwhile",
        r"(?s)meanwhile.*tick \d+\n.*tick \d+\n.*tick",
    ),
)

_SGR = re.compile(r"\x1b\[([\d;]*)m")
_COLOURS = {"32": "#8ec07c", "36": "#83a598", "90": "#928374", "33": "#fabd2f"}
_PROMPT = r"\[\e[32m\]$\[\e[0m\] "


class Screen:
    """One tmux with one shell in it, in a namespace of its own."""

    def __init__(self, folder: Path) -> None:
        bin_folder = Path(sys.executable).parent
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]
        self._env = {
            **os.environ,
            "HOME": str(folder),
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "TOOWL_RUNTIME_DIR": str(folder / "run"),
            "TOOWL_STATE_DIR": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "TOOWLD_PERSISTENT_SESSIONS": "1",
            "TOOWL_NO_AUTOSTART": "1",
            "TOOWLD_SCOPES": "0",
            "PS1": _PROMPT,
            "LC_ALL": "C.UTF-8",
            "HISTFILE": "",  # else bash writes one into a folder that is just being removed
        }
        subprocess.run([Path(sys.executable).with_name("toowld"), "--detach"], env=self._env, check=True)
        size = ["-x", str(COLS), "-y", str(ROWS)]
        self.tmux("new-session", "-d", *size, "-c", str(folder), "bash", "--norc", "--noprofile")

    def tmux(self, *args: str) -> str:
        done = subprocess.run([*self._tmux, *args], env=self._env, check=True, capture_output=True, text=True)
        return done.stdout

    def run(self, line: str, expected: str) -> None:
        """Type a line and wait for what it shows.

        Raises:
            TimeoutError: it does not.
        """
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")
        deadline = time.monotonic() + 20
        while not (
            self._prompt_is_back() and re.search(expected, self.tmux("capture-pane", "-p"), re.MULTILINE)
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {line!r}:\n{self.tmux('capture-pane', '-p')}")
            time.sleep(0.05)

    def _prompt_is_back(self) -> bool:
        return self.tmux("capture-pane", "-p").rstrip().endswith("\n$")

    def close(self) -> None:
        toowl = str(Path(sys.executable).with_name("toowl"))
        subprocess.run([toowl, "kill", "--force", "count"], env=self._env, check=False, capture_output=True)
        subprocess.run([f"{toowl}d", "stop", "--yes"], env=self._env, check=False, capture_output=True)
        self.tmux("kill-server")


def spans(line: str) -> Iterator[tuple[str, str | None]]:
    """The runs of one line with their colours."""
    colour = None
    at = 0
    for match in _SGR.finditer(line):
        if match.start() > at:
            yield line[at : match.start()], colour
        for code in match[1].split(";"):
            colour = _COLOURS.get(code) if code in _COLOURS else None if code in ("", "0", "39") else colour
        at = match.end()
    if at < len(line):
        yield line[at:], colour


def draw(screen: str) -> str:
    """The screen as SVG: 8.4 by 19 units a cell, a title bar above."""
    lines = screen.rstrip("\n").split("\n")
    width, height = COLS * 8.4 + 32, len(lines) * 19 + 58
    texts = []
    for row, line in enumerate(lines):
        parts = "".join(
            f'<tspan fill="{colour}">{html.escape(text)}</tspan>' if colour else html.escape(text)
            for text, colour in spans(line)
        )
        texts.append(f'<text x="16" y="{row * 19 + 58}" xml:space="preserve">{parts}</text>')
    dots = "".join(
        f'<circle cx="{20 + n * 18}" cy="18" r="6" fill="{colour}"/>'
        for n, colour in enumerate(("#fb4934", "#fabd2f", "#b8bb26"))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">\n<title>toowl: a counter survives kill -9 of its daemon</title>\n'
        f'<rect width="100%" height="100%" rx="8" fill="#1d2021"/>\n{dots}\n'
        '<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="14" fill="#ebdbb2">\n'
        + "\n".join(texts)
        + "\n</g>\n</svg>\n"
    )


def main() -> int:
    """Run the script, draw what is on the screen then."""
    if shutil.which("tmux") is None:
        print("picture.py needs tmux", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="toowl-") as folder:
        screen = Screen(Path(folder))
        try:
            for line, expected in SCRIPT:
                screen.run(line, expected)
            OUT.write_text(draw(screen.tmux("capture-pane", "-e", "-p")))
        finally:
            screen.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
