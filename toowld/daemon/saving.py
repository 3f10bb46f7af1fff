"""What takes the disk's time, done beside the daemon's loop: in threads, while everybody else is served.

Knows no sessions and no order: that the records of one session are written one after the other is seen to in
`registry`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from toowld.daemon.store import Store
from toowld.session import Record
from toowld.session import record as records

_log = logging.getLogger(__name__)

#: A disk brings several files to safety in the time of one; more threads than this would only wait in the kernel.
_THREADS = 8


class Saving:
    """A `Store` that nobody has to wait for.

    Every method raises what the store's own raises.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        self._under_way: set[asyncio.Future[None]] = set()

    async def save(self, record: Record, *, durable: bool) -> None:
        """See `Store.save`."""
        # Encoded here: a thread that allocates megabytes for a record keeps them, in an arena of its own (malloc(3)).
        data = records.encode(record)
        await self._run(partial(self._store.put, record.id, record.label, data, durable=durable))

    async def forget(self, session_id: str) -> None:
        """See `Store.forget`."""
        await self._run(partial(self._store.forget, session_id))

    async def _run(self, work: Callable[[], None]) -> None:
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._watch(future)
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait(
                [future]
            )  # a thread can't be called back; who goes on must know that it is done
            raise

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself."""
        task = asyncio.get_running_loop().create_task(work)
        self._watch(task)
        task.add_done_callback(_report)

    def _watch(self, future: asyncio.Future[None]) -> None:
        self._under_way.add(future)  # the loop itself keeps only a weak reference
        future.add_done_callback(self._under_way.discard)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a record could not be stored", exc_info=error)
