"""The daemon's end of the zygote: starts it, asks it for custodians, and starts another when it died."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess

from toowld.daemon import offspring
from toowld.daemon.link import Link
from toowld.errors import CustodianError, CustodianUnreachable, SpawnFailed

_log = logging.getLogger(__name__)

#: A fork takes 3 ms; a zygote that has just been started first imports for 100 ms (seconds).
_FORK_TIMEOUT = 5.0


class Zygote:
    """Forks custodians. It is started by exec, not by fork: the same way at the start and after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None

    @property
    def pid(self) -> int | None:
        """Of the zygote's process, while it is there."""
        return self._process.pid if self._process is not None and self._link is not None else None

    def start(self) -> None:
        """Start it, without waiting until it is ready.

        Raises:
            SpawnFailed: no process can be started.
        """
        try:
            self._process, ours = offspring.start("toowld", "--zygote")
        except OSError as error:
            raise SpawnFailed(f"can't start a process: {error.strerror}: see `ulimit -u`") from error
        self._link = Link(ours, "zygote", on_closed=self._on_closed)

    def _on_closed(self) -> None:
        _log.warning("the zygote (pid %s) is gone; another is started when it is needed", self.pid)
        self._link = None
        self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            # Its end of the link closed because it died, or dies now.
            asyncio.get_running_loop().run_in_executor(None, self._process.wait)
            self._process = None

    async def fork(self, session_id: str) -> tuple[int, socket.socket]:
        """A custodian that waits for its ``start``: its pid, and our end of the link to it.

        Raises:
            SpawnFailed: no custodian was made, and nothing of it is left.
        """
        for attempt in (1, 2):
            if self._link is None:
                self.start()
            assert self._link is not None
            ours, its = socket.socketpair()
            try:
                answer = await self._link.request(
                    "fork", {"id": session_id}, fds=(its.detach(),), timeout=_FORK_TIMEOUT
                )
                return int(answer["pid"]), ours
            except CustodianError as error:
                # The custodian, if there is one, sees our end close and goes.
                ours.close()
                if isinstance(error, CustodianUnreachable):
                    self._replace()
                if isinstance(error, SpawnFailed) or attempt == 2:
                    raise SpawnFailed(f"no custodian could be started: {error}") from error
        raise AssertionError("not reached")

    def _replace(self) -> None:
        """It does not answer. It keeps nothing that anybody needs."""
        _log.warning("the zygote (pid %s) does not answer and is replaced", self.pid)
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.kill()
        self._reap()

    def close(self) -> None:
        """Let it go; its custodians stay."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:  # stopped, say; it keeps nothing that anybody needs
                self._process.kill()
                self._process.wait()
            self._process = None
