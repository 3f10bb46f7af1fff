"""A small disk of its own for the state folder, to see what happens when it is full or read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import Sandbox, machine_cannot, wait_for


class Disk:
    """A tmpfs that is mounted where the sandbox keeps its state."""

    def __init__(self, mountpoint: Path) -> None:
        self.mountpoint = mountpoint

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte more can be written for a while."""
        ballast = self.mountpoint / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (1 << 16, 1 << 12, 1):
                with contextlib.suppress(OSError):  # ENOSPC, which is what we are here for
                    while True:
                        file.write(b"\0" * size)
        try:
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Nothing can be changed for a while. No file must stay open for writing."""
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def _remount(self, mode: str) -> None:
        command = ["mount", "-o", f"remount,{mode}", str(self.mountpoint)]
        # Busy while somebody just writes: records are stored beside everything else.
        wait_for(
            lambda: not subprocess.run(command, capture_output=True).returncode,
            what=" ".join(command),
        )


@pytest.fixture
def disk(sandbox: Sandbox) -> Iterator[Disk]:
    """The sandbox's state folder on 2 MiB of its own."""
    if os.getuid() != 0:
        machine_cannot("only root may mount a small disk")
    mountpoint = sandbox.paths.state
    mountpoint.mkdir(mode=0o700)
    options = "size=2m,mode=0700"
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "toowl-test", mountpoint], capture_output=True, check=False
    )
    if done.returncode:
        machine_cannot(f"mount: {done.stderr.decode().strip()}")
    yield Disk(mountpoint)
    # Lazy: the processes in there are ended only after this.
    subprocess.run(["umount", "--lazy", mountpoint], check=True)
