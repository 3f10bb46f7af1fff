"""How sessions begin, end, begin again and are forgotten.

How a child is started is in `starting`, what is heard of it in `news`.

Two rules: what is stored is stored before it is true in memory, and a record is only ever removed when its processes
are known to be gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from toowld.daemon import process, restoring, setting
from toowld.daemon.answering import Answering
from toowld.daemon.entry import Entry
from toowld.daemon.events import Bus
from toowld.daemon.keepers import CustodianKeeper, LocalKeeper
from toowld.daemon.link import REQUEST_TIMEOUT
from toowld.daemon.news import News, is_custodian_alive
from toowld.daemon.reaper import Reaper
from toowld.daemon.registry import Registry
from toowld.daemon.starting import Starting, inheritable
from toowld.daemon.store import Store, StoreError
from toowld.daemon.systemd import Scopes
from toowld.daemon.zygote import Zygote
from toowld.errors import CustodianLost, CustodianUnreachable, RefusedError, ToowlError
from toowld.host import control, following
from toowld.host.params import Params
from toowld.host.spec import Spec
from toowld.paths import Paths
from toowld.session import Record, SizePolicy, State
from toowld.session.engine import KILL_STEPS
from toowld.settings.resolve import Settings

_log = logging.getLogger(__name__)

#: How long `kill` waits: all its signals, and a second for the news to come back (seconds).
KILL_TIMEOUT = sum(wait for _, wait in KILL_STEPS) + 1.0

#: A custodian whose child has ended may take so long to bring its clients the last bytes, when somebody wants the
#: session's files for himself (seconds).
FAREWELL_PATIENCE = 1.0


class Lifecycle:
    """Begins and ends sessions.

    Args:
        settings: as they are now; replaced when they are read again.
        answering: hears what their programs ask.

    What others hear of a session goes through here too (``ask``, ``on_news``, ``on_lost``, ``on_hangs``,
    ``tell_reach``, ``note_gone``, ``tell_name``).
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
        self._following = paths.following
        self._registry = registry
        self._store = store
        self.zygote = Zygote()
        self.scopes = Scopes()
        self._news = News(registry, store, answering, bus)
        self._starting = Starting(
            paths, registry, store, self._news, self.zygote, self.scopes, lambda: self.settings
        )
        self.ask = self._news.ask
        self.on_news = self._news.on_news
        self.on_lost = self._news.on_lost
        self.on_hangs = self._news.on_hangs
        self.tell_reach = self._news.tell_reach
        self.note_gone = self._news.note_gone
        self.tell_name = self._news.tell_name
        self.reaper = Reaper(registry, lambda: self.settings, self)

    # --- beginning --------------------------------------------------------------------------------------

    async def create(self, params: Params) -> tuple[Entry, list[str]]:
        """Make a session and start its child: the request ``new``.

        Returns:
            the session, and what its user should be told.

        Raises:
            ToowlError: it can't be; nothing of it is left.
        """
        record, notices = await self._record(params, State.STARTING)
        with self._starting.ahead(record):
            entry = await self._register(record)
            async with entry.lock:
                try:
                    await self._starting.start(entry, self._spec(record, record, asked_for=True))
                except BaseException as error:
                    await self._undo(entry, error)
                    raise
        return entry, notices

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
        )
        return record, notices + more

    def _spec(self, record: Record, before: Record, notices: Sequence[str] = (), *, asked_for: bool) -> Spec:
        agent = self.settings.environment.agent
        return self._starting.spec(record, before, notices, asked_for=asked_for, agent=agent)

    async def _undo(self, entry: Entry, error: BaseException) -> None:
        """Leave nothing of a session that could not be started."""
        try:
            await self._forget(entry)
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
        await self._let_go(entry)
        record = entry.record
        said = dict(record.settings) | ({} if persistent is None else {"persistent": persistent})
        kept, notices = setting.persistence(said.get("persistent", record.persistent), self.settings.gate)
        gone = not os.path.isdir(record.cwd)  # noqa: PTH112 - a str that came from the kernel
        if gone:
            notices.append(f"the folder {record.cwd} is gone: the new shell starts in your home folder")
        await self._registry.change(
            entry,
            state=State.STARTING,
            persistent=kept,
            settings=said,
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
            ending = await self._news.log_ending(entry)  # of the child before
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
        self.tell_reach(entry)
        self.on_news(entry, keeper, info)
        if info.get("record", {}).get("name") != entry.record.name:  # it was renamed while it did not answer
            self.tell_name(entry)

    # --- ending -----------------------------------------------------------------------------------------

    async def kill(self, entry: Entry, *, force: bool) -> None:
        """End the child and wait until it is gone, and that is stored.

        Raises:
            RefusedError: nothing runs. CustodianUnreachable: it could not be ended; nothing was forgotten.
        """
        await self._end(entry, force=force)
        await self._registry.stored(entry)

    async def _end(self, entry: Entry, *, force: bool, restart: bool = False) -> None:
        if not entry.running:
            if is_child_alive(entry.record):  # its custodian died, and it did not care
                await self._kill_processes(entry)
                # It was lost; now it is what somebody wanted, and nothing to be restored.
                self._registry.observe(
                    entry, durable=True, end_reason="exited", exit_signal=int(signal.SIGKILL), error=None
                )
                return
            raise RefusedError(
                f"session {entry.record.label} is not running: `toowl rm {entry.record.label}` forgets it"
            )
        try:
            if entry.keeper is None:
                raise CustodianUnreachable(f"the custodian of session {entry.record.label} can't be reached")
            await entry.keeper.request("kill", {"force": force, "restart": restart})
        except CustodianLost:
            pass  # it died just now, which is news that is on its way to us
        except CustodianUnreachable as error:
            if not force:
                raise CustodianUnreachable(f"{error}; `toowl kill --force` kills its processes") from error
            await self._kill_processes(entry)
            return
        try:
            await asyncio.wait_for(entry.gone.wait(), KILL_TIMEOUT)
        except TimeoutError:
            if not force:
                raise CustodianUnreachable(
                    f"session {entry.record.label} did not end: try `toowl kill --force {entry.record.label}`"
                ) from None
            await self._kill_processes(entry)

    async def _kill_processes(self, entry: Entry) -> None:
        """Without the help of a custodian that hangs: the child's whole session, then the custodian itself.

        Raises:
            CustodianUnreachable: even that did not help; nothing was forgotten.
        """
        record = entry.record
        victims = _of_this_boot(record)
        for child in process.children(record.custodian_pid, record.custodian_started):
            victims += process.of_session(child, process.started_at(child), record.id)
        custodian = (record.custodian_pid, record.custodian_started)
        self._registry.observe(
            entry, durable=True, end_requested=True
        )  # first: others may see the end before us
        waiting = [custodian, *((pid, process.started_at(pid)) for pid in victims)]
        process.kill_all(victims)
        process.kill(*custodian)
        ended = await asyncio.gather(*(process.wait_until_gone(*one, process.END_TIMEOUT) for one in waiting))
        if not all(ended):
            self._registry.observe(entry, durable=True, end_requested=record.end_requested)
            raise CustodianUnreachable(
                f"session {record.label} can't be killed: a process waits in the kernel; try again later"
            )
        if not isinstance(entry.keeper, LocalKeeper):
            await self.note_gone(entry)
        await entry.gone.wait()

    async def restart(self, entry: Entry, persistent: bool | None) -> list[str]:
        """End the child if it runs, and start a fresh one on the same log.

        Raises:
            ToowlError: it could not be ended, or not be started.
        """
        async with entry.lock:  # from the end to the beginning: nobody else may start it in between
            self._registry.check(entry)
            _check_written(entry)
            if entry.running:
                await self._end(entry, force=False, restart=True)
                await self._registry.stored(entry)
            return await self.respawn(entry, asked_for=True, persistent=persistent)

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

    async def remove(self, entry: Entry) -> None:
        """Forget a session that has ended.

        Raises:
            RefusedError: it has not. StoreError: its files can't be removed.
        """
        async with entry.lock:
            self._registry.check(entry)
            label = entry.record.label
            if entry.running:
                raise RefusedError(f"session {label} is running: end it first with `toowl kill {label}`")
            if is_child_alive(entry.record):
                raise RefusedError(
                    f"session {label} lost its custodian, but its program (pid {entry.record.pid}) runs on: "
                    f"end it first with `toowl kill {label}`"
                )
            await self._let_go(entry)
            await self._forget(entry)

    async def _forget(self, entry: Entry) -> None:
        await self._registry.forget(entry)
        following.forget(str(self._following / entry.record.id))

    async def _let_go(self, entry: Entry) -> None:
        """Make sure that whoever kept a session that has ended does not touch its files any more.

        What a full disk did not take is written when there is room, which may be at any moment: into a log that
        somebody else continues, or into a folder that has just been removed.

        Raises:
            CustodianUnreachable: the custodian can't be ended.
        """
        former, entry.former = entry.former, None
        if isinstance(former, LocalKeeper) and former.host.log.degraded:
            former.close()  # its child has ended; this closes its log
        if not is_custodian_alive(entry.record):
            return
        custodian = (entry.record.custodian_pid, entry.record.custodian_started)
        for signum, patience in (
            (None, FAREWELL_PATIENCE),
            (signal.SIGTERM, 1.0),
            (signal.SIGKILL, process.END_TIMEOUT),
        ):
            if signum is not None:
                process.kill(*custodian, signum)
            if await process.wait_until_gone(*custodian, patience):
                return
        raise CustodianUnreachable(
            f"session {entry.record.label}: its custodian (pid {custodian[0]}) does not end: try again later"
        )

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
                    await self.remove(entry)
                except ToowlError as error:
                    _log.warning("%s", error)

    async def _come_to_rest(self, entry: Entry) -> None:
        """Hear how a session is. From then on nobody looks at it, until its keeper tells that something happened."""
        if entry.record.state is not State.RUNNING:
            return
        if entry.keeper is not None and entry.keeper.ages:
            await self.ask(entry, REQUEST_TIMEOUT)
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


def is_child_alive(record: Record) -> bool:
    """Whether the child itself still runs, whatever became of its custodian."""
    return record.boot == process.boot_id() and process.is_alive(record.pid, record.pid_started)


def _of_this_boot(record: Record) -> list[int]:
    """The processes of the child's session."""
    if record.boot != process.boot_id():
        return []
    return process.of_session(record.pid, record.pid_started, record.id)
