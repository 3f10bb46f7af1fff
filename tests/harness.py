"""A private toowl world for tests that run real processes, and the ways to wait for things in it.

`Sandbox` owns short temporary folders, an environment that points every part of toowl at them, the daemon,
and every process that was started in there: at the end all are killed by pid and waited for, whatever the
test did.
`Terminal` is a user at a real PTY. `wait_for` is how a test waits: for a condition, never for time.

Nothing here knows how the parts work inside; it uses what a user has: programs, sockets, /proc.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
import pytest

from toowld.paths import Paths

T = TypeVar("T")
Typed = bytes | str

#: Generous: two busy cores, and a failure must mean "never" rather than "late".
DEADLINE = 20.0

#: The part of a skip reason that CI accepts: what no package can give this kind of machine.
MACHINE_CANNOT = "machine cannot: "

#: The end of what an attach paints before the session's own output: the cursor is shown.
PAINTED = b"\x1b[?25h"

REPOSITORY = Path(__file__).resolve().parent.parent


def wait_for(condition: Callable[[], T], timeout: float = DEADLINE, what: str = "") -> T:
    """Ask until ``condition`` gives something true, and return that.

    Raises:
        AssertionError: it did not within ``timeout`` seconds; the last value is named.
    """
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__name__", "condition")
            raise AssertionError(f"waited {timeout:g} s for {name}; last value: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.25, 0.05)  # what is waited for needs the processor too


def need_program(*names: str) -> None:
    """Skip the test where a program is not installed (in CI that is a failure: install it there)."""
    if missing := [name for name in names if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}")


def machine_cannot(what: str) -> None:
    """Skip the test because this kind of machine can't do it; accepted in CI too."""
    pytest.skip(MACHINE_CANNOT + what)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def peer_pid(path: Path) -> int | None:
    """The pid of whoever listens on a Unix socket, None if nobody does. Works on a stopped process too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as link:
        try:
            link.connect(os.fspath(path))
        except OSError:
            return None
        pid, _uid, _gid = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)


class Sandbox:
    """One toowl namespace in folders of its own. Use as a context manager, or as the fixture ``sandbox``."""

    def __init__(self) -> None:
        # Directly below /tmp: a custodian's socket path has to fit sun_path.
        self.root = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        self.home = self.root / "h"
        self.home.mkdir()
        self.paths = Paths(
            runtime=self.root / "r", state=self.root / "s", config=self.root / "c/toowl/config.toml"
        )
        self.daemon_output = self.root / "daemon.out"
        self.daemon: subprocess.Popen[bytes] | None = None
        self.terminals: list[Terminal] = []
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.home),
            "USER": os.environ.get("USER", "root"),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "PYTHONPATH": str(REPOSITORY),
            "TOOWL_RUNTIME_DIR": str(self.paths.runtime),
            "TOOWL_STATE_DIR": str(self.paths.state),
            "XDG_CONFIG_HOME": str(self.root / "c"),
            "TOOWL_NO_AUTOSTART": "1",
            # A test must not touch the systemd of the machine that it runs on.
            "TOOWLD_SCOPES": "0",
        }

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the daemon ----------------------------------------------------------------------------------

    def up(
        self,
        flag: bool | str = True,
        *args: str,
        wait: bool = True,
        within: Sequence[str] = (),
        **env: str,
    ) -> int:
        """Start ``toowld`` in the foreground form and wait until it answers. Returns its pid.

        ``flag``: persistent sessions on or off, or the raw value of the variable. ``within``: a program that
        executes its arguments, in surroundings of its making.
        """
        assert self.daemon is None or self.daemon.poll() is not None, "a daemon runs already"
        variables = {**self.env, **env}
        if flag is not False:
            variables["TOOWLD_PERSISTENT_SESSIONS"] = flag if isinstance(flag, str) else "1"
        with self.daemon_output.open("ab") as output:
            self.daemon = subprocess.Popen(
                [*within, sys.executable, "-m", "toowld", *args],
                env=variables,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C at pytest is not for the daemon
            )
        if wait:
            wait_for(self._answers, what="the daemon to answer")
        return self.daemon.pid

    def _answers(self) -> bool:
        assert self.daemon is not None
        if (status := self.daemon.poll()) is not None:
            raise AssertionError(f"toowld ended with {status}:\n{self.daemon_text()}")
        return peer_pid(self.paths.daemon_socket) == self.daemon.pid

    @property
    def daemon_pid(self) -> int:
        assert self.daemon is not None, "no daemon was started"
        return self.daemon.pid

    def daemon_text(self) -> str:
        """What the daemons printed so far."""
        try:
            return self.daemon_output.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def signal(self, number: signal.Signals) -> int:
        """Send the daemon a signal that ends it, wait for its end, and return its exit status."""
        assert self.daemon is not None, "no daemon was started"
        self.daemon.send_signal(number)
        return self.daemon.wait(DEADLINE)

    def kill9(self) -> None:
        """The daemon dies without a word."""
        self.signal(signal.SIGKILL)

    def stop(self) -> int:
        """The daemon ends the graceful way."""
        return self.signal(signal.SIGTERM)

    def restart(self, flag: bool | str = True, *, kill: bool = True) -> int:
        """`kill9` (or `stop`), then `up`."""
        if kill:
            self.kill9()
        else:
            self.stop()
        return self.up(flag)

    # -- what a user has -----------------------------------------------------------------------------

    def toowl(
        self,
        *args: str,
        input: bytes | str | None = None,
        check: bool = True,
        timeout: float = 60,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end. With ``check``, a failure fails the test."""
        return self._run("toowl", args, input, check, timeout, env)

    def toowld(
        self,
        *args: str,
        input: bytes | str | None = None,
        check: bool = True,
        timeout: float = 60,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """The same for ``toowld status``, ``stop``, ``doctor``, …"""
        return self._run("toowld", args, input, check, timeout, env)

    def _run(
        self,
        program: str,
        args: Sequence[str],
        given: bytes | str | None,
        check: bool,
        timeout: float,
        env: dict[str, str],
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", program, *args],
            input=given.encode() if isinstance(given, str) else given,
            stdin=subprocess.DEVNULL if given is None else None,
            env={**self.env, **env},
            cwd=self.root,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        # surrogateescape: a test may look at bytes that are not UTF-8.
        text = subprocess.CompletedProcess(
            done.args,
            done.returncode,
            done.stdout.decode(errors="surrogateescape"),
            done.stderr.decode(errors="surrogateescape"),
        )
        if check and text.returncode:
            raise AssertionError(
                f"{program} {' '.join(args)}: exit status {text.returncode}\n{text.stdout}{text.stderr}"
                f"-- daemon --\n{self.daemon_text()}"
            )
        return text

    def configure(self, text: str) -> None:
        """Write ``config.toml``; a daemon that runs does not know of it yet."""
        self.paths.config.parent.mkdir(parents=True, exist_ok=True)
        self.paths.config.write_text(text)

    def client(self, timeout: float = 5.0) -> Any:
        """A blocking `toowld.client.Client` on the daemon."""
        from toowld.client import Client

        return Client.connect(self.paths, timeout=timeout)

    def new(self, *argv: str, name: str | None = None, **params: Any) -> dict[str, Any]:
        """Make a session through the daemon's socket; returns its info. Without ``argv``: the login shell."""
        request: dict[str, Any] = {
            "argv": list(argv) or None,
            "name": name,
            "cwd": str(self.home),
            "env": dict(self.env),
            "rows": 24,
            "cols": 80,
            "persistent": None,
            **params,
        }
        with self.client() as client:
            info: dict[str, Any] = client.request("new", **request)
        return info

    def info(self, session: str) -> dict[str, Any]:
        """What the daemon says of one session."""
        with self.client() as client:
            found: dict[str, Any] = client.request("info", session=session)
        return found

    def send(self, session: str, data: bytes) -> None:
        """Type bytes into a session."""
        with self.client() as client:
            client.request("send", session=session, data=data)

    def output(self, session: str) -> bytes:
        """All output of a session that its log holds, whether it lives or not. ``session`` is the id."""
        from toowld.log.reader import LogReader

        return b"".join(data for _seq, data in log_output(LogReader(self.paths.session(session))))

    def attach_pty(self, session: str, rows: int = 24, cols: int = 80, *options: str) -> Terminal:
        """A user who runs ``toowl attach SESSION`` at a real terminal."""
        return self.terminal("toowl", "attach", session, *options, rows=rows, cols=cols)

    def terminal(self, module: str, *args: str, rows: int = 24, cols: int = 80, **env: str) -> Terminal:
        """Run ``python -m MODULE …`` at a real terminal."""
        terminal = Terminal(
            [sys.executable, "-m", module, *args], {**self.env, **env}, self.root, rows=rows, cols=cols
        )
        self.terminals.append(terminal)
        return terminal

    # -- the processes -------------------------------------------------------------------------------

    def custodians(self) -> dict[str, int]:
        """Session id → pid of the custodian that listens for it."""
        found = {path.stem: peer_pid(path) for path in self.paths.custodians.glob("*.sock")}
        return {session: pid for session, pid in found.items() if pid is not None}

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this sandbox, however it was started.

        Found by their environment, folder or open files (a process title overwrites /proc/PID/environ, so one
        of these alone is not enough), by who listens on the custodians' sockets, and by descent.
        """
        found: dict[int, psutil.Process] = {}
        ours = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
        listening = set(self.custodians().values())
        for process in psutil.process_iter():
            if process.pid in ours or not (process.pid in listening or _touches(process.pid, self.root)):
                continue
            found[process.pid] = process
            with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
                found.update((child.pid, child) for child in process.children(recursive=True))
        return [process for process in found.values() if alive(process.pid)]

    def assert_clean(self, *, allow: Iterable[int] = (), timeout: float = 5) -> None:
        """Fail when a process of this sandbox is left that is not in ``allow``."""
        allowed = set(allow)

        def left() -> list[psutil.Process]:
            return [process for process in self.processes() if process.pid not in allowed]

        with contextlib.suppress(AssertionError):  # told better below
            wait_for(lambda: not left(), timeout)
        assert not (rest := left()), f"left over: {[describe(process) for process in rest]}"

    def close(self) -> list[str]:
        """End everything, remove the folders. Never raises; returns what had to be killed."""
        killed: list[str] = []
        for terminal in self.terminals:
            terminal.close()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            processes = self.processes()
            if not processes:
                break
            # The daemon first, so that it neither restarts nor records what dies after it.
            processes.sort(key=lambda process: self.daemon is None or process.pid != self.daemon.pid)
            killed += [describe(process) for process in processes]
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):  # that is what we want
                    process.kill()
            _await_end(processes)
        if self.daemon is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):  # unkillable: nothing more can be done here
                self.daemon.wait(1)
        shutil.rmtree(self.root, ignore_errors=True)
        return killed


def log_output(reader: Any) -> Iterator[tuple[int, bytes]]:
    """The output of a log as (seq, bytes), without anything else that it holds."""
    for record in reader.records():
        if getattr(record, "type", None) == 1:
            yield record.seq, record.payload


def _await_end(processes: Sequence[psutil.Process]) -> None:
    """Wait a second for the end of killed processes.

    Not psutil's wait: it would take the exit status away from whoever started them.
    """
    with contextlib.suppress(AssertionError):  # the next round kills again
        wait_for(lambda: not any(alive(process.pid) for process in processes), timeout=1)


def _touches(pid: int, root: Path) -> bool:
    """Whether a process has ``root`` in its environment, as its folder, or in an open file."""
    text = os.fsencode(root)
    folder = Path(f"/proc/{pid}")
    try:
        if text in (folder / "environ").read_bytes():
            return True
        links = [folder / "cwd", *(folder / "fd").iterdir()]
    except OSError:  # gone, or another user's
        return False
    for link in links:
        try:
            if os.fsencode(link.readlink()).startswith(text):
                return True
        except OSError:
            continue
    return False


def describe(process: psutil.Process) -> str:
    """A process in a few words, for a message."""
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} (gone)"


class Terminal:
    """A program at a real PTY, and all that it printed. A thread reads, so it never waits for the test."""

    def __init__(
        self, argv: Sequence[str], env: dict[str, str], cwd: Path, *, rows: int = 24, cols: int = 80
    ) -> None:
        self.pty_fd, tty_fd = pty.openpty()
        self._output = bytearray()
        self._takes = threading.Event()
        self._takes.set()
        self.resize(rows, cols)
        try:
            # setsid(1) makes the PTY the controlling terminal and execs, so the pid is the program's own; a
            # preexec_fn would do the same, but not safely beside threads.
            self.process = subprocess.Popen(
                ["setsid", "--ctty", *argv], stdin=tty_fd, stdout=tty_fd, stderr=tty_fd, env=env, cwd=cwd
            )
        finally:
            os.close(tty_fd)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> bytes:
        """All that was printed so far."""
        return bytes(self._output)

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")

    def _read(self) -> None:
        while True:
            self._takes.wait()
            try:
                data = os.read(self.pty_fd, 65536)
            except OSError:  # EIO: the other side is closed (Linux, tty(4))
                return
            if not data:
                return
            self._output += data

    def stall(self) -> None:
        """Take no more output, but for a piece that is being waited for."""
        self._takes.clear()

    def go_on(self) -> None:
        """Take output again."""
        self._takes.set()

    def send(self, data: bytes | str) -> None:
        """Type."""
        view = memoryview(data.encode() if isinstance(data, str) else data)
        while view:
            view = view[os.write(self.pty_fd, view) :]

    def expect(self, wanted: bytes | str, *, count: int = 1, timeout: float = DEADLINE) -> None:
        """Wait until ``wanted`` was printed (``count`` times since the beginning)."""
        text = wanted.encode() if isinstance(wanted, str) else wanted
        try:
            wait_for(lambda: self._output.count(text) >= count, timeout)
        except AssertionError:
            end = self.output[-2000:]
            raise AssertionError(
                f"waited {timeout:g} s for {text!r} (x {count}); at the end: {end!r}"
            ) from None

    def forget(self) -> None:
        """Drop what was printed so far, so that `expect` looks only at what comes."""
        self._output.clear()

    def resize(self, rows: int, cols: int) -> None:
        """Give the terminal another size; the program gets SIGWINCH."""
        fcntl.ioctl(self.pty_fd, termios.TIOCSWINSZ, struct.pack("4H", rows, cols, 0, 0))

    def modes(self) -> list[Any]:
        """The terminal's settings, to compare before and after."""
        return termios.tcgetattr(self.pty_fd)

    def wait(self, timeout: float = DEADLINE) -> int:
        """Wait for the program's end; its exit status (-n for a signal). Its last output is there then."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end; the end of the output: {self.output[-2000:]!r}") from None
        self._reader.join(timeout)
        return status

    def close(self) -> None:
        """End the program and the terminal. Never raises."""
        if self.pty_fd < 0:
            return
        self.go_on()
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            self.process.kill()
        self.process.wait()
        self._reader.join(1)
        os.close(self.pty_fd)
        self.pty_fd = -1
