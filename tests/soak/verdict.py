"""The comparison of what is there at the end with the truth that the children wrote down."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness import describe, wait_for
from tests.soak.lines import Tracker
from tests.soak.world import Place, World
from toowld.log import OUTPUT, GapMark, LogReader

if TYPE_CHECKING:
    from tests.soak.viewer import Viewer

#: How long whoever is behind may take to catch up, once nobody is killed any more (seconds).
PATIENCE = 60

#: Megabytes that may be a process's own. A custodian: Python, 4 MiB of output for a full disk, a client's input.
CUSTODIAN_MB = 24
DAEMON_MB = 80


def read_log(world: World, place: Place, tracker: Tracker) -> None:
    """Check a session's log from its first byte that is held."""
    reader = LogReader(world.box.paths.session(place.id))
    first = True
    for item in reader.records():
        if isinstance(item, GapMark):
            if item.reason == "damaged":
                world.problem(f"{tracker.who}: the log is damaged at {item.start}")
            if first and item.start == 0:
                tracker.restart(item.end)
            elif item.end > item.start:
                tracker.gap(item.start, item.end)
        elif item.type == OUTPUT:
            tracker.output(item.seq, item.payload)
            first = False
    for problem in tracker.problems:
        world.problem(problem)
    tracker.problems.clear()


def eventually(world: World, condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> bool:
    """Wait for something that must become true; a problem if it does not."""
    with contextlib.suppress(AssertionError):
        wait_for(condition, timeout)
        return True
    world.problem(f"waited {timeout:g} s in vain: {what}")
    return False


def end_of(place: Place) -> int | None:
    """Where the session's output must end; None if nobody has seen the last run."""
    run = place.runs()[-1]
    base = place.truth.bases.get(run)
    return None if base is None else base + place.printed(run)


def check_output(world: World, viewers: list[Viewer]) -> None:
    """Each client, and each log, has all that was printed."""
    for viewer in viewers:
        end = end_of(viewer.place)
        where = f"{viewer.name} to reach {end}"
        eventually(world, lambda v=viewer: v.tracker.seq == end_of(v.place), where)  # type: ignore[misc]
        if viewer.tracker.seq != end_of(viewer.place):
            world.problem(f"{viewer.name} is at {viewer.tracker.seq} of {end_of(viewer.place)}")
    for place in world.places:
        tracker = Tracker(place.truth, f"log of {place.name}")
        read_log(world, place, tracker)
        if tracker.seq != end_of(place):
            world.problem(f"{tracker.who} ends at {tracker.seq}, printed was up to {end_of(place)}")
        world.count("bytes in logs", tracker.bytes)
        world.count("gaps in logs", tracker.gaps)
        world.count("bytes in gaps of logs", tracker.gap_bytes)
        world.count("gaps of unknown size in logs", tracker.leaps)
        world.count("bytes printed", sum(place.printed(run) for run in place.runs()))


def check_input(world: World, viewers: list[Viewer]) -> None:
    """What was typed has arrived once, in order; all of it where the child lives."""
    for viewer in viewers:
        if not viewer.types:
            continue
        eventually(world, lambda v=viewer: v.settled, f"{viewer.name} to be acknowledged")  # type: ignore[misc]
        current = viewer.typing
        for typing in [*viewer.finished, *([current] if current is not None else [])]:
            _check_typing(world, viewer, typing.run, typing.sent, lives=typing is current)


def _check_typing(world: World, viewer: Viewer, run: int, sent: int, *, lives: bool) -> None:
    from tests.soak.viewer import typed

    wanted = typed(0, sent, viewer.high)

    def arrived() -> bytes:
        return bytes(byte for byte in viewer.place.read(run) if (byte >= 0x80) is viewer.high)

    if lives:
        with contextlib.suppress(AssertionError):  # told better below
            wait_for(lambda: len(arrived()) >= sent, PATIENCE)
    got = arrived()
    world.count("bytes typed that arrived", len(got))
    if lives and got != wanted:
        at = next(
            (i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), sent)
        )
        world.problem(
            f"{viewer.name}: typed {sent} bytes into run {run}, {len(got)} arrived, wrong from {at}"
        )
    elif not wanted.startswith(got):
        world.problem(f"{viewer.name}: what arrived in run {run} was not typed so")


