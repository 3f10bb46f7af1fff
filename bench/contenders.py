"""How each program is started, attached, detached and listed, always in a private namespace.

A contender starts sessions in the background and says which command attaches a terminal to one. Who keeps a session
is not asked of it: the keeper is the parent of the program in the session, for every contender.
"""

from __future__ import annotations

import abc
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench import processes
from bench.outer import TooSlow, limit
from bench.payload import COLS, ROWS
from toowld.client import Client
from toowld.paths import resolve

REPOSITORY = Path(__file__).resolve().parent.parent

#: Tells its pid, then becomes the program. The pipe is the first argument.
_ANNOUNCE = ("/bin/sh", "-c", 'echo $$ >"$0"; exec "$@"')

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Session:
    """One program that runs, and who keeps it."""

    name: str
    child: int
    keeper: int


class Announcement:
    """A pipe on which a program says that it runs, and as which pid."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command that announces itself."""
        return [*_ANNOUNCE, str(self.path), *argv]

    def pid(self) -> int:
        """Wait for it.

        Raises:
            TooSlow: the program does not begin.
        """
        try:
            if not select.select([self._fd], [], [], _START_SECONDS)[0]:
                raise TooSlow(f"waited {_START_SECONDS:g} s for a program to begin")
            return int(os.read(self._fd, 64))
        finally:
            os.close(self._fd)
            self.path.unlink()


class Contender(abc.ABC):
    """One program in a namespace of its own. Use as a context manager."""

    #: In the figures.
    name: str
    #: Which has to be installed.
    program: str
    #: Typed in an attached terminal.
    detach_keys = b""

    def __init__(self, root: Path) -> None:
        self.folder = root / self.name
        self.folder.mkdir(mode=0o700)
        home = self.folder / "h"
        home.mkdir()
        self.sessions: dict[str, Session] = {}
        self._count = 0
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "USER": os.environ.get("USER", "bench"),
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
        }

    def __enter__(self) -> Contender:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def version(cls) -> str | None:
        """What is installed; None if nothing is."""
        if shutil.which(cls.program) is None:
            return None
        done = subprocess.run(
            [cls.program, *cls._version_flags], capture_output=True, text=True, check=False, timeout=10
        )
        return (done.stdout or done.stderr).strip().splitlines()[0]

    _version_flags: tuple[str, ...] = ("--version",)

    def open(self) -> None:  # noqa: B027 - most have nothing to start
        """Start what all sessions share, if there is such a thing."""

    def shared(self) -> list[int]:
        """The pids of what all sessions share, keepers of sessions included where they keep more than one."""
        return []

    @abc.abstractmethod
    def create_command(self, name: str, argv: Sequence[str]) -> list[str]:
        """Starts a session in the background."""

    @abc.abstractmethod
    def attach_command(self, name: str) -> list[str]:
        """Puts a session on the terminal that it runs in."""

    def list_command(self) -> list[str] | None:
        """Lists the sessions; None where there is no such command."""
        return None

    def start(self, *argv: str) -> Session:
        """A session in the background; returns once its program runs."""
        self._count += 1
        name = f"s{self._count}"
        announcement = Announcement(self.folder / name)
        self._create(name, announcement.wrap(argv))
        child = announcement.pid()
        session = Session(name, child, processes.parent(child))
        self.sessions[name] = session
        return session

    def _create(self, name: str, argv: Sequence[str]) -> None:
        self.run(self.create_command(name, argv))

    def run(self, argv: Sequence[str]) -> None:
        """A command of the contender's to its end.

        Raises:
            CalledProcessError: it fails.
        """
        subprocess.run(
            argv,
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=_START_SECONDS,
        )

    def pids(self) -> list[int]:
        """Of everything of the contender's but clients."""
        return sorted({*self.shared(), *(session.keeper for session in self.sessions.values())})

    def end(self, sessions: Iterable[Session]) -> None:
        """These sessions, at once and without a word."""
        gone = list(sessions)
        shared = set(self.shared())
        _kill([session.child for session in gone])
        _kill({session.keeper for session in gone} - shared)
        for session in gone:
            del self.sessions[session.name]

    def close(self) -> None:
        """All sessions, and what they share."""
        _kill(session.child for session in self.sessions.values())
        _kill(self.pids())
        self.sessions.clear()


def _kill(pids: Iterable[int]) -> None:
    """And wait for their end."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):  # ended by itself
            process = psutil.Process(pid)
            process.kill()
            found.append(process)
    psutil.wait_procs(found, timeout=_START_SECONDS)


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
        from toowld import __version__

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
        """Without a word, as a crash does it. Sessions that are kept by custodians go on."""
        assert self._daemon is not None, "no daemon was started"
        pids = processes.family(self._daemon.pid)
        zygote = [pid for pid in pids if "--zygote" in psutil.Process(pid).cmdline()]
        self._daemon.kill()
        self._daemon.wait()
        self._daemon = None
        psutil.wait_procs([psutil.Process(pid) for pid in zygote if psutil.pid_exists(pid)], timeout=10)

    def shared(self) -> list[int]:
        if self._daemon is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._daemon.pid).children()
            zygote = [child.pid for child in children if "--zygote" in " ".join(child.cmdline())]
            return [self._daemon.pid, *zygote]
        return []

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
            # First, so that it neither restarts nor records what dies after it.
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait()
        super().close()
        self._daemon = None


class ToowlStandard(Toowl):
    """The session in the daemon itself."""

    name = "toowl-std"
    persistent = False


ALL: tuple[type[Contender], ...] = (Bare, Dtach, Abduco, Tmux, Screen, Toowl, ToowlStandard)
