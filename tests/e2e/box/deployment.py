"""One way of running toowld under the box's systemd, and a session in it that can tell if anything was lost.

The units are the shipped ones, word for word; what a test wants otherwise is a drop-in.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.box import Box
from tests.harness import REPOSITORY, Terminal, wait_for

#: Counts without end, and answers each line that is typed. `read -t` is the pause: no process is forked for it. When
#: the time is up in the middle of a line, it gives what it has.
COUNTER = (
    'i=0; typed=; while :; do echo "n$i"; i=$((i+1));'
    ' if read -rt 0.002 part; then echo "got:$typed$part."; typed=; else typed+=$part; fi; done'
)


@dataclass(frozen=True)
class Deployment:
    """A unit of toowld, and the user whose sessions it keeps."""

    box: Box
    unit: str
    user: str = "root"
    #: Managed by the user's own systemd.
    own_manager: bool = False

    @property
    def fragment(self) -> str:
        """The file that the unit comes from."""
        return "toowld@.service" if "@" in self.unit else "toowld.service"

    @property
    def folder(self) -> str:
        return "/etc/systemd/user" if self.own_manager else "/etc/systemd/system"

    def install(self) -> None:
        source = REPOSITORY / "packaging/systemd" / ("user" if self.own_manager else "") / self.fragment
        self.box.write(f"{self.folder}/{self.fragment}", source.read_text())
        self.systemctl("daemon-reload")

    def systemctl(self, *args: str, check: bool = True) -> str:
        if self.own_manager:
            return self.box.run("systemctl", "--user", *args, user=self.user, check=check).stdout.strip()
        return self.box.run("systemctl", *args, check=check).stdout.strip()

    def show(self, name: str) -> str:
        return self.systemctl("show", self.unit, f"--property={name}", "--value")

    @contextmanager
    def drop_in(self, name: str, text: str) -> Iterator[None]:
        """Settings that hold until the end of the block; for the next start, unless systemd applies them at once."""
        path = f"{self.folder}/{self.fragment}.d/{name}.conf"
        self.box.write(path, f"[Service]\n{text}\n")
        self.systemctl("daemon-reload")
        try:
            yield
        finally:
            self.box.path(path).unlink()
            self.systemctl("daemon-reload")

    @property
    def main_pid(self) -> int:
        """The daemon as the box knows it, 0 while none runs."""
        return int(self.show("MainPID"))

    def wait_for_another(self, old_pid: int) -> None:
        """Wait until a new daemon is up: it says READY after it has found all sessions."""
        wait_for(
            lambda: self.main_pid not in (0, old_pid) and self.show("ActiveState") == "active",
            what=f"another daemon than {old_pid}",
        )

    def toowl(self, *args: str) -> str:
        """What a user gets who logged in and typed that: no variable tells where the daemon is."""
        return self.box.run("toowl", *args, user=self.user).stdout

    def row(self, session: str) -> dict[str, Any]:
        """One session as `toowl ls --json` has it."""
        rows: list[dict[str, Any]] = json.loads(self.toowl("ls", "--json"))
        return next(row for row in rows if row["id"] == session)

    def clear(self) -> None:
        """End all sessions, and the daemon."""
        if self.show("ActiveState") == "active":
            running = [
                row["id"] for row in json.loads(self.toowl("ls", "--json")) if row["state"] == "running"
            ]
            for session in running:
                self.box.run("toowl", "kill", "--force", session, user=self.user, check=False)
        self.systemctl("stop", self.unit)


class Counter:
    """A session that counts, with a client attached to it at a real terminal."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.id = deployment.toowl("new", "-d", "--cwd", "/", "--", "bash", "-c", COUNTER).split()[0]
        attach = deployment.box.command("toowl", "attach", self.id, user=deployment.user)
        self.terminal = Terminal(attach, {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, Path("/"))
        try:
            self.terminal.expect("n99\r\n")
            self.before = deployment.row(self.id)
            assert self.before["clients"] == 1, self.before
        except BaseException:
            self.close()
            raise

    def cgroup(self) -> str:
        """Where systemd has the custodian."""
        text = self.deployment.box.run("cat", f"/proc/{self.before['custodian_pid']}/cgroup").stdout
        return next(line for line in text.splitlines() if line.startswith("0::"))[3:]

    def goes_on(self) -> None:
        """Wait until the attached client has seen a hundred numbers more than now."""
        last = seen(self.terminal.output)[-1]
        self.terminal.expect(f"n{last + 100}\r\n")

    def assert_undisturbed(self) -> None:
        """Same processes, same client, nothing lost, nothing twice, and typing still arrives."""
        self.goes_on()
        after = self.deployment.row(self.id)
        for name in ("pid", "custodian_pid", "persistent", "state", "clients", "display"):
            assert after[name] == self.before[name], (name, after)
        status = next(line for line in self.deployment.toowl("ls").splitlines() if line.startswith(self.id))
        assert "P attached" in status
        for word in ("by-hand", "by-send"):
            if word == "by-hand":
                self.terminal.send(f"{word}\r")
            else:
                self.deployment.toowl("send", self.id, word)
            self.terminal.expect(f"got:{word}.")
        self.goes_on()
        assert self.terminal.output.count(b"got:") == 2
        assert_contiguous(seen(self.terminal.output))
        raw = self.deployment.toowl("capture", "--raw", self.id).encode()
        assert_contiguous(numbers := seen(raw))
        assert numbers[0] == 0

    def close(self) -> None:
        self.terminal.close()
        self.deployment.box.run("toowl", "kill", "--force", self.id, user=self.deployment.user, check=False)


def seen(output: bytes) -> list[int]:
    """The numbers that a counter printed, in order."""
    return [int(number) for number in re.findall(rb"n(\d+)\r?\n", output)]


def assert_contiguous(numbers: list[int]) -> None:
    assert numbers, "no number at all"
    broken = [(a, b) for a, b in itertools.pairwise(numbers) if b != a + 1]
    assert not broken, f"{len(broken)} times, first {broken[:5]}"
