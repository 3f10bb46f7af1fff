"""Shows the promise without a terminal: a session counts, its daemon dies, and the count has no hole.

``make demo``. Works in folders of its own and leaves nothing behind; exit status 0 only if the promise holds.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNT = 'i=0; while :; do echo "count $i"; i=$((i+1)); sleep 0.005; done'

#: Everything here takes milliseconds; a machine that needs this long is not just slow.
PATIENCE = 30.0


class Broken(Exception):
    """The promise does not hold."""


class Demo:
    """One namespace with a daemon that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemon: subprocess.Popen[bytes] | None = None
        self.started: set[int] = set()
        self.env = {
            **os.environ,
            "TOOWL_RUNTIME_DIR": str(folder / "run"),
            "TOOWL_STATE_DIR": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "TOOWL_NO_AUTOSTART": "1",
            "TOOWLD_PERSISTENT_SESSIONS": "1",
            "TOOWLD_SCOPES": "0",  # nothing of this is systemd's business
        }

    def start(self) -> int:
        with (self.folder / "daemon.out").open("ab") as output:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "toowld"],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.until(lambda: self._try("toowld", "status").returncode == 0, "the daemon to answer")
        return self.daemon.pid

    def kill9(self) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def _try(self, program: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", program, *args],
            env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def toowl(self, *args: str) -> str:
        done = self._try("toowl", *args)
        if done.returncode:
            raise Broken(f"toowl {' '.join(args)}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def session(self) -> dict[str, Any]:
        (info,) = json.loads(self.toowl("ls", "--json"))
        self.started |= {info["custodian_pid"], info["pid"]} - {None}
        return dict(info)

    def counted(self) -> list[int]:
        return [
            int(number) for number in re.findall(r"count (\d+)\r?\n", self.toowl("capture", "demo", "--raw"))
        ]

    def log_bytes(self, session: str) -> int:
        return sum(path.stat().st_size for path in (self.folder / "state/sessions" / session).iterdir())

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.daemon is not None and self.daemon.poll() not in (None, -signal.SIGKILL):
                raise Broken(f"toowld ended: {(self.folder / 'daemon.out').read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise Broken(f"waited {PATIENCE:.0f} s for {what}")
            time.sleep(0.02)

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._try("toowl", "kill", "demo").returncode:
            for pid in self.started:
                with contextlib.suppress(ProcessLookupError):  # that is what we want
                    os.kill(pid, signal.SIGKILL)
        if self.daemon is not None:
            self.daemon.terminate()
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()


def say(text: str) -> None:
    print(f"  ✓ {text}", flush=True)


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


def show(demo: Demo) -> None:
    daemon = demo.start()
    say(f"started toowld with persistent sessions, pid {daemon}")

    demo.toowl("new", "-d", "-n", "demo", "--", "sh", "-c", COUNT)
    before = demo.session()
    require(before["persistent"], "the session is not persistent")
    demo.until(lambda: len(demo.counted()) >= 100, "the count to reach 100")
    say(f"session {before['id']} counts, its shell has pid {before['pid']}; so far {demo.counted()[-1]}")

    demo.kill9()
    died = time.monotonic()
    size = demo.log_bytes(before["id"])
    say(f"killed the daemon: kill -9 {daemon}")
    demo.until(lambda: demo.log_bytes(before["id"]) > size + 2000, "the session to count on without a daemon")
    say("no daemon runs, and the session counts on")

    again = demo.start()
    away = time.monotonic() - died
    after = demo.session()
    say(f"started toowld again, pid {again}; it was away for {away:.1f} s")
    require(after["pid"] == before["pid"], f"the shell is another: pid {before['pid']}, now {after['pid']}")
    require(after["state"] == "running", f"the session is {after['display']}")
    say(f"toowl ls shows the same session, the same shell: pid {after['pid']}, {after['display']}")

    reached = demo.counted()[-1]
    demo.until(lambda: demo.counted()[-1] >= reached + 100, "the count to go on")
    numbers = demo.counted()
    holes = [n for n, m in itertools.pairwise(numbers) if m != n + 1]
    require(numbers[0] == 0, f"the scrollback begins at {numbers[0]}")
    require(not holes, f"holes or doubles after {holes[:5]}")
    say(f"scrollback holds 0 to {numbers[-1]}: no hole, nothing twice")

    cast = demo.folder / "demo.cast"
    demo.toowl("export", "demo", "-o", str(cast))
    say(f"exported as an asciinema recording, {len(cast.read_text().splitlines())} lines")


def main() -> int:
    # Directly below /tmp: the path of a Unix socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="toowl-demo-", dir="/tmp"))
    demo = Demo(folder)
    print("A session outlives its daemon:")
    try:
        show(demo)
    except Broken as error:
        print(f"  ✗ {error}")
        return 1
    finally:
        demo.end()
        shutil.rmtree(folder, ignore_errors=True)
    print("The promise holds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
