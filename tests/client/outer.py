"""A user's terminal that is a real one: tmux."""

from __future__ import annotations

import subprocess

from tests.harness import Sandbox, wait_for

#: What tmux can tell of a pane besides its cells.
_FORMAT = (
    "#{alternate_on} #{mouse_any_flag} #{mouse_sgr_flag} #{cursor_flag} #{keypad_flag} #{keypad_cursor_flag} "
    "#{insert_flag} #{origin_flag} #{wrap_flag} #{scroll_region_upper} #{scroll_region_lower} "
    "#{cursor_x} #{cursor_y} #{pane_title}"
)


class Outer:
    """A user's terminal: one pane of a tmux of its own."""

    def __init__(self, sandbox: Sandbox, name: str) -> None:
        self._command = ["tmux", "-S", str(sandbox.root / name), "-f", "/dev/null"]
        self._env = sandbox.env
        self.run("new-session", "-d", "-x", "80", "-y", "24", "env", "PS1=outside$ ", "sh")
        self.run("set-option", "-g", "history-limit", "5000")
        wait_for(lambda: "outside$" in self.text())

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], env=self._env, check=True, capture_output=True, text=True
        )
        return done.stdout

    def type(self, *keys: str) -> None:
        self.run("send-keys", "-t", "0", *keys)

    def text(self, *options: str) -> str:
        return self.run("capture-pane", "-p", "-e", *options, "-t", "0")

    def state(self) -> str:
        return self.run("display-message", "-p", "-t", "0", _FORMAT)

    def settled(self) -> str:
        """What it shows, and its `state`, once that stays as it is. One tmux tells both: it is started often."""
        seen: list[str] = []
        both = ("capture-pane", "-p", "-e", "-t", "0", ";", "display-message", "-p", "-t", "0", _FORMAT)

        def still() -> bool:
            seen.append(self.run(*both))
            return len(seen) > 40 and len(set(seen[-40:])) == 1

        wait_for(still)
        return seen[-1]

    def close(self) -> None:
        self.run("kill-server")


def attached(sandbox: Sandbox, outers: list[Outer]) -> Outer:
    outer = Outer(sandbox, f"tmux{len(outers)}")
    outers.append(outer)
    outer.type("toowl attach work", "Enter")
    wait_for(lambda: "toowl attach" not in outer.text())
    return outer
