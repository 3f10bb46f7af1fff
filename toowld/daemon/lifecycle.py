"""How sessions begin, and begin again.

How a child is started is in `starting`, what is heard of it in `news`, how it is ended in `ending`. What is stored is
stored before it is true in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from toowld.classes import replace
from toowld.daemon import process, restoring, setting
from toowld.daemon.answering import Answering
from toowld.daemon.ending import Ending, is_child_alive
from toowld.daemon.entry import Entry
from toowld.daemon.events import Bus
from toowld.daemon.keepers import CustodianKeeper
from toowld.daemon.link import REQUEST_TIMEOUT
from toowld.daemon.news import News, is_custodian_alive
from toowld.daemon.reaching import out_of_reach
from toowld.daemon.reaper import Reaper
from toowld.daemon.registry import Registry
from toowld.daemon.starting import Starting, inheritable
from toowld.daemon.store import Store, StoreError
from toowld.daemon.systemd import Scopes
from toowld.daemon.zygote import Zygote
from toowld.errors import RefusedError, ToowlError
from toowld.host import control
from toowld.host.params import Params
from toowld.host.spec import Spec
from toowld.paths import Paths
from toowld.session import Record, SizePolicy, State
from toowld.settings.resolve import Settings

_log = logging.getLogger(__name__)


class Lifecycle:
    """Begins and ends sessions.

    Args:
        settings: as they are now; replaced when they are read again.
        answering: hears what their programs ask.

    Attributes:
        news: hears of them. ``ending``: ends them.
    """

    is_custodian_alive = staticmethod(is_custodian_alive)

    def __init__(
        self,
        paths: Paths,
        settings: Settings,
        registry: Registry,
        store: Store,
        answering: Answering,
        bus: Bus,
    ) -> None:
        self.settings = settings
        self._registry = registry
        self._store = store
        self.zygote = Zygote()
        self.scopes = Scopes()
        self.news = News(registry, store, answering, bus)
        self._starting = Starting(
            paths, registry, store, self.news, self.zygote, self.scopes, lambda: self.settings
        )
        self.ending = Ending(registry, self.news, paths.following)
        self.reaper = Reaper(registry, lambda: self.settings, self.ending.kill, self.news.on_news)

    # --- beginning --------------------------------------------------------------------------------------

    async def create(self, params: Params) -> tuple[Entry, list[str]]:
        """Make a session and start its child: the request ``new``.

        Returns:
            the session, and what its user should be told.

        Raises:
            ToowlError: it can't be; nothing of it is left.
        """
        record, notices = await self._record(params, State.STARTING)
        with self._registry.promising(record):
            return await self._start_new(record), notices

    async def _start_new(self, unforked: Record) -> Entry:
        async with self._starting.ahead(unforked) as record:
            entry = await self._register(record)
            async with entry.lock:
                try:
                    await self._starting.start(entry, self._spec(record, record, asked_for=True))
                except BaseException as error:
                    await self._undo(entry, error)
                    raise
        return entry

    async def prepare(self, params: Params) -> tuple[Entry, list[str]]:
        """Make a session that waits to be started: the request ``prepare``. Returns, and raises, as `create`."""
        record, notices = await self._record(params, State.AWAITING)
        entry = await self._register(record)
        entry.gone.set()
        return entry, notices

    async def _register(self, record: Record) -> Entry:
        """Store a new session of which nothing runs yet."""
        entry = await self._registry.create(record)
        _log.info("session %s registered: %s", record.id, "persistent" if record.persistent else "standard")
        return entry

    async def _record(self, params: Params, state: State) -> tuple[Record, list[str]]:
        """Of a new session as it is asked for, and what its user should be told."""
        name, notices = await self._registry.claim_name(params.text_or_none("name"))
        said = setting.said(params)
        connection = params.text_or_none("connection")
        wanted = self.settings.of_session(said, connection)
        persistent, more = setting.persistence(bool(wanted.persistent), self.settings.gate)
        size = params.size()
        argv = params.texts_or_none("argv")
        now = time.time()
        record = Record(
            id=self._registry.fresh_id(),
            name=name,
            persistent=persistent,
            argv=argv or None,
            cwd=params.text("cwd"),
            cwd_at=now,
            env=inheritable(params.environment("env")),
            umask=params.umask_or_none("umask"),
            limits=params.limits("limits"),
            on_restore=(params.text_or_none("on_restore") or "").strip() or None,
            rows=size.rows,
            cols=size.cols,
            size_policy=SizePolicy(wanted.size),
            scrollback_bytes=wanted.scrollback_bytes,
            connection=connection,
            settings=said,
            created_at=now,
            last_active_at=now,
            state=state,
            boot=process.boot_id(),  # should the machine go down before it is stored that something runs
        )
        return record, notices + more

    def _spec(self, record: Record, before: Record, notices: Sequence[str] = (), *, asked_for: bool) -> Spec:
        agent = self.settings.environment.agent
        return self._starting.spec(record, before, notices, asked_for=asked_for, agent=agent)

    async def _undo(self, entry: Entry, error: BaseException) -> None:
        """Leave nothing of a session that could not be started."""
        try:
            await self.ending.forget(entry)
        except StoreError as left:  # then it is shown for what it is, and can be removed later
            _log.error("%s", left)
            self._registry.observe(
                entry, state=State.ENDED, end_reason="failed", error=str(error), ended_at=time.time()
            )

    async def respawn(
        self,
        entry: Entry,
        *,
        asked_for: bool = False,
        persistent: bool | None = None,
        env: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Start the child of a session that awaits it, or a fresh one below the scrollback of one that has ended.

        The entry's lock is held.

        Args:
            asked_for: see `restoring.program`.
            persistent: from now on; None: as is set for this session, or as it was.
            env: what the environment of whoever starts it has (`toowld.wire.login`).

        Raises:
            SpawnFailed: it can't be; the session has ended (failed), or is lost as before.
        """
        _check_written(entry)
        await self.ending.let_go(entry)
        record = entry.record
        planned, notices = self._as_set(record, persistent)
        gone = not os.path.isdir(record.cwd)  # noqa: PTH112 - a str that came from the kernel
        if gone:
            notices.append(f"the folder {record.cwd} is gone: the new shell starts in your home folder")
        await self._registry.change(
            entry,
            state=State.STARTING,
            persistent=planned.persistent,
            settings=planned.settings,
            env=inheritable(restoring.refreshed(record.env, env or {})),
            cwd=record.env.get("HOME", "/") if gone else record.cwd,
            error=None,
            end_reason=None,
            exit_code=None,
            exit_signal=None,
            end_requested=False,
            end_cause=None,
            idle_left=None,
            ttl_left=None,
            ended_at=None,
        )
        before = entry.record if record.state is State.AWAITING else record  # nothing is above a first child
        try:
            await self._starting.start(entry, self._spec(entry.record, before, notices, asked_for=asked_for))
        except ToowlError as error:
            ending = await self.news.log_ending(entry)  # of the child before
            self._registry.observe(
                entry,
                durable=True,
                state=State.ENDED,
                # What was lost still is, to be restored when that is possible.
                end_reason="lost" if record.restorable else "failed",
                error=str(error),
                ended_at=time.time(),
                next_seq=max(entry.record.next_seq, ending.end),
            )
            raise
        return notices

    def adopt(
        self, entry: Entry, keeper: CustodianKeeper, build: str, pid: object, info: Mapping[str, Any]
    ) -> None:
        """Take over a custodian that is alive: it knows better than the record."""
        child = info.get("pid")
        custodian = pid if isinstance(pid, int) else None
        if (
            entry.running or info.get("state") != "ended"
        ):  # else that is known: the disk lacks the end of its log
            self._registry.observe(
                entry,
                persistent=True,
                state=State.RUNNING,
                end_reason=None,
                exit_code=None,
                exit_signal=None,
                end_requested=False,
                ended_at=None,
                error=None,
                pid=child,
                pid_started=None if child is None else process.started_at(child),
                custodian_pid=custodian,
                custodian_started=None if custodian is None else process.started_at(custodian),
                boot=process.boot_id(),
            )
        entry.keeper = keeper
        entry.obstacle = None
        entry.custodian_build = build
        entry.gone.clear()
        entry.live = entry.live or info  # who is attached has been so before we came
        self.news.tell_reach(entry)
        self.news.on_news(entry, keeper, info)
        if info.get("record", {}).get("name") != entry.record.name:  # it was renamed while it did not answer
            self.news.tell_name(entry)

    async def restart(self, entry: Entry, persistent: bool | None, *, force: bool = False) -> list[str]:
        """End the child if it runs, and start a fresh one on the same log.

        Args:
            force: with SIGKILL at once, and if its custodian can't be reached, that together with it.

        Raises:
            ToowlError: it could not be ended, or not be started.
        """
        async with entry.lock:  # from the end to the beginning: nobody else may start it in between
            self._registry.check(entry)
            if not entry.known:
                raise out_of_reach(entry)
            if not (
                force and entry.state is State.UNREACHABLE
            ):  # then what is in memory only, dies with that
                _check_written(entry)
            if entry.running or is_child_alive(entry.record):
                self._starting.check_before_restart(self._as_set(entry.record, persistent)[0])
                await self.ending.end(entry, force=force, restart=True)
                await self._registry.stored(entry)
            return await self.respawn(entry, asked_for=True, persistent=persistent)

    def _as_set(self, record: Record, persistent: bool | None) -> tuple[Record, list[str]]:
        """A record with what was set for its session's next child, and what there is to say of that."""
        said = dict(record.settings) | ({} if persistent is None else {"persistent": persistent})
        kept, notices = setting.persistence(said.get("persistent", record.persistent), self.settings.gate)
        return replace(record, persistent=kept, settings=said), notices

    async def start(self, entry: Entry, env: Mapping[str, str]) -> list[str]:
        """Start the program of a session in which nothing runs.

        Raises:
            RefusedError: something does. ToowlError: it could not be started.
        """
        async with entry.lock:
            self._registry.check(entry)
            if entry.running:
                label = entry.record.label
                raise RefusedError(
                    f"session {label} is running already: `toowl attach {label}` shows it, "
                    f"`toowl restart {label}` starts it afresh"
                )
            return await self.respawn(entry, asked_for=True, env=env)

    async def restore(self, entry: Entry, env: Mapping[str, str]) -> list[str]:
        """Bring a session back that was lost, for nobody in particular.

        Raises:
            RefusedError: it was not lost. ToowlError: it could not be started.
        """
        async with entry.lock:
            self._registry.check(entry)
            label = entry.record.label
            if entry.running:
                raise RefusedError(
                    f"session {label} is running, there is nothing to restore: `toowl attach {label}` shows it"
                )
            if not entry.record.restorable:
                raise RefusedError(
                    f"session {label} was not lost, it is {entry.display()}: "
                    f"`toowl restart {label}` starts its program again"
                )
            return await self.respawn(entry, env=env)

    async def tick(self) -> None:
        """End sessions whose time has come. Forget those that ended as somebody wanted, long enough ago.

        Also notes where running ones are: there they begin again one day.
        """
        await asyncio.gather(*(self._come_to_rest(entry) for entry in self._registry if entry.rest is None))
        await self.reaper.cycle()
        now = time.time()
        for entry in self._registry:
            record = entry.record
            if not record.ended_as_wanted or entry.lock.locked():
                continue
            settings = self.settings
            kept = settings.daemon.ended_retention if record.end_cause is None else settings.reaper.retention
            if now - (record.ended_at or now) > kept:
                try:
                    await self.ending.remove(entry)
                except ToowlError as error:
                    _log.warning("%s", error)

    async def _come_to_rest(self, entry: Entry) -> None:
        """Hear how a session is. From then on nobody looks at it, until its keeper tells that something happened."""
        if entry.record.state is not State.RUNNING:
            return
        if entry.keeper is not None and entry.keeper.ages:
            await self.news.ask(entry, REQUEST_TIMEOUT)
        else:  # it is not woken for that
            self._note_folder(entry)

    def _note_folder(self, entry: Entry) -> None:
        record = entry.record
        if record.state is not State.RUNNING:
            return
        # Whoever holds a keeper that speaks with us has not lost its child: only else the pid may be another's.
        if entry.keeper is not None or process.is_same(record.pid, record.pid_started):
            cwd = control.child_cwd(record.pid)
            if cwd is not None and cwd != record.cwd:
                self._registry.observe(entry, cwd=cwd, cwd_at=time.time())

    def close(self) -> None:
        """The daemon ends: standard sessions with it, persistent ones not."""
        self.reaper.save()
        self._starting.close()
        for entry in self._registry:
            self._note_folder(entry)  # perhaps the machine goes down too
            for keeper in (entry.keeper, entry.former):
                if keeper is not None:
                    keeper.close()
        self.zygote.close()


def _check_written(entry: Entry) -> None:
    """Begin nothing below output that would be lost by that.

    Raises:
        RefusedError: some of it is still in memory only.
    """
    if entry.live.get("degraded") and (entry.keeper or entry.former) is not None:
        why = entry.live.get("log_error") or "the disk takes nothing"
        raise RefusedError(
            f"session {entry.record.label}: the end of its output is not on the disk yet: {why}: "
            "make room and try again"
        )
