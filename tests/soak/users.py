"""Users: at real terminals with ``toowl attach``, and such who make a short session, look at it and remove it."""

from __future__ import annotations

import contextlib
import random
import signal
import termios
import threading

from tests.harness import Terminal, wait_for
from tests.soak.lines import Tracker, on_screen
from tests.soak.verdict import read_log
from tests.soak.world import Place, World
from toowld.errors import SessionNotFound, ToowlError


class AtTerminal(threading.Thread):
    """Somebody at a terminal, who attaches again whenever that ends."""

    def __init__(self, world: World, place: Place) -> None:
        super().__init__(name=f"{place.name}/terminal", daemon=True)
        self.world = world
        self.place = place
        self.leave = threading.Event()
        self.terminal: Terminal | None = None

    def run(self) -> None:
        """Until told to leave."""
        while not self.leave.is_set():
            self.terminal = terminal = self.world.box.attach_pty(self.place.id)
            while terminal.process.poll() is None and not self.leave.wait(0.1):
                pass
            if terminal.process.poll() is None:
                self._detach(terminal)
            self._check(terminal)
            self.world.box.terminals.remove(terminal)

    def _detach(self, terminal: Terminal) -> None:
        try:
            # Before it is attached, what is a chord then is the signal that it is at any terminal.
            wait_for(lambda: _is_raw(terminal) or terminal.process.poll() is not None)
            terminal.send(b"\x1cd")
            status = terminal.wait()
        except (AssertionError, OSError) as error:
            self.world.problem(f"{self.name}: the detach chord did not work: {error}")
            return
        if status == -signal.SIGKILL:
            return  # the last thing that chaos did
        if status or b"detached" not in terminal.output[-300:]:
            self.world.problem(f"{self.name}: status {status} after the chord: {terminal.output[-300:]!r}")

    def _check(self, terminal: Terminal) -> None:
        terminal.close()
        lines, problems = on_screen(terminal.output)
        self.world.count("lines at terminals", lines)
        self.world.count("attaches at terminals")
        for problem in problems:
            self.world.problem(f"{self.name}: {problem}")


def _is_raw(terminal: Terminal) -> bool:
    return not terminal.modes()[3] & termios.ISIG


class Churn(threading.Thread):
    """Makes sessions that are over soon, checks what they left, and removes them."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(name="churn", daemon=True)
        self.world = world
        self.leave = threading.Event()
        self._random = random.Random(seed)

    def run(self) -> None:
        """Until told to leave."""
        number = 0
        while not self.leave.wait(self._random.uniform(0.1, 1)):
            number += 1
            try:
                self._one(number)
            except (ToowlError, AssertionError) as error:
                self.world.problem(f"{self.name}: session {number}: {type(error).__name__}: {error}")

    def _one(self, number: int) -> None:
        world = self.world
        folder = world.work / f"short-{number}"
        folder.mkdir()
        place = Place(f"short-{number}", "short", False, folder)
        try:
            made = world.box.new(*world.command("short", folder, number), name=place.name)
        except ToowlError:  # no daemon, or no room on the disk: nothing of it may be left
            world.count("short sessions refused")
            self._find_lost(place)
            return
        place.id = made["id"]
        info = self._await_end(place)
        if info["end_reason"] == "exited" and not world.disk_recovering:
            self._check(place, info)
        self._remove(place)
        world.count("short sessions")

    def _find_lost(self, place: Place) -> None:
        """The answer was lost, not the session: whose daemon dies may have one nevertheless."""
        for info in world_list(self.world):
            if info["name"] == place.name:
                place.id = str(info["id"])
                self._await_end(place)
                self._remove(place)

    def _remove(self, place: Place) -> None:
        with contextlib.suppress(SessionNotFound):  # asked twice: a daemon did it, and died before it said so
            self.world.ask("remove", session=place.id)

    def _await_end(self, place: Place) -> dict[str, object]:
        while True:
            info = self.world.ask("info", session=place.id)
            if info["state"] == "ended" or self.world.ending.wait(0.05):
                return info

    def _check(self, place: Place, info: dict[str, object]) -> None:
        tracker = Tracker(place.truth, place.name)
        read_log(self.world, place, tracker)
        printed = place.printed(1)
        if tracker.seq != printed:
            self.world.problem(f"{place.name}: {printed} bytes were printed, the log has {tracker.seq}")
        self.world.count("bytes of short sessions", printed)


def world_list(world: World) -> list[dict[str, object]]:
    """All sessions."""
    listed: list[dict[str, object]] = world.ask("list")["sessions"]
    return listed
