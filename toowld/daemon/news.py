"""What is heard of sessions: how they are, that they ended, and that whoever kept them is gone.

It owns what a piece of news does to the record and to the `Entry`. It starts and ends nothing itself; a custodian
whose child has ended is told that it may go, that is all.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from toowld.daemon import attendance, differences, process, restoring
from toowld.daemon.answering import Answering
from toowld.daemon.attendance import Visit
from toowld.daemon.entry import MARKS, Entry, Keeper
from toowld.daemon.events import Bus
from toowld.daemon.keepers import CustodianKeeper
from toowld.daemon.registry import Registry
from toowld.daemon.store import Store
from toowld.errors import ToowlError
from toowld.log import LogEnding, LogReader
from toowld.session import Record, State
from toowld.wire import seq_after_loss

_log = logging.getLogger(__name__)

#: When somebody typed last is stored for the time after a crash of everything; it may be that old then (seconds).
NOTED_WITHIN = 60.0


class News:
    """Hears of sessions, and notes it. ``answering``: hears what their programs ask; ``bus``: what happened."""

    def __init__(self, registry: Registry, store: Store, answering: Answering, bus: Bus) -> None:
        self._answering = answering
        self._bus = bus
        self._registry = registry
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    def on_news(self, entry: Entry, keeper: Keeper | None, info: Mapping[str, Any]) -> None:
        """A session's keeper tells how it is now."""
        if keeper is not entry.keeper:
            if keeper is entry.former and not entry.running:
                entry.live = info  # the disk has taken what it did not, or still does not
            return  # of a child that has ended; its successor may run already
        if keeper is not None:
            self._answering.look(entry.record.id, keeper, info.get("questions", ()))
        before = entry.live
        if _is_older(info, before):
            return  # an answer that was overtaken by news
        entry.live = info
        if isinstance(build := info.get("build"), str):
            entry.custodian_build = build
        if entry.record.state is State.STARTING:
            return  # `Starting` is not done yet, and looks at `live` when it is
        visits = list(attendance.changes(before, info))
        self._tell(entry, visits)
        for name, data in differences.of_news(before, info):
            self._bus.publish(name, entry.record, data)
        if info["state"] == "ended":
            self._tell(entry, attendance.at_once(info, "the session ended"))  # they are given the rest by now
            reason, code, signum = (info.get(key) for key in ("end_reason", "exit_code", "exit_signal"))
            next_seq = max(entry.record.next_seq, info["seq"])
            requested = bool(info.get("end_requested"))
            self._note_end(
                entry, reason or "lost", code, signum, next_seq, told_to_end=True, requested=requested
            )
            return
        changes = {
            key: info[key]
            for key in ("rows", "cols", "cwd")
            if info.get(key) is not None and info[key] != getattr(entry.record, key)
        }
        if visits and entry.record.idle_left is not None:
            changes["idle_left"] = None  # the countdown of `reaper` begins anew
        if "cwd" in changes:
            changes["cwd_at"] = time.time()
        # With each command that a shell tells of comes news: the disk need not know each time. `live` does.
        marks = any(before.get(key) != info.get(key) for key in MARKS) and not changes
        if info["last_active_at"] > entry.record.last_active_at + (NOTED_WITHIN if marks else 0.0):
            changes["last_active_at"] = float(info["last_active_at"])
        if changes:
            self._registry.observe(entry, **changes)

    def _tell(self, entry: Entry, visits: Iterable[Visit]) -> None:
        for visit in visits:
            _log.info("session %s: %s", entry.record.id, visit.text)
            self._bus.publish(visit.event, entry.record, visit.data)

    def on_hangs(self, entry: Entry, keeper: Keeper) -> None:
        """A keeper does not answer any more, or does again."""
        if keeper is entry.keeper:
            self.tell_reach(entry)

    def tell_reach(self, entry: Entry) -> None:
        """Tell that a session is out of reach, or is not any more, if that is news."""
        away = entry.known and entry.display().startswith("unreachable")
        if away != entry.away:
            entry.away = away
            if away or entry.running:
                self._bus.publish("unreachable" if away else "reachable", entry.record, {})

    async def ask(self, entry: Entry, timeout: float) -> None:
        """Ask a session's keeper how it is, unless it has not answered yet when it was asked before."""
        keeper = entry.keeper
        if keeper is None or keeper.hangs:  # its answer makes it reachable again
            return
        try:
            info = await keeper.request("info", timeout=timeout)
        except ToowlError:
            return
        self.on_news(entry, keeper, info)

    def on_lost(self, entry: Entry, keeper: Keeper) -> None:
        """The link to a custodian broke. It is gone, or it let go of us; its process tells which."""
        if keeper is not entry.keeper:
            if keeper is entry.former and not entry.running:
                self._background(self._see_what_is_left(entry))
            return  # it was dismissed, or another one has the session
        record = entry.record
        if record.state is State.STARTING:
            return  # `Starting` deals with it
        entry.keeper = None
        if is_custodian_alive(record):
            self._background(self._see_end(entry))
        else:
            self._background(self.note_gone(entry))

    async def _see_what_is_left(self, entry: Entry) -> None:
        """Whoever kept the end of a log in memory is gone: what the files lack is lost."""
        if not entry.live.get("degraded"):
            return
        end = (await self.log_ending(entry)).end
        if entry.running:
            return  # it was started again meanwhile
        entry.live = {**entry.live, "degraded": False, "seq": end}
        if end < entry.record.next_seq:
            error = f"the last {entry.record.next_seq - end} bytes of its output could not be written, and are lost"
            _log.warning("session %s: %s: %s", entry.record.id, error, entry.live.get("log_error"))
            self._registry.observe(entry, error=entry.record.error or error)

    async def _see_end(self, entry: Entry) -> None:
        """A process that dies closes its files first: look again before anybody is alarmed."""
        record = entry.record
        gone = await process.wait_until_gone(
            record.custodian_pid, record.custodian_started, process.END_TIMEOUT
        )
        if _has_changed(entry, record):
            return
        # Whoever has the entry's lock at this moment attaches somebody or ends the session, and waits for this.
        if gone:
            await self.note_gone(entry)
        else:  # the next tick adopts it again
            self.tell_reach(entry)
            _log.warning("session %s: its custodian lives, but the link broke; trying again", record.id)

    async def note_gone(self, entry: Entry) -> None:
        """The keeper's process is gone for sure: the log knows how the child ended, if it did before."""
        entry.keeper = None
        before = entry.record
        ending = await self.log_ending(entry)
        if _has_changed(entry, before):
            return
        live = entry.live
        self._tell(entry, attendance.at_once(live, "its keeper is gone"))
        if ending.folder is not None and ending.folder_at > entry.record.cwd_at:
            self._registry.observe(entry, cwd=ending.folder, cwd_at=ending.folder_at)
        record, end, last = entry.record, ending.end, ending.exit
        next_seq = max(record.next_seq, live.get("seq", 0), end)
        entry.live = {**live, "seq": end, "degraded": False}
        # The pid tells whose end that is, and lacks where a daemon died before it was stored that its child runs.
        unknown = record.pid is None or record.state is State.STARTING
        if last is not None and (unknown or last.get("pid", record.pid) == record.pid):
            reason = str(last.get("reason", "lost"))
            code, signum = last.get("code"), last.get("signal")
            requested = bool(last.get("requested")) or record.end_requested
            if signum is not None and not requested and record.boot != process.boot_id():
                # Nobody asked for it, and then the machine went down: the shutdown sends such signals to everybody.
                reason, code, signum = "lost", None, None
            self._note_end(entry, reason, code, signum, next_seq, told_to_end=True, requested=requested)
            return
        # The log holds all that clients have seen if it could be written, and the power did not go since.
        whole = record.boot == process.boot_id() and live.get("degraded") is False and 0 < end == next_seq
        next_seq = next_seq if whole else seq_after_loss(next_seq)
        if record.end_requested:  # its keeper hung, so both were killed
            signum = int(signal.SIGKILL)
            self._note_end(entry, "exited", None, signum, next_seq, told_to_end=True, requested=True)
        else:
            self._note_end(entry, "lost", None, None, next_seq, told_to_end=False)

    async def log_ending(self, entry: Entry) -> LogEnding:
        """How its log ends; of one that can't be read, nothing is known. Read beside the loop: it may be long."""
        try:
            return await asyncio.to_thread(LogReader(self._store.folder(entry.record.id)).ending)
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
                end_cause=entry.ending,
                error=error,
                ended_at=time.time(),
                last_active_at=max(record.last_active_at, entry.live.get("last_active_at", 0.0)),
                next_seq=next_seq,
            )
        keeper, entry.keeper = entry.keeper, None
        entry.former = keeper or entry.former
        entry.gone.set()
        if isinstance(keeper, CustodianKeeper):
            self._background(self._dismiss(entry, keeper))

    async def _dismiss(self, entry: Entry, keeper: Keeper) -> None:
        """Let a custodian go whose child has ended, once its clients have all: when that news is stored."""
        await self._registry.stored(entry)
        await self._try(entry, keeper, "shutdown", {})

    async def _try(self, entry: Entry, keeper: Keeper, method: str, params: Mapping[str, Any]) -> None:
        try:
            await keeper.request(method, params)
        except ToowlError as error:
            _log.debug("session %s: %s", entry.record.id, error)

    def tell_name(self, entry: Entry) -> None:
        """Let the keeper know the name, so that it is not lost with the record. The record decides."""
        if entry.keeper is not None:
            self._background(self._try(entry, entry.keeper, "set_name", {"name": entry.record.name}))

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)


def _is_older(info: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether it tells of a moment before what is known. Keepers of older versions do not say when they told it."""
    at, known_at = info.get("told_at"), known.get("told_at")
    if at is None or known_at is None or info.get("pid") != known.get("pid"):
        return False
    return bool(at < known_at)


def _has_changed(entry: Entry, before: Record) -> bool:
    """Whether a session without a keeper was adopted again since, or ended by others, and perhaps begun again."""

    def which(record: Record) -> tuple[int | None, float | None, bool]:
        return record.custodian_pid, record.custodian_started, record.state is State.STARTING

    return entry.keeper is not None or not entry.running or which(entry.record) != which(before)


def is_custodian_alive(record: Record) -> bool:
    """Whether the process that kept this session still runs."""
    return record.boot == process.boot_id() and process.is_alive(
        record.custodian_pid, record.custodian_started
    )
