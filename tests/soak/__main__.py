"""``python -m tests.soak [--minutes M] [--seed S] [--json FILE]``: see `tests.soak`. Status 0 only if all holds."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

from tests.daemon.crowd import Crowd, settle
from tests.daemon.steps import settings
from tests.harness import wait_for
from tests.soak import verdict
from tests.soak.chaos import Chaos
from tests.soak.users import AtTerminal, Churn
from tests.soak.viewer import Viewer
from tests.soak.world import SCROLLBACK, World
from toowld.errors import RefusedError

#: Name, kind, whether its custodian is killed now and then.
SESSIONS = (
    ("steady", "steady", False),
    ("burst", "burst", False),
    ("colour", "colour", False),
    ("split", "split", False),
    ("idle", "idle", False),
    ("idle2", "idle", False),
    ("mortal", "steady", True),
    ("mortal-burst", "burst", True),
    ("mortal-split", "split", True),
)

#: Session, manner, whether it types, whether with bit 7 set.
VIEWERS = (
    ("steady", "steady", True, False),
    ("steady", "steady", True, True),
    ("steady", "forgetful", False, False),
    ("burst", "steady", True, False),
    ("burst", "slow", False, False),
    ("burst", "moody", False, False),
    ("colour", "moody", True, False),
    ("split", "forgetful", False, False),
    ("split", "steady", True, True),
    ("idle", "steady", True, False),
    ("mortal", "steady", True, False),
    ("mortal-burst", "steady", True, False),
    ("mortal-split", "moody", False, False),
)

TERMINALS = ("steady", "colour", "split")

#: Of each of 8 users in the crowd before the storm; fewer in a soak too short for them.
OPERATIONS = 1000


class Soak:
    """The course of it all."""

    def __init__(self, world: World, seconds: float, seed: int) -> None:
        self.world = world
        self.seconds = seconds
        self.seed = seed
        self.begun = time.monotonic()
        self.samples: list[tuple[float, dict[str, float]]] = []
        self.viewers: list[Viewer] = []
        self.terminals: list[AtTerminal] = []

    def run(self, *, scopes: bool) -> None:
        """From the first session to the last file."""
        world = self.world
        disk = world.mount()
        print(f"soak: {self.seconds:g} s, seed {self.seed}, disk: {disk}", flush=True)
        settings(world.box, scrollback_bytes=SCROLLBACK, tick=1)
        world.box.up()
        wait_for(lambda: world.ask("doctor")["zygote_pid"])
        daemon_files = verdict.open_files(world.box.daemon_pid)
        self.crowd()
        for number, (name, kind, mortal) in enumerate(SESSIONS):
            world.make(name, kind, mortal=mortal, seed=self.seed + number)
        ids = {place.id for place in world.places}
        custodian_files = {
            place.id: verdict.open_files(world.box.custodians()[place.id]) for place in world.places
        }
        self.storm()
        self.calm()
        verdict.check_memory(world, self.samples)
        verdict.check_custodians(world, custodian_files)
        verdict.check_nothing_left(world, daemon_files, ids, scopes=scopes)

    def crowd(self) -> None:
        """Eight users who do things at random, all at once, on a calm machine."""
        world = self.world
        operations = min(OPERATIONS, int(self.seconds * 2))
        with Crowd(world.box, 8, operations, self.seed) as crowd:
            report = crowd.reports()
            for text in [*report["unexpected"], *settle(world.box, crowd)]:
                world.problem(f"crowd: {text}")
        for text in settle(world.box):
            world.problem(f"crowd: {text}")
        world.count("operations of the crowd", crowd.operations)
        world.count("operations of the crowd per second", int(report["per_second"]))
        for info in world.ask("list")["sessions"]:
            if info["state"] != "ended":
                with contextlib.suppress(RefusedError):  # it has ended by itself meanwhile
                    world.ask("kill", session=info["id"], force=False)
            world.ask("remove", session=info["id"])

    def storm(self) -> None:
        """All that can happen, for as long as was asked for."""
        world = self.world
        places = {place.name: place for place in world.places}
        seeds = random.Random(self.seed)
        self.viewers = [
            Viewer(world, places[name], seeds.getrandbits(32), manner, types=types, high=high)
            for name, manner, types, high in VIEWERS
        ]
        self.terminals = [AtTerminal(world, places[name]) for name in TERMINALS]
        churn = Churn(world, seeds.getrandbits(32))
        chaos = Chaos(world, self.terminals, seeds.getrandbits(32))
        begun = time.monotonic()
        for thread in (*self.viewers, *self.terminals, churn, chaos):
            thread.start()
        told = 0
        while time.monotonic() - begun < self.seconds and chaos.is_alive():
            time.sleep(0.5)
            if (time.monotonic() - begun) // 10 > told:
                told += 1
                self.progress()
        print("soak: calm", flush=True)
        chaos.leave.set()
        churn.leave.set()
        chaos.join(60)
        churn.join(60)
        if chaos.is_alive() or churn.is_alive():
            world.problem("chaos or churn does not come to an end")

    def calm(self) -> None:
        """Nothing happens any more: everybody must get what is due to them."""
        world = self.world
        for viewer in self.viewers:
            viewer.quiet.set()
        for place in world.places:
            (place.folder / "quiet").touch()
        for user in self.terminals:
            user.leave.set()
        ours = {place.id for place in world.places}
        verdict.eventually(  # who was killed last is started again by its client
            world,
            lambda: ours <= world.box.custodians().keys() and not self.not_running(ours),
            f"all to run: {self.not_running(ours)} of {sorted(ours)}",
        )
        verdict.check_input(world, self.viewers)
        verdict.check_output(world, self.viewers)
        self.progress()
        for thread in (*self.viewers, *self.terminals):
            if isinstance(thread, Viewer):
                thread.leave.set()
            thread.join(30)
            if thread.is_alive():
                world.problem(f"{thread.name} does not come to an end")
        for viewer in self.viewers:
            tracker = viewer.tracker
            tracker.finish()
            for text in tracker.problems:
                world.problem(text)
            world.count("bytes watched", tracker.bytes)
            world.count("lines watched", tracker.lines)
            world.count("gaps announced to clients", tracker.gaps)
            world.count("bytes in gaps to clients", tracker.gap_bytes)
            world.count("gaps of unknown size to clients", tracker.leaps)

    def not_running(self, ids: set[str]) -> list[str]:
        """Sessions of ours that don't, and what they do instead."""
        listed = {info["id"]: info for info in self.world.ask("list")["sessions"]}
        return [f"{one} {listed[one]['display']}" for one in ids if listed[one]["state"] != "running"]

    def progress(self) -> None:
        """One line, and a look at the memory."""
        world = self.world
        for viewer in self.viewers:
            for text in viewer.tracker.problems[:]:
                viewer.tracker.problems.remove(text)
                world.problem(text)
        self.samples.append(world.memory())
        printed = sum(place.printed(run) for place in world.places for run in place.runs())
        watched = sum(viewer.tracker.bytes for viewer in self.viewers)
        counts = world.counts
        ended = sum(number for name, number in counts.items() if name.startswith("daemon ended"))
        figures = (
            f"printed {printed / 1e6:.1f} MB",
            f"watched {watched / 1e6:.1f} MB",
            f"typed {counts['bytes typed'] / 1e6:.2f} MB",
            f"daemon ended {ended}x",
            f"custodians killed {counts['custodians killed']}x",
            f"connections cut {counts['connections cut']}x",
            f"disk full {counts['disk full for a while']}x",
            f"short sessions {counts['short sessions']}",
            f"problems {len(world.problems)}",
        )
        print(f"{time.monotonic() - self.begun:5.0f} s: {', '.join(figures)}", flush=True)


