"""A private toowl world for tests that run real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tests.harness.nursery import Forked, nursery
from tests.harness.processes import await_end, belonging, describe, now, peer_pid
from tests.harness.terminal import Terminal
from tests.harness.waiting import DEADLINE, wait_for
from toowld.paths import Paths

REPOSITORY = Path(__file__).resolve().parents[2]


class Sandbox:
    """One toowl namespace in folders of its own. Use as a context manager, or as the fixture ``sandbox``.

    Args:
        forks: daemons come from the `nursery`, where that makes no difference. Else each is execed, as is to be where
            their memory is measured: a fork has not touched its libraries yet. May be changed between two of them.
    """

    def __init__(self, *, forks: bool = True) -> None:
        self.forks = forks
        self._begun = now()
        # Directly below /tmp: a custodian's socket path has to fit sun_path.
        self.root = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        self.home = self.root / "h"
        self.home.mkdir()
        self.paths = Paths(
            runtime=self.root / "r", state=self.root / "s", config=self.root / "c/toowl/config.toml"
        )
        self.daemon_output = self.root / "daemon.out"
        self.daemon: subprocess.Popen[bytes] | Forked | None = None
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
            forks = nursery(os.fspath(REPOSITORY)) if self.forks and not within else None
            if forks is not None and forks.suits(variables):
                self.daemon = forks.start(args, variables, os.fspath(self.root), output.fileno())
            else:
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
        """Every process that belongs to this sandbox, however it was started, custodians included."""
        return belonging(self.root, self._begun, self.custodians().values())

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
            await_end(processes)
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
