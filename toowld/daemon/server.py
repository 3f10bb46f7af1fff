"""The daemon's life: lock, load, adopt, listen, say READY; and at the end, let go.

Nothing is served before every record is loaded and every custodian that answers is adopted, so the first ``ls`` after
a restart shows all there is.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toowld import __version__
from toowld.daemon import limits
from toowld.daemon.adopt import Adoption
from toowld.daemon.answering import Answering
from toowld.daemon.audit import Audit
from toowld.daemon.broker import Broker
from toowld.daemon.events import Bus
from toowld.daemon.hooks import Hooks
from toowld.daemon.lifecycle import Lifecycle
from toowld.daemon.registry import Registry
from toowld.daemon.screens import LOOK_EVERY, Screens
from toowld.daemon.store import Store
from toowld.daemon.systemd import Notifier
from toowld.errors import ConfigError, RefusedError, ToowlError
from toowld.host import following
from toowld.host.params import Params
from toowld.host.sockets import is_peer_us, listen
from toowld.paths import Paths, UnsafeFolder
from toowld.session import State
from toowld.settings.resolve import Settings
from toowld.settings.schema import GATE

_log = logging.getLogger(__name__)

#: Without a free descriptor, a listening socket is always "ready"; so long we don't look (seconds).
ACCEPT_PAUSE = 0.2


class Daemon:
    """One daemon of one namespace.

    Args:
        paths: of the namespace.
        on_ready: called once clients are served.

    Raises:
        ConfigError, UnsafeFolder: it can't even begin.
    """

    def __init__(self, paths: Paths, *, on_ready: Callable[[], None] = lambda: None) -> None:
        self._paths = paths
        self._on_ready = on_ready
        # Takes NOTIFY_SOCKET and its like out of the environment, before any process is started.
        self._notifier = Notifier()
        self._settings = Settings.load(paths.config)
        self._gate = self._settings.gate
        self._gate_text = os.environ.pop(GATE, None)
        self._started_at = time.time()
        self._stop = asyncio.Event()
        self._lock = -1
        self._listener: socket.socket
        self._inode = -1
        self._store = Store(paths.sessions)
        self._bus = Bus()
        self._registry = Registry(self._store, self._bus)
        self._screens = Screens()
        answering = Answering(self._screens, self._store)
        self._lifecycle = Lifecycle(paths, self._settings, self._registry, self._store, answering, self._bus)
        self._adoption = Adoption(paths.custodians, self._registry, self._store, self._lifecycle)
        self._audit = Audit(paths.audit, lambda: self._settings.audit, self._registry, self._bus)
        own = {
            "status": self._status,
            "doctor": self._doctor,
            "stop": self._on_stop,
            "reload": self._on_reload,
            "settings": self._on_settings,
        }
        self._broker = Broker(
            self._registry,
            self._store,
            self._lifecycle,
            self._screens,
            self._bus,
            self._audit,
            self._adoption.reach,
            own,
            self._gate,
        )
        self._hooks = Hooks(paths, lambda: self._settings.hooks, self._bus, self._broker.watching)

    async def run(self) -> None:
        """Serve until told to stop.

        Raises:
            RefusedError: another daemon has this namespace.
        """
        self._lock = _take_lock(self._paths, self._gate)
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        limits.raise_own()
        try:
            self._lifecycle.zygote.start()
            await self._adoption.run()
            following.sweep(self._paths.following, self._registry)
            self._listen()
            try:
                self._audit.start()
                self._hooks.start()
                self._announce()
                self._on_ready()
                ticker = loop.create_task(self._tick())
                watchdog = loop.create_task(self._feed_watchdog())
                follower = loop.create_task(self._follow_screens())
                await self._stop.wait()
                self._notifier.stopping()
                ticker.cancel()
                watchdog.cancel()
                follower.cancel()
            finally:
                self._close_listener()
        finally:
            await self._hooks.close()
            self._broker.close()
            self._screens.close()
            self._lifecycle.close()
            await asyncio.sleep(0)  # one turn, for the last bytes of standard sessions to their clients
            await self._registry.settle()  # while the namespace is ours
            await self._audit.close()
            os.close(self._lock)
        _log.info("stopped")

    # --- our place in the runtime folder ----------------------------------------------------------------

    def _listen(self) -> None:
        path = str(self._paths.daemon_socket)
        self._listener = listen(path)
        self._inode = os.stat(path).st_ino  # noqa: PTH116 - a str, as `listen` takes it
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener.fileno(), self._on_acceptable, self._listener)

    def _close_listener(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        self._listener.close()
        if _inode(self._paths.daemon_socket) == self._inode:  # another daemon's is left alone
            self._paths.daemon_socket.unlink(missing_ok=True)

    def _keep_place(self) -> None:
        """Come back to a runtime folder that was emptied: at a logout, or by whoever cleans up ``/tmp``.

        Raises:
            UnsafeFolder, OSError: not now; the next tick tries again.
        """
        if _inode(self._paths.daemon_lock) != os.fstat(self._lock).st_ino:
            self._paths.prepare()
            try:
                lock = _take_lock(self._paths, self._gate)
            except RefusedError as error:
                _log.error("the runtime folder was emptied, and another daemon has it now: %s", error)
                self._stop.set()
                return
            os.close(self._lock)
            self._lock = lock
        if _inode(self._paths.daemon_socket) != self._inode:
            _log.warning("%s is gone; making it again", self._paths.daemon_socket)
            self._paths.prepare()
            self._close_listener()
            self._listen()

    def _announce(self) -> None:
        text = self._summary()
        _log.info("ready: %s; persistent sessions are %s", text, "on" if self._gate else "off")
        self._notifier.ready(text)

    def _on_acceptable(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the peer is gone again
            return
        except OSError as error:  # no descriptor is free: the clients wait, and so do we
            _log.warning("can't accept a client: %s", error.strerror)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener.fileno())
            loop.call_later(ACCEPT_PAUSE, self._accept_again, listener)
            return
        if is_peer_us(sock):
            self._broker.serve(sock)
        else:
            _log.warning("refused a client of another uid")
            sock.close()

    def _accept_again(self, listener: socket.socket) -> None:
        if listener is self._listener and listener.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener.fileno(), self._on_acceptable, listener)

    # --- time -------------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._settings.daemon.tick)
            try:
                self._keep_place()
                await self._adoption.tick()
                await self._lifecycle.tick()
                await self._registry.save_again()
            except (OSError, ToowlError) as error:
                _log.error("tick: %s", error)
            if self._notifier.connected:
                self._notifier.status(self._summary())

    async def _feed_watchdog(self) -> None:
        interval = self._notifier.watchdog_interval
        while interval is not None:
            self._notifier.watchdog()
            await asyncio.sleep(interval)

    async def _follow_screens(self) -> None:
        pause = LOOK_EVERY
        while True:
            await asyncio.sleep(pause)
            pause = await self._screens.look(
                self._store.sessions, {entry.record.id: entry.rest for entry in self._registry}
            )

    # --- requests about ourselves -----------------------------------------------------------------------

    def _summary(self) -> str:
        persistent = [entry.record.persistent for entry in self._registry]  # at every tick, of hundreds
        return f"{len(persistent)} sessions, {sum(persistent)} of them persistent"

    def _counts(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for entry in self._registry:
            state = entry.state
            counts["total"] += 1
            counts["persistent"] += entry.record.persistent
            counts["ended"] += state is State.ENDED
            counts["unreachable"] += state is State.UNREACHABLE
            counts["standard_running"] += not entry.record.persistent and entry.running
        return {
            name: counts[name] for name in ("total", "persistent", "standard_running", "ended", "unreachable")
        }

    async def _status(self, params: Params) -> Mapping[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "started_at": self._started_at,
            "persistent_enabled": self._gate,
            "sessions": self._counts(),
            "runtime_dir": str(self._paths.runtime),
            "state_dir": str(self._paths.state),
        }

    async def _doctor(self, params: Params) -> Mapping[str, Any]:
        scopes = self._lifecycle.scopes
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime": time.time() - self._started_at,
            "persistent_enabled": self._gate,
            "persistent_value": self._gate_text,
            "under_systemd": self._notifier.connected,
            "notify_socket": self._notifier.connected,
            "watchdog_usec": self._notifier.watchdog_usec,
            "rlimit_nofile": list(resource.getrlimit(resource.RLIMIT_NOFILE)),
            "fds_open": len(list(Path("/proc/self/fd").iterdir())),
            "custodians": [
                {
                    "id": entry.record.id,
                    "name": entry.record.name,
                    "pid": entry.record.custodian_pid,
                    "version": entry.custodian_build,
                    "state": "unreachable" if entry.display().startswith("unreachable") else "ok",
                    "scope": entry.scope,
                }
                for entry in self._registry
                if entry.record.persistent and entry.running
            ],
            "skipped": [{"path": item.path, "reason": item.reason} for item in self._adoption.skipped],
            "remote": self._lifecycle.reaper.remote(),
            "zygote_pid": self._lifecycle.zygote.pid,
            "screen_problems": self._screens.problems,
            "scopes": scopes.manager,
            "scopes_reason": scopes.reason,
        }

    async def _on_stop(self, params: Params) -> Mapping[str, Any]:
        asyncio.get_running_loop().call_soon(self._stop.set)  # after the answer has gone out
        return {}

    async def _on_reload(self, params: Params) -> Mapping[str, Any]:
        return {"notices": self._load_settings()}

    async def _on_settings(self, params: Params) -> Mapping[str, Any]:
        """What holds, and why; for one session, if it is named."""
        said, connection = None, params.text_or_none("connection")
        if (session := params.text_or_none("session")) is not None:
            record = self._registry.find(session).record
            said, connection = record.settings, record.connection
        found = self._settings.explain(said=said, connection=connection)
        return {
            "file": str(self._paths.config),
            "settings": {full: [one.value, one.origin] for full, one in found.items()},
        }

    def _reload(self) -> None:
        try:
            self._load_settings()
        except ConfigError as error:
            _log.error("the settings stay as they were: %s", error)

    def _load_settings(self) -> list[str]:
        """Read the settings again; returns what is different now.

        Raises:
            ConfigError: something is wrong; they stay as they were.
        """
        loaded = Settings.load(self._paths.config, gate=self._gate)
        news = loaded.news(self._settings)
        self._settings = self._lifecycle.settings = loaded
        self._hooks.reload()
        for text in news:
            _log.info("settings: %s", text)
        return news


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except OSError:
        return None


def _take_lock(paths: Paths, gate: bool) -> int:
    """Own the namespace for as long as the returned descriptor is open.

    The file says who owns it; what it says of a daemon that is gone is how `toowl` starts the next one.

    Raises:
        RefusedError: another daemon owns it. UnsafeFolder: the lock file can't be used.
    """
    try:
        fd = os.open(paths.daemon_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UnsafeFolder(
            f"can't use {paths.daemon_lock}: {error.strerror}: remove it if it is no file of toowl"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 20, 0).decode(errors="replace").partition("\n")[0] or "unknown"
        os.close(fd)
        raise RefusedError(
            f"a toowld is running already, pid {holder}, with {paths.runtime}: "
            "use it, or stop it with `toowld stop`"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n{'persistent' if gate else 'standard'}\n".encode(), 0)
    return fd