def check_memory(world: World, samples: list[tuple[float, dict[str, float]]]) -> None:
    """Nobody grows without bound."""
    daemons = [daemon for daemon, _ in samples]
    custodians = [value for _, each in samples for value in each.values()]
    world.counts["most private memory of the daemon, MB"] = round(max(daemons, default=0))
    world.counts["most private memory of a custodian, MB"] = round(max(custodians, default=0))
    if max(daemons, default=0) > DAEMON_MB:
        world.problem(f"the daemon took {max(daemons):.0f} MB")
    if max(custodians, default=0) > CUSTODIAN_MB:
        world.problem(f"a custodian took {max(custodians):.0f} MB")


def open_files(pid: int) -> list[str]:
    """What a process has open, sorted, without numbers that differ from time to time."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(fd.readlink()).split(":[")[0])
    return sorted(found)


def check_custodians(world: World, before: dict[str, list[str]]) -> None:
    """Each has as many files open as when it began, and nobody is attached."""
    eventually(
        world,
        lambda: all(info["clients"] == 0 for info in world.ask("list")["sessions"]),
        "all clients to be counted out",
    )
    pids = world.box.custodians()
    for place in world.places:
        if place.id not in pids:
            world.problem(f"{place.name} has no custodian that listens")
        elif place.id in before:
            count = len(before[place.id])
            eventually(
                world,
                lambda pid=pids[place.id], count=count: len(open_files(pid)) <= count,  # type: ignore[misc]
                f"the files of {place.name}: {open_files(pids[place.id])}, at first {before[place.id]}",
                10,
            )


def check_nothing_left(world: World, daemon_files: list[str], ids: set[str], *, scopes: bool) -> None:
    """End and remove all sessions: then there is only the daemon, as it was at first; then nothing."""
    box = world.box
    for info in world.ask("list")["sessions"]:
        if info["state"] != "ended":
            world.ask("kill", session=info["id"], force=False)
        world.ask("remove", session=info["id"])
    allowed = {"toowld", "--zygote"}

    def strangers() -> list[str]:
        return [
            text
            for process in box.processes()
            if process.pid != box.daemon_pid and "--zygote" not in (text := describe(process))
        ]

    eventually(world, lambda: not strangers(), f"processes to end: {strangers()} (but {allowed})", 15)
    eventually(
        world,
        lambda: len(open_files(box.daemon_pid)) <= len(daemon_files),
        f"the daemon's files: {open_files(box.daemon_pid)}, at first {daemon_files}",
        10,
    )
    for folder in (box.paths.sessions, box.paths.custodians, box.paths.following):
        eventually(world, lambda f=folder: not list(f.iterdir()), f"{folder} to be empty", 10)  # type: ignore[misc]
    box.stop()
    eventually(
        world, lambda: not box.processes(), f"all to be gone: {[describe(p) for p in box.processes()]}", 10
    )
    left = {path.name for path in box.paths.runtime.iterdir()} - {"custodians", "following", "toowld.lock"}
    if left:
        world.problem(f"left in the runtime folder: {sorted(left)}")
    if scopes:
        _check_scopes(world, ids)


def _check_scopes(world: World, ids: set[str]) -> None:
    command = [
        "systemctl",
        *([] if os.getuid() == 0 else ["--user"]),
        "list-units",
        "--all",
        "--plain",
        "toowl-*.scope",
    ]

    def left() -> set[str]:
        listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return {one for one in ids if f"toowl-{one}.scope" in listed}

    eventually(world, lambda: not left(), "scopes to be gone", 10)
