"""How each program is started, attached, detached and listed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.contender import Contender, Session
from bench.payload import COLS, ROWS
from bench.toowl import Toowl, ToowlStandard


class Bare(Contender):
    """The program directly in the outer terminal: the ceiling."""

    name = "bare"
    program = "sh"

    @classmethod
    def version(cls) -> str | None:
        return "no program between"

    def start(self, *argv: str) -> Session:
        self._count += 1
        self._argv = list(argv)
        return Session(f"s{self._count}", 0, 0)

    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        raise NotImplementedError("a bare terminal has no session in the background")

    def attach_command(self, name: str) -> list[str]:
        return self._argv

    def pids(self) -> list[int]:
        return []


class Dtach(Contender):
    """A process for each session, bytes as they come, no scrollback."""

    name = "dtach"
    program = "dtach"
    detach_keys = b"\x1c"

    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        return ["dtach", "-n", str(self.folder / f"{name}.sock"), "-r", "none", *argv]

    def attach_command(self, name: str) -> list[str]:
        return ["dtach", "-a", str(self.folder / f"{name}.sock"), "-r", "none"]


class Abduco(Contender):
    """As dtach."""

    name = "abduco"
    program = "abduco"
    detach_keys = b"\x1c"
    _version_flags = ("-v",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.env["ABDUCO_SOCKET_DIR"] = str(self.folder)

    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        return ["abduco", "-n", name, *argv]

    def attach_command(self, name: str) -> list[str]:
        return ["abduco", "-a", name]

    def list_command(self) -> list[str]:
        return ["abduco"]


class Tmux(Contender):
    """One server for all, with a screen of its own."""

    name = "tmux"
    program = "tmux"
    detach_keys = b"\x02d"
    draws = True
    _version_flags = ("-V",)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(self.folder / "socket")]
        self._server = 0

    def open(self) -> None:
        # A server ends with its last session.
        self._server = self.start("sleep", "infinity").keeper

    def shared(self) -> list[int]:
        return [self._server] if self._server else []

    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        # As several words, or a shell would stand between.
        return [*self._tmux, "new-session", "-d", "-x", str(COLS), "-y", str(ROWS), "-s", name, *argv]

    def attach_command(self, name: str) -> list[str]:
        return [*self._tmux, "attach", "-t", name]

    def list_command(self) -> list[str]:
        return [*self._tmux, "ls"]


class Screen(Contender):
    """A server for each session, with a screen of its own."""

    name = "screen"
    program = "screen"
    detach_keys = b"\x01d"
    draws = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.env["SCREENDIR"] = str(self.folder / "d")
        (self.folder / "d").mkdir(mode=0o700)

    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        return ["screen", "-c", "/dev/null", "-dmS", name, *argv]

    def attach_command(self, name: str) -> list[str]:
        return ["screen", "-c", "/dev/null", "-x", name]

    def list_command(self) -> list[str]:
        return ["screen", "-ls"]


ALL: tuple[type[Contender], ...] = (Bare, Dtach, Abduco, Tmux, Screen, Toowl, ToowlStandard)
