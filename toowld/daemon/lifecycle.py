"""How sessions begin, end, begin again and are forgotten.

Two rules: what is stored is stored before it is true in memory, and a record is only ever removed when its processes
are known to be gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from toowld.daemon import limits, process, restoring
from toowld.daemon.config import GATE, Config
from toowld.daemon.keepers import CustodianKeeper, LocalKeeper
from toowld.daemon.registry import Entry, Keeper, Registry
from toowld.daemon.restoring import By
from toowld.daemon.store import Store, StoreError
from toowld.daemon.systemd import Scopes
from toowld.daemon.zygote import Zygote
from toowld.errors import (
    CustodianError,
    CustodianLost,
    CustodianUnreachable,
    RefusedError,
    SpawnFailed,
    ToowlError,
)
from toowld.host import control
from toowld.host.params import Params
from toowld.host.spec import Spec, open_host, start_child
from toowld.log import LogEnding, LogReader
from toowld.paths import Paths
from toowld.session import Record, State
from toowld.session.engine import KILL_STEPS
from toowld.wire import seq_after_loss

_log = logging.getLogger(__name__)

#: A custodian that has not started its child by then is not going to (seconds).
START_TIMEOUT = 5.0

#: How long `kill` waits: all its signals, and a second for the news to come back (seconds).
KILL_TIMEOUT = sum(wait for _, wait in KILL_STEPS) + 1.0

#: A custodian whose child has ended may take so long to bring its clients the last bytes, when somebody wants the
#: session's files for himself (seconds).
FAREWELL_PATIENCE = 1.0

#: A killed process is gone within this time, unless it waits in the kernel (seconds).
END_TIMEOUT = 5.0

#: Never passed on to a child: meant for the daemon, for the terminal that the caller sits at, or wrong inside.
_NOT_INHERITED = ("NOTIFY_SOCKET", "TOOWL_SESSION", "TOOWL_NAME", "LINES", "COLUMNS")
_PREFIXES_NOT_INHERITED = ("LISTEN_", "WATCHDOG_", "TOOWLD_")


class Lifecycle:
    """Begins and ends sessions.

    Args:
        gate: whether sessions may be persistent (`config.persistent_enabled`, read once).
    """

    def __init__(self, paths: Paths, config: Config, gate: bool, registry: Registry, store: Store) -> None:
        self.config = config
        self._paths = paths
        self._gate = gate
        self._registry = registry
        self._store = store
        self.zygote = Zygote()
        self.scopes = Scopes()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- beginning --------------------------------------------------------------------------------------

    async def create(self, params: Params) -> tuple[Entry, list[str]]:
        """Make a session and start its child: the request ``new``.

        Returns:
            the session, and what its user should be told.

        Raises:
            ToowlError: it can't be; nothing of it is left.
        """
        name, notices = self._registry.free_name(params.text_or_none("name"))
        persistent, more = self._persistence(params.flag_or_none("persistent"))
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
            env=_inheritable(params.environment("env")),
            on_restore=(params.text_or_none("on_restore") or "").strip() or None,
            rows=size.rows,
            cols=size.cols,
            scrollback_bytes=self.config.scrollback_bytes,
            created_at=now,
            last_active_at=now,
            state=State.STARTING,
        )
        entry = self._registry.create(record)
        async with entry.lock:
            try:
                await self._start(entry, self._spec(record, record, By.RESTART))
            except BaseException as error:
                self._undo(entry, error)
                raise
        _log.info("session %s registered: %s", record.id, "persistent" if persistent else "standard")
        return entry, notices + more

    def _undo(self, entry: Entry, error: BaseException) -> None:
        """Leave nothing of a session that could not be started."""
        try:
            self._registry.forget(entry)
        except StoreError as left:  # then it is shown for what it is, and can be removed later
            _log.error("%s", left)
            self._registry.observe(
                entry, state=State.ENDED, end_reason="failed", error=str(error), ended_at=time.time()
            )

    def _persistence(self, wanted: bool | None) -> tuple[bool, list[str]]:
        if wanted and not self._gate:
            return False, [
                f"this daemon runs without {GATE}=1: this is a standard session, which ends with the daemon"
            ]
        return self._gate if wanted is None else wanted, []

    async def respawn(
        self,
        entry: Entry,
        by: By,
        *,
        persistent: bool | None = None,
        env: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Start a fresh child below the scrollback of a session that has ended. The entry's lock is held.

        Args:
            env: what the environment of whoever starts it has (`toowld.wire.login`).

        Raises:
            SpawnFailed: it can't be; the session has ended (failed), or is lost as before.
        """
        await self._let_go(entry)
        record = entry.record
        kept, notices = self._persistence(record.persistent if persistent is None else persistent)
        gone = not os.path.isdir(record.cwd)  # noqa: PTH112 - a str that came from the kernel
        if gone:
            notices.append(f"the folder {record.cwd} is gone: the new shell starts in your home folder")
        self._registry.change(
            entry,
            state=State.STARTING,
            persistent=kept,
            env=_inheritable(restoring.refreshed(record.env, env or {})),
            cwd=record.env.get("HOME", "/") if gone else record.cwd,
            error=None,
            end_reason=None,
            exit_code=None,
            exit_signal=None,
            end_requested=False,
            ended_at=None,
        )
        try:
            await self._start(entry, self._spec(entry.record, record, by, notices))
        except ToowlError as error:
            # How the child before ended is in the log.
            self._registry.observe(
                entry,
                durable=True,
                state=State.ENDED,
                # What was lost still is, to be restored when that is possible.
                end_reason="lost" if record.restorable else "failed",
                error=str(error),
                ended_at=time.time(),
                next_seq=max(entry.record.next_seq, self._log_ending(entry).end),
            )
            raise
        return notices

    async def _start(self, entry: Entry, spec: Spec) -> None:
        start = self._start_custodian if entry.record.persistent else self._start_here
        entry.gone.clear()
        entry.live = {}
        try:
            info = await start(entry, spec)
        except BaseException:
            entry.keeper = None
            entry.gone.set()
            raise
        pid = int(info["pid"])
        self._registry.observe(
            entry,
            durable=True,
            state=State.RUNNING,
            pid=pid,
            pid_started=process.started_at(pid),
            boot=process.boot_id(),
            last_active_at=time.time(),
        )
        # A very short life may have ended before its beginning was stored.
        keeper = entry.keeper
        self.on_news(entry, keeper, entry.live if entry.live.get("state") == "ended" else info)
        if isinstance(keeper, CustodianKeeper) and not keeper.link.is_open:
            self.on_lost(entry, keeper)  # it died meanwhile

    def _spec(self, record: Record, before: Record, by: By, notices: Sequence[str] = ()) -> Spec:
        """How the child is started. ``before``: the record as it was when nothing ran yet."""
        env = dict(record.env)
        account = pwd.getpwuid(os.getuid())
        env.setdefault("HOME", account.pw_dir)
        env.setdefault("USER", account.pw_name)
        env.setdefault("LOGNAME", account.pw_name)
        env.setdefault("SHELL", account.pw_shell or "/bin/sh")
        env.setdefault("PATH", os.defpath)
        if env.get("TERM", "dumb") in ("dumb", "unknown", ""):
            env["TERM"] = "xterm-256color"
        env["TOOWL_SESSION"] = record.id
        env["TOOWL_RUNTIME_DIR"] = str(self._paths.runtime)
        env["TOOWL_STATE_DIR"] = str(self._paths.state)
        if record.name:
            env["TOOWL_NAME"] = record.name
        argv, argv0 = restoring.program(before, by, account.pw_shell or "/bin/sh")
        folder = str(self._store.folder(record.id))
        if before is record:
            return Spec(record, folder, argv, argv0, env)
        return Spec(record, folder, argv, argv0, env, "respawn", restoring.banner(before, notices))

    async def _start_custodian(self, entry: Entry, spec: Spec) -> Mapping[str, Any]:
        record = entry.record
        pid, sock = await self.zygote.fork(record.id)
        keeper = CustodianKeeper(
            sock,
            record.label,
            on_news=lambda info: self.on_news(entry, keeper, info),
            on_lost=lambda: self.on_lost(entry, keeper),
        )
        try:
            hello = await asyncio.wait_for(keeper.link.hello, START_TIMEOUT)
            # Before the child exists, so that nothing of the session is ever in the daemon's own cgroup.
            entry.scope = await self.scopes.create(
                record.id, pid, description=f"toowl session {record.label}"
            )
            params = spec.to_params() | {"socket": str(self._paths.custodian_socket(record.id))}
            self._registry.observe(
                entry,
                custodian_pid=pid,
                custodian_started=process.started_at(pid),
                boot=process.boot_id(),
            )
            entry.keeper = keeper
            info = await keeper.link.request("start", params, timeout=START_TIMEOUT)
        except BaseException as error:
            keeper.close()
            started = process.started_at(pid)
            for child in process.children(pid, started):  # it may have got so far, and not have said so
                _kill_all(process.of_session(child, process.started_at(child), record.id))
            process.kill(pid, started)
            if isinstance(error, SpawnFailed) or not isinstance(error, CustodianError | TimeoutError):
                raise
            raise SpawnFailed(f"session {record.label} failed to start: {error}") from error
        entry.custodian_build = str(hello.about.get("build"))
        return info

    async def _start_here(self, entry: Entry, spec: Spec) -> Mapping[str, Any]:
        host = open_host(
            asyncio.get_running_loop(),
            spec,
            on_changed=lambda: self.on_news(entry, keeper, control.info(host)),
            on_finished=lambda: None,
        )
        entry.keeper = keeper = LocalKeeper(host)
        with limits.as_at_start():
            start_child(host, spec)
        self._registry.observe(entry, custodian_pid=None, custodian_started=None)
        return await keeper.request("info")

    def adopt(
        self, entry: Entry, keeper: CustodianKeeper, build: str, pid: object, info: Mapping[str, Any]
    ) -> None:
        """Take over a custodian that is alive: it knows better than the record."""
        child = info.get("pid")
        custodian = pid if isinstance(pid, int) else None
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
        entry.custodian_build = build
        entry.gone.clear()
        self.on_news(entry, keeper, info)
        if info.get("record", {}).get("name") != entry.record.name:  # it was renamed while it did not answer
            self.tell_name(entry)

    def tell_name(self, entry: Entry) -> None:
        """Let the keeper know the name, so that it is not lost with the record. The record decides."""
        if entry.keeper is not None:
            self._background(self._try(entry, entry.keeper, "set_name", {"name": entry.record.name}))

    # --- news -------------------------------------------------------------------------------------------

    def on_news(self, entry: Entry, keeper: Keeper | None, info: Mapping[str, Any]) -> None:
        """A session's keeper tells how it is now."""
        if keeper is not entry.keeper:
            return  # of a child that has ended; its successor runs already
        before = entry.live
        entry.live = info
        if entry.record.state is State.STARTING:
            return  # `_start` is not done yet, and looks at `live` when it is
        if info["state"] == "ended":
            reason, code, signum = (info.get(key) for key in ("end_reason", "exit_code", "exit_signal"))
            next_seq = max(entry.record.next_seq, info["seq"])
            requested = bool(info.get("end_requested"))
            self._note_end(
                entry, reason or "lost", code, signum, next_seq, told_to_end=True, requested=requested
            )
            return
        for event, count in (("connected", info["clients"] > before.get("clients", 0)),
                             ("disconnected", info["clients"] < before.get("clients", 0))):  # fmt: skip
            if count:
                _log.info("session %s: client %s, %d attached", entry.record.id, event, info["clients"])
        changes = {
            key: info[key]
            for key in ("rows", "cols", "cwd")
            if info.get(key) is not None and info[key] != getattr(entry.record, key)
        }
        if "cwd" in changes:
            changes["cwd_at"] = time.time()
        if info["last_active_at"] > entry.record.last_active_at:
            changes["last_active_at"] = float(info["last_active_at"])
        if changes:
            self._registry.observe(entry, **changes)

    def on_lost(self, entry: Entry, keeper: Keeper) -> None:
        """The link to a custodian broke. It is gone, or it let go of us; its process tells which."""
        if keeper is not entry.keeper:
            return  # it was dismissed, or another one has the session
        record = entry.record
        if record.state is State.STARTING:
            return  # `_start_custodian` deals with it
        entry.keeper = None
        if self.is_custodian_alive(record):
            self._background(self._see_end(entry))
        else:
            self.note_gone(entry)

    async def _see_end(self, entry: Entry) -> None:
        """A process that dies closes its files first: look again before anybody is alarmed."""
        record = entry.record
        gone = await process.wait_until_gone(record.custodian_pid, record.custodian_started, END_TIMEOUT)
        if entry.keeper is not None or not entry.running or entry.lock.locked():
            return  # adopted again, or something else has happened to it
        if gone:
            self.note_gone(entry)
        else:  # the next tick adopts it again
            _log.warning("session %s: its custodian lives, but the link broke; trying again", record.id)

    @staticmethod
    def is_custodian_alive(record: Record) -> bool:
        """Whether the process that kept this session still runs."""
        return record.boot == process.boot_id() and process.is_alive(
            record.custodian_pid, record.custodian_started
        )

    def note_gone(self, entry: Entry) -> None:
        """The keeper's process is gone for sure: the log knows how the child ended, if it did before."""
        entry.keeper = None
        live, ending = entry.live, self._log_ending(entry)
        if ending.folder is not None and ending.folder_at > entry.record.cwd_at:
            self._registry.observe(entry, cwd=ending.folder, cwd_at=ending.folder_at)
        record, end, last = entry.record, ending.end, ending.exit
        next_seq = max(record.next_seq, live.get("seq", 0), end)
        entry.live = {**live, "seq": end}
        if last is not None and last.get("pid", record.pid) == record.pid:
            reason = str(last.get("reason", "lost"))
            code, signum = last.get("code"), last.get("signal")
            requested = bool(last.get("requested"))
            if signum is not None and not requested and record.boot != process.boot_id():
                # Nobody asked for it, and then the machine went down: the shutdown sends such signals to everybody.
                reason, code, signum = "lost", None, None
            self._note_end(entry, reason, code, signum, next_seq, told_to_end=True, requested=requested)
            return
        # The log holds all that clients have seen if it could be written, and the power did not go since.
        whole = record.boot == process.boot_id() and live.get("degraded") is False and 0 < end == next_seq
        next_seq = next_seq if whole else seq_after_loss(next_seq)
        self._note_end(entry, "lost", None, None, next_seq, told_to_end=False)

    def _log_ending(self, entry: Entry) -> LogEnding:
        try:
            return LogReader(self._store.folder(entry.record.id)).ending()
        except OSError as error:
            _log.warning("session %s: its log can't be read: %s", entry.record.id, error)
            return LogEnding()

    def _note_end(
        self,
        entry: Entry,
        reason: str,
        code: int | None,
        signum: int | None,
        next_seq: int,
        *,
        told_to_end: bool,
        requested: bool = False,
    ) -> None:
        record = entry.record
        if record.state is not State.ENDED:
            error = None
            if reason == "lost":
                error = restoring.why_lost(record, process.boot_id(), told_to_end=told_to_end)
            _log.info(
                "session %s ended: %s, code %s, signal %s%s",
                record.id, reason, code, signum, f": {error}" if error else "",
            )  # fmt: skip
            # If it can't be stored, the log knows too, and the next start finds out again.
            self._registry.observe(
                entry,
                durable=True,
                state=State.ENDED,
                end_reason=reason,
                exit_code=code,
                exit_signal=signum,
                end_requested=requested,
                error=error,
                ended_at=time.time(),
                next_seq=next_seq,
            )
        keeper, entry.keeper = entry.keeper, None
        entry.former = keeper or entry.former
        entry.gone.set()
        if isinstance(keeper, CustodianKeeper):
            # Its news is stored: it may go when its clients have all.
            self._background(self._try(entry, keeper, "shutdown", {}))

    async def _try(self, entry: Entry, keeper: Keeper, method: str, params: Mapping[str, Any]) -> None:
        try:
            await keeper.request(method, params)
        except ToowlError as error:
            _log.debug("session %s: %s", entry.record.id, error)

    # --- ending -----------------------------------------------------------------------------------------

    async def kill(self, entry: Entry, *, force: bool) -> None:
        """End the child and wait until it is gone.

        Raises:
            RefusedError: nothing runs. CustodianUnreachable: it could not be ended; nothing was forgotten.
        """
        if not entry.running:
            if self.is_child_alive(entry.record):  # its custodian died, and it did not care
                await self._kill_processes(entry)
                return
            raise RefusedError(
                f"session {entry.record.label} is not running: `toowl rm {entry.record.label}` forgets it"
            )
        try:
            if entry.keeper is None:
                raise CustodianUnreachable(f"the custodian of session {entry.record.label} can't be reached")
            await entry.keeper.request("kill", {"force": force})
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
        waiting = [custodian, *((pid, process.started_at(pid)) for pid in victims)]
        _kill_all(victims)
        process.kill(*custodian)
        ended = await asyncio.gather(*(process.wait_until_gone(*one, END_TIMEOUT) for one in waiting))
        if not all(ended):
            raise CustodianUnreachable(
                f"session {record.label} can't be killed: a process waits in the kernel; try again later"
            )
        if not isinstance(entry.keeper, LocalKeeper):
            self.note_gone(entry)
        await entry.gone.wait()

    @staticmethod
    def is_child_alive(record: Record) -> bool:
        """Whether the child itself still runs, whatever became of its custodian."""
        return record.boot == process.boot_id() and process.is_alive(record.pid, record.pid_started)

    async def restart(self, entry: Entry, persistent: bool | None) -> list[str]:
        """End the child if it runs, and start a fresh one on the same log.

        Raises:
            ToowlError: it could not be ended, or not be started.
        """
        async with entry.lock:  # from the end to the beginning: nobody else may start it in between
            self._registry.check(entry)
            if entry.running:
                await self.kill(entry, force=False)
            return await self.respawn(entry, By.RESTART, persistent=persistent)

    async def restore(self, entry: Entry, env: Mapping[str, str]) -> list[str]:
        """Bring a session back that was lost, for nobody in particular.

        Raises:
            RefusedError: it was not lost. ToowlError: it could not be started.
        """
        async with entry.lock:
            self._registry.check(entry)
            label = entry.record.label
            if entry.running:
                raise RefusedError(f"session {label} is running: there is nothing to restore")
            if not entry.record.restorable:
                raise RefusedError(
                    f"session {label} was not lost, it is {entry.display()}: "
                    f"`toowl restart {label}` starts its program again"
                )
            return await self.respawn(entry, By.RESTORE, env=env)

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
            if self.is_child_alive(entry.record):
                raise RefusedError(
                    f"session {label} lost its custodian, but its program (pid {entry.record.pid}) runs on: "
                    f"end it first with `toowl kill {label}`"
                )
            await self._let_go(entry)
            self._registry.forget(entry)

    async def _let_go(self, entry: Entry) -> None:
        """Make sure that whoever kept a session that has ended does not touch its files any more.

        What a full disk did not take is written when there is room, which may be at any moment: into a log that
        somebody else continues, or into a folder that has just been removed.

        Raises:
            CustodianUnreachable: the custodian can't be ended.
        """
        former, entry.former = entry.former, None
        if isinstance(former, LocalKeeper) and former.host.log.degraded:
            former.host.abandon("lost")  # its child has ended; this closes its log
        if not self.is_custodian_alive(entry.record):
            return
        custodian = (entry.record.custodian_pid, entry.record.custodian_started)
        for signum, patience in (
            (None, FAREWELL_PATIENCE),
            (signal.SIGTERM, 1.0),
            (signal.SIGKILL, END_TIMEOUT),
        ):
            if signum is not None:
                process.kill(*custodian, signum)
            if await process.wait_until_gone(*custodian, patience):
                return
        raise CustodianUnreachable(
            f"session {entry.record.label}: its custodian (pid {custodian[0]}) does not end: try again later"
        )

    async def tick(self) -> None:
        """Forget sessions that ended as somebody wanted, long enough ago; the others stay.

        Also notes where running ones are, without waking anybody for it: there they begin again one day.
        """
        now = time.time()
        for entry in self._registry:
            self._note_folder(entry)
            record = entry.record
            if not record.ended_as_wanted or entry.lock.locked():
                continue
            if now - (record.ended_at or now) > self.config.ended_retention:
                try:
                    await self.remove(entry)
                except ToowlError as error:
                    _log.warning("%s", error)

    def _note_folder(self, entry: Entry) -> None:
        record = entry.record
        if record.state is State.RUNNING and process.is_same(record.pid, record.pid_started):
            cwd = control.child_cwd(record.pid)
            if cwd is not None and cwd != record.cwd:
                self._registry.observe(entry, cwd=cwd, cwd_at=time.time())

    def close(self) -> None:
        """The daemon ends: standard sessions with it, persistent ones not."""
        for entry in self._registry:
            self._note_folder(entry)  # perhaps the machine goes down too
            if entry.keeper is not None:
                entry.keeper.close()
        self.zygote.close()

    # --- tasks ------------------------------------------------------------------------------------------

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)


def _of_this_boot(record: Record) -> list[int]:
    """The processes of the child's session."""
    if record.boot != process.boot_id():
        return []
    return process.of_session(record.pid, record.pid_started, record.id)


def _kill_all(pids: list[int]) -> None:
    for pid in pids:
        process.kill(pid, process.started_at(pid))


def _inheritable(env: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in env.items()
        if name not in _NOT_INHERITED and not name.startswith(_PREFIXES_NOT_INHERITED)
    }
