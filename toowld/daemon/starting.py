"""How a child is started, in a custodian or here: its environment, its process, the first that is heard of it.

That a session may be started, and what becomes of one that could not be, is decided in `lifecycle`, which holds the
entry's lock meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from toowld.classes import replace
from toowld.daemon import confining, process, restoring
from toowld.daemon import limits as own_limits
from toowld.daemon.entry import Entry
from toowld.daemon.keepers import CustodianKeeper, LocalKeeper
from toowld.daemon.news import News
from toowld.daemon.registry import Registry
from toowld.daemon.store import Store
from toowld.daemon.systemd import Scopes
from toowld.daemon.zygote import Zygote
from toowld.errors import CustodianError, SpawnFailed
from toowld.host import control
from toowld.host.spec import Spec, open_host, start_child
from toowld.paths import Paths
from toowld.session import Record, State
from toowld.settings.resolve import Settings

#: A custodian that has not started its child by then is not going to (seconds).
START_TIMEOUT = 5.0

#: A custodian that is not there within this time is not waited for before the record is stored (seconds).
_AT_ONCE = 0.02

#: One that was forked waits for its start twice as long as this (`toowld.custodian.keeper`).
_PATIENCE = 5.0

#: Never passed on to a child: meant for the daemon, for the terminal that the caller sits at, or wrong inside.
_NOT_INHERITED = ("NOTIFY_SOCKET", "TOOWL_SESSION", "TOOWL_NAME", "LINES", "COLUMNS")
_PREFIXES_NOT_INHERITED = ("LISTEN_", "WATCHDOG_", "TOOWLD_")


class Starting:
    """Starts children."""

    def __init__(
        self,
        paths: Paths,
        registry: Registry,
        store: Store,
        news: News,
        zygote: Zygote,
        scopes: Scopes,
        settings: Callable[[], Settings],
    ) -> None:
        self._paths = paths
        self._registry = registry
        self._store = store
        self._news = news
        self._zygote = zygote
        self._scopes = scopes
        self._settings = settings
        self._forks: dict[str, tuple[float, asyncio.Task[tuple[int, socket.socket]]]] = {}
        self._closed = False

    def close(self) -> None:
        """The daemon ends: what waits for the disk just now is not started any more."""
        self._closed = True

    def _check_open(self, record: Record) -> None:
        if self._closed:
            raise SpawnFailed(f"session {record.label} is not started: the daemon ends: try again")

    @contextlib.asynccontextmanager
    async def ahead(self, record: Record) -> AsyncIterator[Record]:
        """Have a custodian forked for a session that is not stored yet: its record, which names the custodian.

        So it need not be stored a second time before anything is started. Of one that is not there at once the record
        says nothing; it is noted in `start`.
        """
        if not record.persistent:
            yield record
            return
        loop = asyncio.get_running_loop()
        fork = loop.create_task(self._zygote.fork(record.id))
        self._forks[record.id] = loop.time(), fork
        try:
            await asyncio.wait([fork], timeout=_AT_ONCE)
            forked = fork.done() and fork.exception() is None
            yield replace(record, **_custodian(fork.result()[0])) if forked else record
        finally:
            if self._forks.pop(record.id, None) is not None:
                fork.add_done_callback(_hang_up)

    async def _forked(self, session_id: str) -> tuple[int, socket.socket]:
        """A custodian, its pid and our end of the link to it."""
        if (ahead := self._forks.pop(session_id, None)) is not None:
            begun, fork = ahead
            if asyncio.get_running_loop().time() - begun < _PATIENCE:
                return await fork
            fork.add_done_callback(_hang_up)  # a slow disk; it will not wait for much longer
        return await self._zygote.fork(session_id)

    def check_before_restart(self, record: Record) -> None:
        """Look whether a session could have what it is to have, before what runs in it is ended.

        Raises:
            RefusedError: it could not.
        """
        limits = confining.wanted(record, self._settings())
        confining.check_before_restart(record, limits, self._scopes.obstacle())

    async def start(self, entry: Entry, spec: Spec) -> None:
        """Start a child, where the session's record says.

        Raises:
            ToowlError: it can't be; nothing runs.
        """
        self._check_open(entry.record)
        start = self._start_custodian if entry.record.persistent else self._start_here
        entry.gone.clear()
        entry.live = {}
        entry.obstacle, entry.away = None, False  # what was in the way of the one before, if anything was
        try:
            info = await start(entry, spec)
        except BaseException:
            entry.keeper = None
            entry.gone.set()
            raise
        pid = int(info["pid"])
        self._registry.observe(  # no answer waits for that: see `News.note_gone`
            entry,
            durable=True,
            state=State.RUNNING,
            pid=pid,
            pid_started=process.started_at(pid),
            boot=process.boot_id(),
            last_active_at=time.time(),
        )
        # What was heard meanwhile is newer than the answer; a very short life may even have ended.
        keeper, newest = entry.keeper, entry.live or info
        entry.live = {}  # nothing of it was told to anybody yet
        self._news.on_news(entry, keeper, newest)
        if isinstance(keeper, CustodianKeeper) and not keeper.link.is_open:
            self._news.on_lost(entry, keeper)  # it died meanwhile

    def spec(
        self,
        record: Record,
        before: Record,
        notices: Sequence[str] = (),
        *,
        asked_for: bool = False,
        agent: bool = True,
    ) -> Spec:
        """How the child is started.

        Args:
            before: the record as it was when nothing ran yet.
            agent: give the child the session's own SSH_AUTH_SOCK.
        """
        env = dict(record.env)
        account = pwd.getpwuid(os.getuid())
        env.setdefault("HOME", account.pw_dir)
        env.setdefault("USER", account.pw_name)
        env.setdefault("LOGNAME", account.pw_name)
        env.setdefault("PATH", os.defpath)
        wanted = self._settings().of_session(record.settings, record.connection).shell
        shell = env["SHELL"] = _shell(wanted, env, account)
        if env.get("TERM", "dumb") in ("dumb", "unknown", ""):
            env["TERM"] = "xterm-256color"
        env["TOOWL_SESSION"] = record.id
        env["TOOWL_RUNTIME_DIR"] = str(self._paths.runtime)
        env["TOOWL_STATE_DIR"] = str(self._paths.state)
        following = str(self._paths.following / record.id)
        if agent:
            env["SSH_AUTH_SOCK"] = str(self._paths.agent(record.id))
        if record.name:
            env["TOOWL_NAME"] = record.name
        argv, argv0 = restoring.program(before, shell, asked_for=asked_for)
        folder = str(self._store.folder(record.id))
        if before is record:
            return Spec(record, folder, argv, argv0, env, following=following)
        banner = restoring.banner(before, notices)
        return Spec(record, folder, argv, argv0, env, "respawn", banner, following=following)

    async def _start_custodian(self, entry: Entry, spec: Spec) -> Mapping[str, Any]:
        record = entry.record
        pid, sock = await self._forked(record.id)
        keeper = CustodianKeeper(
            sock,
            record.label,
            on_news=lambda info: self._news.on_news(entry, keeper, info),
            on_lost=lambda: self._news.on_lost(entry, keeper),
            on_hangs=lambda: self._news.on_hangs(entry, keeper),
        )
        try:
            if record.custodian_pid != pid:
                # While it comes to itself: should we die now, the next daemon knows whom to look for.
                self._registry.observe(entry, **_custodian(pid))
            hello = await asyncio.wait_for(keeper.link.hello, START_TIMEOUT)
            # Before the child exists, so that nothing of the session is ever in the daemon's own cgroup.
            limits = confining.wanted(record, self._settings())
            entry.scope = await self._scopes.create(
                record.id,
                pid,
                description=f"toowl session {record.label}",
                limits=confining.for_systemd(limits),
            )
            obstacle = self._scopes.reason if entry.scope is None else None
            confined = confining.check(record, limits, pid, obstacle)
            params = spec.to_params() | {"socket": str(self._paths.custodian_socket(record.id))}
            if confined != entry.record.confined:
                self._registry.observe(entry, confined=confined)
            await self._registry.stored(entry)
            self._check_open(record)
            entry.keeper = keeper
            info = await keeper.request("start", params, timeout=START_TIMEOUT)
        except BaseException as error:
            keeper.close()
            started = process.started_at(pid)
            for child in process.children(pid, started):  # it may have got so far, and not have said so
                process.kill_all(process.of_session(child, process.started_at(child), record.id))
            process.kill(pid, started)
            if isinstance(error, SpawnFailed) or not isinstance(error, CustodianError | TimeoutError):
                raise
            raise SpawnFailed(
                f"session {record.label} failed to start: {error}: see `toowld doctor`"
            ) from error
        entry.custodian_build = str(hello.about.get("build"))
        return info

    async def _start_here(self, entry: Entry, spec: Spec) -> Mapping[str, Any]:
        confined = confining.check(entry.record, confining.wanted(entry.record, self._settings()), None, None)
        host = open_host(
            asyncio.get_running_loop(),
            spec,
            on_changed=lambda: self._news.on_news(entry, keeper, control.info(host)),
            on_finished=lambda: None,
        )
        entry.keeper = keeper = LocalKeeper(host)
        start_child(host, spec, own_limits.of_children())
        self._registry.observe(entry, custodian_pid=None, custodian_started=None, confined=confined)
        return await keeper.request("info")


def _custodian(pid: int) -> dict[str, Any]:
    """What a record says of one that runs now."""
    return {
        "custodian_pid": pid,
        "custodian_started": process.started_at(pid),
        "boot": process.boot_id(),
    }


def _hang_up(fork: asyncio.Task[tuple[int, socket.socket]]) -> None:
    """Nobody needs that custodian: it goes when its link is closed."""
    if not fork.cancelled() and fork.exception() is None:
        fork.result()[1].close()


def inheritable(env: dict[str, str]) -> dict[str, str]:
    """What a child gets of the environment of whoever asked for it."""
    return {
        name: value
        for name, value in env.items()
        if name not in _NOT_INHERITED and not name.startswith(_PREFIXES_NOT_INHERITED)
    }


def _shell(wanted: str, env: Mapping[str, str], account: pwd.struct_passwd) -> str:
    """The shell of a session: the ``wanted`` one, or that of its environment, as in tmux, or of the account."""
    if wanted:
        return shutil.which(wanted, path=env["PATH"]) or wanted  # if it can't be started, the user is told so
    shell = env.get("SHELL", "")
    usable = shell.startswith("/") and shutil.which(shell) is not None
    return shell if usable else account.pw_shell or "/bin/sh"