def keep(world: World) -> Path:
    """Copy what is there, to look at."""
    folder = Path(tempfile.mkdtemp(prefix="toowl-soak-failed-", dir="/tmp"))

    def sockets(path: str, names: list[str]) -> set[str]:
        return {name for name in names if name == "ballast" or (Path(path) / name).is_socket()}

    for name, source in (("sandbox", world.box.root), ("children", world.work)):
        shutil.copytree(source, folder / name, ignore=sockets, symlinks=True, dirs_exist_ok=True)
    (folder / "problems.txt").write_text("\n".join(world.problems) + "\n")
    return folder


def _interrupted(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run it; 0 only if all holds."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    parser.add_argument("--json", type=Path, help="write the summary here too")
    parser.add_argument("--scopes", action="store_true", help="let toowld use the machine's systemd")
    args = parser.parse_args()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupted)
    with World(args.scopes) as world:
        soak = Soak(world, args.minutes * 60, args.seed)
        try:
            soak.run(scopes=args.scopes)
        except KeyboardInterrupt:
            world.problem("interrupted")
        except Exception as error:  # noqa: BLE001 - whatever it is: the folder is kept, and everything ended
            world.problem(f"the soak itself: {type(error).__name__}: {error}")
        summary: dict[str, Any] = {
            "minutes": args.minutes,
            "seed": args.seed,
            "root": os.getuid() == 0,
            "seconds": round(time.monotonic() - soak.begun),
            "scopes": "made by systemd" if args.scopes else "none made",
            **dict(sorted(world.counts.items())),
            "problems": world.problems,
        }
        for name, value in summary.items():
            print(f"  {name}: {value}")
        if args.json:
            args.json.write_text(json.dumps(summary, indent=1) + "\n")
        print(json.dumps(summary), flush=True)
        if world.problems:
            print(f"soak: {len(world.problems)} problems; everything is kept in {keep(world)}", flush=True)
            return 1
    print("soak: all holds", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
