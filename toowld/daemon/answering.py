"""What programs ask a terminal that is not there, answered from the session's screen.

A session in which something is asked tells so with its news (``questions``). The screen is computed as for a picture
(`Screens`), and the answer goes to whoever keeps the session, to be typed if that was not done meanwhile. Where there
is no screen, the keeper is told so, and says something itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Iterable
from typing import Any

from toowld.daemon.entry import Keeper
from toowld.daemon.screens import Screens
from toowld.daemon.store import Store
from toowld.errors import ScreenError, ToowlError


class Answering:
    """Answers questions."""

    def __init__(self, screens: Screens, store: Store) -> None:
        self._screens = screens
        self._store = store
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}

    def look(self, session_id: str, keeper: Keeper, questions: Iterable[Any]) -> None:
        """See to the questions of a session, as its news has them: pairs of where it ends, and the question."""
        for end, query in questions:
            key = (session_id, end)
            if key not in self._tasks:
                task = asyncio.create_task(self._answer(session_id, keeper, end, query))
                self._tasks[key] = task
                task.add_done_callback(functools.partial(self._done, key))

    def _done(self, key: tuple[str, int], _: asyncio.Task[None]) -> None:
        del self._tasks[key]

    async def _answer(self, session_id: str, keeper: Keeper, end: int, query: bytes) -> None:
        try:
            data = await self._screens.answer(self._store.folder(session_id), end, query)
        except ScreenError:
            data = b""
        with contextlib.suppress(ToowlError):  # it has ended, or hangs: nobody waits
            await keeper.request("answer", {"end": end, "data": data})
