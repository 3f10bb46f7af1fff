"""A process beside the daemon that works on screens (`toowld.screen.worker`): started when needed, gone when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from toowld.daemon import offspring
from toowld.daemon.link import Link
from toowld.errors import CustodianError, ScreenError

_log = logging.getLogger(__name__)

#: So long it stays without anything to do (seconds). Its start takes 0.1 s, and it has 25 MB.
_IDLE = 10.0


class Helper:
    """One such process.

    Args:
        nice: added to its niceness: 0 for what somebody waits for.
    """

    def __init__(self, nice: int = 0) -> None:
        self._nice = nice
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None
        self._busy = 0
        self._leave: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._process.pid if self._process is not None else None

    async def request(self, method: str, params: Mapping[str, Any], *, timeout: float) -> Mapping[str, Any]:
        """Have something done.

        Raises:
            ScreenError: it could not be; where it took too long or the process died, there is another one next time.
        """
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None
        self._busy += 1
        try:
            if self._link is None:
                self._start()
            assert self._link is not None
            return await self._link.request(method, params, timeout=timeout)
        except CustodianError as error:  # what a link says of any peer that is gone or hangs
            self._end()
            raise ScreenError(f"no screen can be computed: {error}") from error
        finally:
            self._busy -= 1
            if not self._busy and self._link is not None:
                self._leave = asyncio.get_running_loop().call_later(_IDLE, self._end)

    def _start(self) -> None:
        try:
            self._process, ours = offspring.start("toowld.screen.worker")
        except OSError as error:
            raise ScreenError(f"can't start a process: {error.strerror}: see `ulimit -u`") from error
        if self._nice:
            with contextlib.suppress(OSError):  # it died at once; the link tells
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._nice)
        self._link = Link(ours, "screen helper", on_closed=self._on_closed)

    def _on_closed(self) -> None:
        _log.warning("the screen helper (pid %s) is gone; another is started when it is needed", self.pid)
        self._end()

    def _end(self) -> None:
        if self._leave is not None:
            self._leave.cancel()
            self._leave = None
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            self._process.kill()  # it may be stuck; it holds nothing that anybody needs
            asyncio.get_running_loop().run_in_executor(None, self._process.wait)
            self._process = None

    def close(self) -> None:
        """Let it go, and wait for its end."""
        process = self._process
        self._end()
        if process is not None:
            process.wait()
