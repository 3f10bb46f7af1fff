"""Several users at once (`tests.daemon.operations`), and the comparison of what is left with the truth."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import psutil

from tests.harness import Sandbox, alive, wait_for
from toowld.daemon.store import Store
from toowld.session import Record

_CUSTODIAN = re.compile(r"--custodian ([0-9a-f]{8})")


class Crowd:
    """Processes that do random operations; use as a context manager."""

    def __init__(self, box: Sandbox, users: int, operations: int, seed: int) -> None:
        self._box = box
        self.operations = users * operations
        self._begun = time.monotonic()
        self._users = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.daemon.operations", str(seed * 1000 + number), str(operations)],
                env=box.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(users)
        ]

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        for user in self._users:
            user.kill()
            user.communicate()

    @property
    def pids(self) -> list[int]:
        return [user.pid for user in self._users]

    def reports(self) -> dict[str, Any]:
        """Wait until all are done; how it went, altogether."""
        total: dict[str, Any] = {"done": Counter(), "refused": Counter(), "unexpected": [], "slowest": 0.0}
        for user in self._users:
            assert user.stdout is not None
            line = user.stdout.readline()
            assert line, f"a user of the crowd ended with status {user.wait(5)}"
            report = json.loads(line)
            total["done"] += Counter(report["done"])
            total["refused"] += Counter(report["refused"])
            total["unexpected"] += report["unexpected"]
            total["slowest"] = max(total["slowest"], report["slowest"])
        total["seconds"] = time.monotonic() - self._begun
        total["per_second"] = self.operations / total["seconds"]
        return total

    def attachments(self) -> Counter[str]:
        """What all of them have left, by session."""
        standing: Counter[str] = Counter()
        for user in self._users:
            assert user.stdin is not None and user.stdout is not None
            user.stdin.write("\n")
            user.stdin.flush()
            standing += Counter(json.loads(user.stdout.readline()))
        return standing


def custodians(box: Sandbox) -> list[tuple[str, int]]:
    """Session and pid of every custodian process of the sandbox, whether anybody knows of it or not."""
    found = []
    for process in box.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
            if match := _CUSTODIAN.search(" ".join(process.cmdline())):
                found.append((match[1], process.pid))
    return sorted(found)


def differences(box: Sandbox, attachments: Counter[str] | None = None) -> list[str]:
    """In what the daemon's list is not the truth: processes, names, records on disk, attachments."""
    with box.client() as client:
        listed = {info["id"]: info for info in client.request("list")["sessions"]}
    running = {key: info for key, info in listed.items() if info["state"] == "running"}
    kept = {key: info for key, info in running.items() if info["persistent"]}
    wrong = [f"{key} is {info['display']}" for key, info in listed.items() if info["state"] in _PASSING]

    processes = custodians(box)
    expected = sorted((key, info["custodian_pid"]) for key, info in kept.items())
    if processes != expected:
        wrong.append(f"custodians are {processes}, listed are {expected}")
    for key, info in running.items():
        keeper = info["custodian_pid"] if info["persistent"] else box.daemon_pid
        wrong += [f"{key}: {what}" for what in _child_troubles(info["pid"], keeper)]
    for key, info in listed.items():
        if info["state"] == "ended" and (info["pid"] or info["custodian_pid"]):
            wrong.append(f"{key} has ended and still names processes")

    names = Counter(info["name"] for info in listed.values() if info["name"])
    wrong += [f"{count} sessions are called {name}" for name, count in names.items() if count > 1]
    wrong += _record_troubles(box, listed)
    if attachments is not None:
        counted = Counter({key: info["clients"] for key, info in listed.items() if info["clients"]})
        if counted != attachments:
            wrong.append(f"clients are {dict(counted)}, the truth is {dict(attachments)}")
    return wrong


_PASSING = ("starting", "awaiting", "unreachable")


def _child_troubles(pid: int, keeper: int) -> list[str]:
    try:
        child = psutil.Process(pid)
        if not alive(pid):
            return [f"child {pid} is dead"]
        if child.ppid() != keeper:
            return [f"child {pid} belongs to {child.ppid()}, not to {keeper}"]
        return []
    except psutil.NoSuchProcess:
        return [f"child {pid} is gone"]


def _record_troubles(box: Sandbox, listed: dict[str, dict[str, Any]]) -> list[str]:
    records, skipped = Store(box.paths.sessions).load_all()
    wrong = [f"record: {item}" for item in skipped]
    stored = {record.id: record for record in records}
    if stored.keys() != listed.keys():
        wrong.append(f"on disk are {sorted(stored)}, listed are {sorted(listed)}")
    folders = {path.name for path in box.paths.sessions.iterdir()}
    if folders != listed.keys():
        wrong.append(f"folders are {sorted(folders)}, listed are {sorted(listed)}")
    wrong += [f"{path} was left" for path in box.paths.sessions.glob("*/record~")]
    for key in stored.keys() & listed.keys():
        if (on_disk := _as_listed(stored[key])) != (told := {name: listed[key][name] for name in on_disk}):
            wrong.append(f"{key}: on disk is {on_disk}, listed is {told}")
    return wrong


def _as_listed(record: Record) -> dict[str, Any]:
    running = record.state.value == "running"
    return {
        "name": record.name,
        "persistent": record.persistent,
        "state": record.state.value,
        "end_reason": record.end_reason,
        "exit_code": record.exit_code,
        "exit_signal": record.exit_signal,
        "pid": record.pid if running else None,
        "custodian_pid": record.custodian_pid if running else None,
        "version": record.version,
    }


def settle(box: Sandbox, crowd: Crowd | None = None, timeout: float = 10) -> list[str]:
    """`differences`, once what was under way has had its time."""
    found: list[str] = []

    def equal() -> bool:
        found[:] = differences(box, crowd.attachments() if crowd else None)
        return not found

    with contextlib.suppress(AssertionError):  # told better by what is returned
        wait_for(equal, timeout)
    return found
