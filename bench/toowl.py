"""toowl as a contender, and what only toowl is asked: its daemon's start and its answers."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.contender import Contender, kill
from bench.outer import limit
from bench.payload import COLS, ROWS
from toowld import __version__
from toowld.client import Client
from toowld.paths import resolve


class Toowl(Contender):
    """A custodian for each session."""

    name = "toowl"
    program = "toowl"
    detach_keys = b"\x1cd"
    persistent = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.env |= {
            "TOOWL_RUNTIME_DIR": str(self.folder / "r"),
            "TOOWL_STATE_DIR": str(self.folder / "s"),
            "XDG_CONFIG_HOME": str(self.folder / "c"),
            "TOOWL_NO_AUTOSTART": "1",
            # The systemd of this machine is the user's.
            "TOOWLD_SCOPES": "0",
            "TOOWLD_PERSISTENT_SESSIONS": "1" if self.persistent else "0",
        }
        self._daemon: subprocess.Popen[bytes] | None = None

    @classmethod
    def version(cls) -> str | None:
        return f"toowl {__version__}"

    def open(self) -> None:
        """The daemon; returns once it is ready."""
        ready = self.folder / "ready"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(ready))
            try:
                with (self.folder / "daemon.out").open("ab") as output:
                    self._daemon = subprocess.Popen(
                        [str(Path(sys.executable).with_name("toowld"))],
                        env={**self.env, "NOTIFY_SOCKET": str(ready)},
                        cwd=self.folder,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                    )
                with limit(60, "the daemon to be ready"):
                    while b"READY=1" not in notify.recv(4096):
                        pass
            finally:
                ready.unlink()

    def kill_daemon(self) -> None:
        """Without a word, as a crash does it, and its zygote. Sessions that custodians keep go on."""
        assert self._daemon is not None, "no daemon was started"
        gone = self.shared()
        kill(gone)
        self._daemon.wait()
        self._daemon = None

    def shared(self) -> list[int]:
        if self._daemon is None:
            return []
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            daemon = psutil.Process(self._daemon.pid)
            found.append(daemon.pid)
            for process in daemon.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "--zygote" in " ".join(process.cmdline()):  # or its spare
                        found.append(process.pid)
        return found

    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        return ["toowl", "new", "-d", "-n", name, "--", *argv]

    def attach_command(self, name: str) -> list[str]:
        return ["toowl", "attach", name]

    def list_command(self) -> list[str]:
        return ["toowl", "ls"]

    def client(self) -> Client:
        """A connection to the daemon, as programs have one."""
        return Client.connect(resolve(self.env))

    def _create(self, name: str, argv: Sequence[str]) -> None:
        # Not by the command: for five hundred sessions, that is most of the time.
        with self.client() as client:
            self.request_new(client, name, argv)

    def request_new(self, client: Client, name: str, argv: Sequence[str]) -> dict[str, Any]:
        """What ``toowl new -d`` asks for."""
        return client.request(
            "new",
            argv=list(argv),
            name=name,
            cwd=str(self.folder),
            env=self.env,
            rows=ROWS,
            cols=COLS,
            persistent=None,
        )

    def close(self) -> None:
        if self._daemon is not None:
            self.kill_daemon()  # first, so that it neither restarts nor records what dies after it
        super().close()


class ToowlStandard(Toowl):
    """The session in the daemon itself."""

    name = "toowl-std"
    persistent = False
