"""How sessions end and are forgotten.

A record is only ever removed when its processes are known to be gone; what can't be ended stays, and says so.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from toowld.daemon import process
from toowld.daemon.entry import Entry
from toowld.daemon.keepers import LocalKeeper
from toowld.daemon.news import News, is_custodian_alive
from toowld.daemon.reaching import out_of_reach
from toowld.daemon.registry import Registry
from toowld.errors import CustodianLost, CustodianUnreachable, RefusedError
from toowld.host import following
from toowld.session import Record
from toowld.session.ending import KILL_STEPS

#: How long `kill` waits: all its signals, and a second for the news to come back (seconds).
KILL_TIMEOUT = sum(wait for _, wait in KILL_STEPS) + 1.0

#: A custodian whose child has ended may take so long to bring its clients the last bytes, when somebody wants the
#: session's files for himself (seconds).
FAREWELL_PATIENCE = 1.0


class Ending:
    """Ends sessions, and forgets them.

    Args:
        followed: the folder of what their shells follow.
    """

    def __init__(self, registry: Registry, news: News, followed: Path) -> None:
        self._registry = registry
        self._news = news
        self._following = followed

    async def kill(self, entry: Entry, *, force: bool) -> None:
        """End the child and wait until it is gone, and that is stored.

        Raises:
            RefusedError: nothing runs. CustodianUnreachable: it could not be ended; nothing was forgotten.
        """
        await self.end(entry, force=force)
        await self._registry.stored(entry)

    async def end(self, entry: Entry, *, force: bool, restart: bool = False) -> None:
        """`kill`, without the wait for the disk.

        Args:
            restart: it begins again at once, which those who are attached are told.
        """
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
            if entry.keeper is None or (force and entry.keeper.hangs):
                raise out_of_reach(entry, to_end=not restart)
            await entry.keeper.request("kill", {"force": force, "restart": restart})
        except CustodianLost:
            pass  # it died just now, which is news that is on its way to us
        except CustodianUnreachable as error:
            if not force:
                raise out_of_reach(entry, to_end=not restart) from error
            await self._kill_processes(entry)
            return
        try:
            await asyncio.wait_for(entry.gone.wait(), KILL_TIMEOUT)
        except TimeoutError:
            if not force:
                again = "restart" if restart else "kill"
                raise CustodianUnreachable(
                    f"session {entry.record.label} did not end: try `toowl {again} --force {entry.record.label}`"
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
            await self._news.note_gone(entry)
        await entry.gone.wait()

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
            await self.let_go(entry)
            await self.forget(entry)

    async def forget(self, entry: Entry) -> None:
        """Remove what is stored of a session, of which nothing runs.

        Raises:
            StoreError: something of it is left.
        """
        await self._registry.forget(entry)
        following.forget(str(self._following / entry.record.id))

    async def let_go(self, entry: Entry) -> None:
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


def is_child_alive(record: Record) -> bool:
    """Whether the child itself still runs, whatever became of its custodian."""
    return record.boot == process.boot_id() and process.is_alive(record.pid, record.pid_started)


def _of_this_boot(record: Record) -> list[int]:
    """The processes of the child's session."""
    if record.boot != process.boot_id():
        return []
    return process.of_session(record.pid, record.pid_started, record.id)
