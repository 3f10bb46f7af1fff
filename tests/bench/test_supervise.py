"""Nothing of a run stays: checked with a process that does all to get away, as daemons do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import REPOSITORY, alive, wait_for

#: Tells its folder and the pid of a daemon that left it; then it goes on until somebody ends it, or it ends as told.
_PROGRAM = """
    import os, sys, time
    from pathlib import Path
    from bench.supervise import supervised

    def work(root: Path) -> int:
        reader, writer = os.pipe()
        if not os.fork():
            os.setsid()
            if os.fork():
                os._exit(0)
            os.write(writer, str(os.getpid()).encode())
            time.sleep(1000)
        os.wait()
        (root / "file").write_text("")
        print(root, os.getpid(), os.read(reader, 100).decode(), flush=True)
        if sys.argv[1] == "goes on":
            time.sleep(1000)
        return int(sys.argv[1])

    sys.exit(supervised(work))
"""


class Supervised:
    """A supervisor, what it runs, and a daemon that escaped from that."""

    def __init__(self, end: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_PROGRAM), end],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        folder, worker, daemon = self.process.stdout.readline().split()
        self.folder, self.worker, self.daemon = Path(folder), int(worker), int(daemon)

    def end(self) -> int:
        """Its status, once nothing is left."""
        self.process.communicate(timeout=20)
        wait_for(lambda: not alive(self.daemon), what="the daemon to end")
        assert not self.folder.exists()
        return self.process.returncode


@pytest.fixture
def goes_on() -> Iterator[Supervised]:
    found = Supervised("goes on")
    assert alive(found.daemon) and (found.folder / "file").exists()
    yield found
    if found.process.poll() is None:
        found.process.terminate()
        found.process.communicate(timeout=20)


@pytest.mark.parametrize("status", [0, 3])
def test_at_the_end(status: int) -> None:
    assert Supervised(str(status)).end() == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_at_a_signal(goes_on: Supervised, number: signal.Signals) -> None:
    goes_on.process.send_signal(number)
    assert goes_on.end() == 130


def test_when_the_worker_is_killed(goes_on: Supervised) -> None:
    os.kill(goes_on.worker, signal.SIGKILL)
    assert goes_on.end() != 0
