"""A shell with settings of its own, at a real terminal, as if it were in a session."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness import Sandbox, Terminal, need_program
from toowl.shells import script
from toowld.screen.model import Model
from toowld.wire import Size

ID = "2f3a9c1b"

#: How a user's settings load the integration, from a file instead of from `toowl shell-integration`.
LOAD = {"bash": '. "$HOME/toowl.bash"', "zsh": '. "$HOME/toowl.zsh"', "fish": 'source "$HOME/toowl.fish"'}

#: In every prompt.
READY = "%>"

_STARTS = {"bash": ["bash", "-i"], "zsh": ["zsh", "-i"], "fish": ["fish", "-i"]}
_SETTINGS = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}


class Shell:
    """A shell that runs.

    Args:
        settings: of its user, as they stand in the rc file; the prompt that they set has `READY` in it.
        text: another script than ours.
    """

    def __init__(
        self, sandbox: Sandbox, kind: str, settings: str, text: str | None = None, **env: str
    ) -> None:
        need_program(kind)
        self.kind = kind
        self.size = Size(rows=40, cols=80)
        self._prompts = 0
        home = sandbox.home
        (home / f"toowl.{kind}").write_text(script(kind) if text is None else text)
        rc = home / _SETTINGS[kind]
        rc.parent.mkdir(parents=True, exist_ok=True)
        rc.write_text(settings)
        variables = {
            **{name: value for name, value in sandbox.env.items() if name != "PYTHONPATH"},
            "XDG_CONFIG_HOME": str(home / ".config"),
            "SHELL": "/bin/sh",
            "TOOWL_SESSION": ID,
            "TOOWL_NAME": "work",
            **env,
        }
        self.terminal = Terminal(_STARTS[kind], variables, home, rows=self.size.rows, cols=self.size.cols)
        sandbox.terminals.append(self.terminal)
        self.prompt()

    def prompt(self) -> None:
        """Wait for one more prompt."""
        self._prompts += 1
        self.terminal.expect(READY, count=self._prompts)

    def run(self, line: str) -> None:
        """Type a line, and wait for the next prompt."""
        self.terminal.send(line + "\r")
        self.prompt()

    def says(self, line: str) -> str:
        """What a line prints: it is to print it between < and >."""
        before = len(self.terminal.output)
        self.run(line)
        found = re.findall(rb"<([^<>\r\n]*)>", self.terminal.output[before:])
        assert found, self.terminal.output[before:]
        last: bytes = found[-1]
        return last.decode()

    def screen(self) -> list[str]:
        """What a user sees, down to the last line that is not empty."""
        with Model(self.size) as model:
            model.feed(self.terminal.output)
            state = model.state()
            rows: list[str] = [row.text for row in state.main.rows]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    def marks(self) -> list[str]:
        """What was told by OSC 133, in its order."""
        return [mark.decode() for mark in re.findall(rb"\x1b\]133;([^\x07\x1b]*)", self.terminal.output)]

    def end(self) -> int:
        """``exit``, and how the shell ended."""
        self.terminal.send("exit 7\r")
        return self.terminal.wait()


def rc_of(kind: str) -> str:
    """The file with a shell's settings, below the home folder."""
    return _SETTINGS[kind]


def environment_file(sandbox: Sandbox) -> Path:
    """What a session keeps for its shells."""
    path = sandbox.paths.runtime / "following" / f"{ID}.env"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
