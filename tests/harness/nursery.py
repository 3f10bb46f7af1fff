"""Daemons forked from a process that has imported what they run.

Seven hundred tests begin with a daemon, and what those imported took a fifth of the suite's processor time. From the
fork on a daemon is what it would be: its session, environment, folder and descriptors are its own, the program begins
as under ``python -m toowld`` and ends with the interpreter, and what it imports later it imports then. Daemons that
start themselves, that are to find something unusual, or that a test starts in another way, are execed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("newborn.py")
_LIMITS = sorted({number for name, number in vars(resource).items() if name.startswith("RLIMIT_")})


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(number) for number in _LIMITS]


class Forked:
    """A process of the nursery, to be used as a `subprocess.Popen`."""

    def __init__(self, nursery: Nursery, argv: Sequence[str], pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        self._argv = list(argv)
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit status (-n for a signal) if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit status.

        Raises:
            subprocess.TimeoutExpired: it goes on after ``timeout`` seconds.
        """
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(self._argv, timeout or 0)
            self.returncode = self._nursery.status(self.pid)
            os.close(self._pidfd)
        return self.returncode

    def kill(self) -> None:
        """Send it SIGKILL, if it has not ended."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)


class Nursery:
    """Forks daemons. Its process is no child of ours, as some tests look at what those are, and ends when we do.

    Args:
        package_path: the folder that has the packages.
    """

    def __init__(self, package_path: str) -> None:
        self._env = {
            "LANG": "C.UTF-8",
            "PYTHONPATH": package_path,
        }  # what an interpreter looks at when it starts
        self._limits = _limits()
        self._lock = threading.Lock()
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            subprocess.run(
                [sys.executable, "-P", os.fspath(_PROGRAM), str(its.fileno())],
                env=self._env,
                cwd="/",  # not in a sandbox, with whose end it would end
                pass_fds=(its.fileno(),),
                start_new_session=True,  # a Ctrl-C at pytest is not for it
                check=True,
            )

    def suits(self, env: Mapping[str, str]) -> bool:
        """Whether a daemon with these variables is the same as one that is execed here and now."""
        told = any(
            name.startswith(("PYTHON", "LANG", "LC_")) and self._env.get(name) != value
            for name, value in env.items()
        )
        return not told and _limits() == self._limits

    def start(self, argv: Sequence[str], env: Mapping[str, str], cwd: str, output: int) -> Forked:
        """Begin ``python -m toowld ARGV...``. ``output``: a descriptor for all that it prints."""
        about = {"argv": list(argv), "env": dict(env), "cwd": cwd}
        return Forked(self, ["toowld", *argv], self._ask(about, [output]))

    def status(self, pid: int) -> int:
        """How one of them ended, which it has."""
        return self._ask({"ended": pid}, [])

    def _ask(self, about: Mapping[str, Any], fds: list[int]) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(about).encode()], fds)
            answer = self._socket.recv(64)
        assert answer, "the nursery has ended"
        return int(answer)


@functools.cache
def nursery(package_path: str) -> Nursery:
    """The one of this process."""
    return Nursery(package_path)
