"""The place where the soak happens: folders, a small disk, the daemon, the sessions; and that nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.harness import Sandbox, wait_for
from tests.soak.child import COUNT
from tests.soak.lines import Truth
from toowld.errors import ToowlError

#: Of one session's log: small, so that old output is dropped many times over.
SCROLLBACK = 1 << 20

#: Of the disk: all logs and a bit.
DISK = 32 << 20


@dataclass
class Place:
    """One session of the soak.

    Attributes:
        mortal: its custodian is killed now and then, and a client starts it again.
        folder: where its child tells the truth.
    """

    name: str
    kind: str
    mortal: bool
    folder: Path
    id: str = ""
    truth: Truth = field(default_factory=Truth)

    def runs(self) -> list[int]:
        """Of the child, so far."""
        return sorted(int(path.name[4:]) for path in self.folder.glob("out-*"))

    def printed(self, run: int) -> int:
        """How much a run has printed."""
        data = (self.folder / f"out-{run:04d}").read_bytes()
        return int(COUNT.unpack(data)[0]) if len(data) == COUNT.size else 0

    def read(self, run: int) -> bytes:
        """What a run has read."""
        return (self.folder / f"in-{run:04d}").read_bytes()

    def run_of(self, pid: int) -> int | None:
        """Which run a child is, once it reads."""
        try:
            return int((self.folder / f"run-of-{pid}").read_text())
        except (FileNotFoundError, ValueError):
            return None


class World:
    """Everything that is there. Use as a context manager."""

    def __init__(self, scopes: bool) -> None:
        self.box = Sandbox(forks=False)
        self.work = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
        self.guardian = _start_guardian(self.box, self.work)  # before there are threads
        self.places: list[Place] = []
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.ending = threading.Event()
        self.mounted = False
        self.full_until = 0.0
        if scopes:
            del self.box.env["TOOWLD_SCOPES"]
        self.box.env["TOOWL_STATE_DIR"] = str(self.box.paths.state)

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.box.close()
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.box.paths.state], check=False)
            self.mounted = False
        shutil.rmtree(self.box.root, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)
        os.close(self.guardian[1])
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.guardian[0], 0)

    def problem(self, text: str) -> None:
        """Something does not hold."""
        self.problems.append(text)
        print(f"PROBLEM {text}", flush=True)

    def count(self, what: str, number: int = 1) -> None:
        """For the summary. Approximate where threads meet, which figures may be."""
        self.counts[what] += number

    # --- the disk ---------------------------------------------------------------------------------------

    def mount(self) -> str:
        """Make the state folder a small disk of its own, if we may. Returns how disks are filled."""
        state = self.box.paths.state
        state.mkdir(mode=0o700)
        if os.getuid() == 0:
            options = f"size={DISK},mode=0700"
            command = ["mount", "-t", "tmpfs", "-o", options, "toowl-soak", str(state)]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                self.mounted = True
                return f"a tmpfs of {DISK >> 20} MiB"
        return "a stand-in: file size limits on the custodians (only root may mount a small disk)"

    def fill_disk(self) -> None:
        """Not a byte more goes onto the disk."""
        self.full_until = float("inf")
        if not self.mounted:
            self._limit_files(0)
            return
        with (self.box.paths.state / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):  # ENOSPC, which is what we are here for
                    while True:
                        file.write(b"\0" * size)

    def free_disk(self) -> None:
        """There is room again."""
        if self.mounted:
            (self.box.paths.state / "ballast").unlink(missing_ok=True)
        else:
            self._limit_files(resource.RLIM_INFINITY)
        self.full_until = time.monotonic() + 4  # logs go back to disk about once a second

    @property
    def disk_recovering(self) -> bool:
        """Whether some output may be in memory only: who is killed now loses it."""
        return time.monotonic() < self.full_until

    def _limit_files(self, limit: int) -> None:
        for pid in self.box.custodians().values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, hard))

    # --- the daemon and its sessions --------------------------------------------------------------------

    def ask(self, method: str, *, patience: float = 30, **params: Any) -> dict[str, Any]:
        """A request, again and again until there is a daemon to answer it."""
        deadline = time.monotonic() + patience
        while True:
            try:
                with self.box.client() as client:
                    result: dict[str, Any] = client.request(method, **params)
                    return result
            except ToowlError as error:
                if (
                    error.code not in ("daemon-unreachable", "unreachable", "store")
                    or time.monotonic() > deadline
                ):
                    raise
            self.ending.wait(0.1)

    def command(self, kind: str, folder: Path, seed: int) -> list[str]:
        """The argv of a child."""
        return [sys.executable, "-m", "tests.soak.child", kind, str(folder), str(seed)]

    def make(self, name: str, kind: str, *, mortal: bool, seed: int) -> Place:
        """Start a session."""
        folder = self.work / name
        folder.mkdir()
        place = Place(name, kind, mortal, folder)
        command = self.command(kind, folder, seed)
        if mortal:
            # Of what was lost only a shell is started at once by whoever attaches it; so it goes by that name.
            shell = folder / "bash"
            shell.write_text(f"#!/bin/sh\nexec {shlex.join(command)}\n")
            shell.chmod(0o700)
            command = [str(shell)]
        place.id = self.box.new(*command, name=name)["id"]
        wait_for(place.runs, what=f"{name} to run")
        self.places.append(place)
        return place

    def memory(self) -> tuple[float, dict[str, float]]:
        """Private megabytes of the daemon, and of each custodian by session."""

        def private(pid: int) -> float:
            try:
                return float(psutil.Process(pid).memory_full_info().uss) / 1e6
            except psutil.Error:
                return 0.0

        daemon = private(self.box.daemon_pid)
        return daemon, {session: private(pid) for session, pid in self.box.custodians().items()}


def _start_guardian(box: Sandbox, work: Path) -> tuple[int, int]:
    """A process that ends everything in the sandbox should we be killed without a word."""
    ours, its = os.pipe()
    pid = os.fork()
    if pid:
        os.close(ours)
        return pid, its
    os.setsid()
    os.close(its)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    try:
        os.read(ours, 1)  # until the other end is closed: at the end of all, by us or by the kernel
        if box.root.exists():
            box.close()
            subprocess.run(["umount", "--lazy", box.paths.state], capture_output=True, check=False)
            shutil.rmtree(box.root, ignore_errors=True)
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os._exit(0)
