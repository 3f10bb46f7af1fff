"""Who did what to which session, when, and from where: one JSON line each, in ``audit.jsonl`` in the state folder.

Two kinds of lines. A ``request`` is what somebody asked of the daemon, with who that was by the word of the kernel,
and whether it was refused. An ``event`` is what happened: who is attached, and how a session ended. What was typed,
printed or run, and what is in an environment, is never in here.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from toowld.daemon import process
from toowld.daemon.auditfile import AuditFile
from toowld.daemon.events import Bus, Happening, Listener
from toowld.daemon.registry import Registry
from toowld.errors import SessionError, ToowlError
from toowld.settings.schema import Audit as Wanted
from toowld.wire import Request

#: Requests that do nothing to anybody.
_HARMLESS = frozenset(
    ("status", "list", "info", "doctor", "settings", "subscribe", "read_log", "screen", "resize", "reconnect")
)

#: What of a request's parameters is noted as it is. Anything else may hold what is nobody's business.
_NOTED = ("force", "persistent", "read_only", "client", "all", "dry_run")

#: Events that are noted, and what of them.
_EVENTS: Mapping[str, tuple[str, ...]] = {
    "created": ("persistent",),
    "started": ("pid",),
    "restarted": ("pid",),
    "renamed": ("before",),
    "attached": ("client", "pid", "tty", "read_only", "again"),
    "detached": ("client", "reason"),
    "ended": ("reason", "code", "signal", "requested", "cause"),
    "removed": (),
    "upgraded": ("before", "after"),
}

#: How long the daemon's end waits for a disk (seconds).
FAREWELL = 1.0


class Audit:
    """Notes it.

    Args:
        path: the file.
        wanted: the settings that hold now.
    """

    def __init__(self, path: Path, wanted: Callable[[], Wanted], registry: Registry, bus: Bus) -> None:
        self._file = AuditFile(path)
        self._wanted = wanted
        self._registry = registry
        self._listener = Listener(
            bus, wants=self._wants, take=self._take, missed=lambda count, number: None, since=bus.last
        )

    def start(self) -> None:
        """From now on."""
        self._listener.start()
        self._note({"event": "daemon-started", "pid": os.getpid()})

    async def close(self) -> None:
        """The daemon ends."""
        self._listener.close()
        self._note({"event": "daemon-stopped", "pid": os.getpid()})
        await self._file.settle(FAREWELL)

    @contextlib.contextmanager
    def asked(self, peer: tuple[int, int], request: Request) -> Iterator[dict[str, Any]]:
        """Around a request of ``peer`` (uid and pid). What it makes is put into the map: its ``id`` and ``name``."""
        made: dict[str, Any] = {}
        if request.method in _HARMLESS or not self._wanted().enabled:
            yield made
            return
        # Before: afterwards the session may be gone, or the asker.
        entry = {"request": request.method, **self._session(request.params), "by": _asker(*peer)}
        params = request.params
        entry |= {name: params[name] for name in _NOTED if type(params.get(name)) in (bool, int)}
        if isinstance(data := params.get("data"), bytes):
            entry["bytes"] = len(data)
        for name in ("settings", "tags"):
            if isinstance(changes := params.get(name), dict) and changes:
                entry[name] = sorted(str(key) for key in changes)
        try:
            yield made
        except ToowlError as error:
            self._note(entry | {"refused": str(error)})
            raise
        except BaseException as error:
            self._note(entry | {"failed": type(error).__name__})
            raise
        if "session" not in entry and isinstance(made.get("id"), str):
            entry |= {"session": made["id"], "name": made.get("name")}
        self._note(entry)

    def _session(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(wanted := params.get("session"), str):
            return {}
        try:
            record = self._registry.find(wanted).record
        except SessionError:
            return {"session": None, "name": wanted[:64]}
        return {"session": record.id, "name": record.name}

    def _wants(self, happening: Happening) -> bool:
        return happening.name in _EVENTS

    def _take(self, happening: Happening) -> bool:
        data = {
            key: happening.data[key] for key in _EVENTS[happening.name] if happening.data.get(key) is not None
        }
        self._note({"event": happening.name, "session": happening.session, "name": happening.label, **data})
        return True

    def _note(self, entry: Mapping[str, Any]) -> None:
        wanted = self._wanted()
        if wanted.enabled:
            now = time.time()
            stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z"
            self._file.add({"at": stamp, **entry}, max_bytes=wanted.max_bytes, keep=wanted.keep)


def _asker(uid: int, pid: int) -> dict[str, Any]:
    """Who asks: the process by the kernel's word (SO_PEERCRED), and of it what it can't easily be wrong about.

    ``ssh_from``: the other end of its login, as it stands in the environment that it was started with.
    """
    found = {
        "uid": uid,
        "pid": pid,
        "program": _told(pid, "comm").strip() or None,
        "tty": _tty(_told(pid, "stat")),
        "ssh_from": _ssh_from(_told(pid, "environ")),
    }
    return {key: value for key, value in found.items() if value is not None}


def _told(pid: int, name: str) -> str:
    try:
        return process.read(pid, name).decode(errors="replace")
    except OSError:  # it is gone already
        return ""


def _tty(stat: str) -> str | None:
    """The controlling terminal by its device number (proc(5): tty_nr, the seventh field)."""
    fields = stat.rpartition(") ")[2].split()
    number = int(fields[4]) if len(fields) > 4 else 0
    major, minor = os.major(number), os.minor(number)
    if 136 <= major <= 143:  # Unix98 PTYs (Documentation/admin-guide/devices.txt)
        return f"/dev/pts/{(major - 136) * 256 + minor}"
    if major == 4:
        return f"/dev/tty{minor}" if minor < 64 else f"/dev/ttyS{minor - 64}"
    return None


def _ssh_from(environ: str) -> str | None:
    prefix = "SSH_CONNECTION="
    found = next((line for line in environ.split("\0") if line.startswith(prefix)), prefix)
    return found.removeprefix(prefix).partition(" ")[0] or None
