"""What happens to everybody: kills, stops, a full disk, sockets that vanish. One seed, one order of events."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil

from tests.harness import DEADLINE, alive
from tests.soak.users import AtTerminal
from tests.soak.world import World

#: How often each thing happens, relative to the others.
WEIGHTS = {
    "daemon_ends": 10,
    "daemon_stops": 6,
    "custodian_stops": 10,
    "custodian_dies": 6,
    "custodian_is_upgraded": 6,
    "zygote_dies": 3,
    "zygote_stops": 2,
    "terminal_dies": 5,
    "terminal_stops": 5,
    "disk_fills": 4,
    "socket_vanishes": 5,
    "folder_vanishes": 1,
}

#: Seconds between two events, on average: enough for most of them to have passed, not for all.
PACE = 0.8


class Chaos(threading.Thread):
    """Lets things happen until told to stop, and puts everything right again then."""

    def __init__(self, world: World, users: list[AtTerminal], seed: int) -> None:
        super().__init__(name="chaos", daemon=True)
        self.world = world
        self.users = users
        self.leave = threading.Event()
        self._random = random.Random(seed)
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._daemon_busy = False

    def run(self) -> None:
        """Until told to stop."""
        try:
            while not self.leave.is_set():
                self.leave.wait(self._random.expovariate(1 / PACE))
                self._catch_up(time.monotonic())
                event = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
                with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):  # it went by itself
                    getattr(self, f"_{event}")()
            self._catch_up(float("inf"))
        except Exception as error:
            self.world.problem(f"chaos: {type(error).__name__}: {error}")
            raise

    def _catch_up(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            heapq.heappop(self._later)[2]()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._number), act))

    def _stop_for(self, pid: int, seconds: float) -> None:
        process = psutil.Process(pid)
        process.suspend()

        def go_on() -> None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

        self._after(seconds, go_on)

    # --- the daemon -------------------------------------------------------------------------------------

    def _daemon_ends(self) -> None:
        if self._daemon_busy:
            return
        signum = self._random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGABRT))
        daemon = self.world.box.daemon
        assert daemon is not None
        daemon.send_signal(signum)
        daemon.wait(DEADLINE)
        self.world.count(f"daemon ended by {signal.Signals(signum).name}")
        self._daemon_busy = True
        self._after(self._random.uniform(0, 1.5), self._daemon_returns)

    def _daemon_returns(self) -> None:
        self._daemon_busy = False
        begun = time.monotonic()
        self.world.box.up(wait=False)
        while not self.world.box._answers():
            time.sleep(0.01)
            if time.monotonic() - begun > DEADLINE:
                raise AssertionError("the daemon does not come back")
        slowest = self.world.counts["slowest start of the daemon, ms"]
        self.world.counts["slowest start of the daemon, ms"] = max(
            slowest, int(1000 * (time.monotonic() - begun))
        )

    def _daemon_stops(self) -> None:
        if self._daemon_busy:
            return
        self.world.count("daemon stopped for a while")
        self._daemon_busy = True
        daemon = self.world.box.daemon
        assert daemon is not None
        daemon.send_signal(signal.SIGSTOP)

        def go_on() -> None:
            self._daemon_busy = False
            daemon.send_signal(signal.SIGCONT)

        self._after(self._random.uniform(0.2, 2), go_on)

    # --- custodians and the zygote ----------------------------------------------------------------------

    def _custodian(self, mortal: bool | None) -> tuple[str, int] | None:
        fitting = {p.id for p in self.world.places if mortal is None or p.mortal is mortal}
        found = sorted(item for item in self.world.box.custodians().items() if item[0] in fitting)
        return self._random.choice(found) if found else None

    def _custodian_stops(self) -> None:
        if (found := self._custodian(None)) is not None:
            self.world.count("custodians stopped for a while")
            self._stop_for(found[1], self._random.uniform(0.1, 3))

    def _custodian_dies(self) -> None:
        if self.world.disk_recovering:
            return  # what is only in its memory would be lost, as documented
        if (found := self._custodian(True)) is not None:
            os.kill(found[1], signal.SIGKILL)
            self.world.count("custodians killed")

    def _custodian_is_upgraded(self) -> None:
        """Or not, as it may be stopped or killed meanwhile, or the daemon: then its old code goes on."""
        if self._daemon_busy or (found := self._custodian(None)) is None:
            return
        command = [sys.executable, "-m", "toowld", "upgrade", found[0]]
        process = subprocess.Popen(
            command,
            env=self.world.box.env,
            cwd=self.world.box.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

        def look() -> None:
            _, told = process.communicate(timeout=60)
            if process.returncode == 0:
                self.world.count("custodians upgraded")
            elif told.count(b"\n") == 1:
                self.world.count("custodians that could not be upgraded just then")
            else:
                self.world.problem(f"toowld upgrade: status {process.returncode}: {told!r}")

        self._after(self._random.uniform(1, 10), look)

    def _zygote(self) -> int | None:
        if self._daemon_busy:
            return None
        for child in psutil.Process(self.world.box.daemon_pid).children():
            if "--zygote" in " ".join(child.cmdline()):
                return child.pid
        return None

    def _zygote_dies(self) -> None:
        if (pid := self._zygote()) is not None:
            os.kill(pid, signal.SIGKILL)
            self.world.count("zygotes killed")

    def _zygote_stops(self) -> None:
        if (pid := self._zygote()) is not None:
            self._stop_for(pid, self._random.uniform(0.5, 8))
            self.world.count("zygotes stopped for a while")

    # --- terminals --------------------------------------------------------------------------------------

    def _terminal(self) -> int | None:
        terminals = [user.terminal for user in self.users if user.terminal is not None]
        pids = [terminal.pid for terminal in terminals if alive(terminal.pid)]
        return self._random.choice(pids) if pids else None

    def _terminal_dies(self) -> None:
        if (pid := self._terminal()) is not None:
            os.kill(pid, self._random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)))
            self.world.count("terminals killed")

    def _terminal_stops(self) -> None:
        if (pid := self._terminal()) is not None:
            self._stop_for(pid, self._random.uniform(0.5, 5))
            self.world.count("terminals stopped for a while")

    # --- files ------------------------------------------------------------------------------------------

    def _disk_fills(self) -> None:
        if self.world.disk_recovering:
            return
        self.world.count("disk full for a while")
        self.world.fill_disk()
        self._after(self._random.uniform(0.5, 8), self.world.free_disk)

    def _socket_vanishes(self) -> None:
        paths = self.world.box.paths
        sockets = [*sorted(paths.custodians.glob("*.sock")), paths.daemon_socket]
        self._random.choice(sockets).unlink(missing_ok=True)
        self.world.count("sockets removed")

    def _folder_vanishes(self) -> None:
        if self._daemon_busy:
            return
        shutil.rmtree(self.world.box.paths.runtime, ignore_errors=True)
        self.world.count("runtime folder removed")
