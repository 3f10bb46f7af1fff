"""The log of one session on a loop: written as output comes, synced beside the loop, tried again while it fails.

What is in the files is `toowld.log`'s business; when something is to be written or synced, the engine's.
"""

from __future__ import annotations

from toowld.host.aside import Aside
from toowld.host.loop import Loop, Timer
from toowld.log.cursor import Cursor
from toowld.log.format import FOLDER_EVERY
from toowld.log.writer import LogWriter
from toowld.session import effects as do
from toowld.wire.text import pack_text, unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from toowld.log.view import LogView  # a custodian needs none, nor the reader that it would load

#: While the log can't be written, it is tried again so often (seconds).
LOG_RETRY = 1.0


class Scrollback:
    """A log and what syncs it.

    Args:
        loop: calls us.
        log: becomes ours. A view of it where the child has ended.
        folder: tells where the child is, or None.
        on_changed: the log has lost its disk, or has it back.

    Attributes:
        log: for those who read.
        writer: the same, for those who write; call `watch` after each use.
        ending: what goes on when the end is on the disk; None before, and when it is.
    """

    def __init__(
        self,
        loop: Loop,
        log: LogWriter | LogView,
        *,
        folder: Callable[[], str | None],
        on_changed: Callable[[], None],
    ) -> None:
        self.log = log
        self.ending: Callable[[], None] | None = None
        # An engine whose child has ended writes nothing to its view.
        self.writer: LogWriter = log  # type: ignore[assignment]
        self._loop = loop
        self._child_folder = folder
        self._on_changed = on_changed
        self._noted = ("", 0)  # where the child was when that was last noted, and the seq then
        self._syncing: Aside | None = None
        self._sync_again = False
        self._retry: Timer | None = None
        self._closed = False

    # --- writing ----------------------------------------------------------------------------------------

    def append(self, data: bytes) -> None:
        """Add output."""
        self.writer.append(data)
        if self.writer.degraded:
            self.watch()

    def resize(self, effect: do.LogResize) -> None:
        self.writer.resize(effect.size)
        self.watch()

    def set_limit(self, limit: int) -> None:
        """Hold so many bytes from now on."""
        self.writer.set_limit(limit)

    def mark(self, kind: str, **fields: Any) -> None:
        """Note something; see docs/protocol.md for the kinds of marks."""
        self.writer.mark(kind, **fields)
        self.watch()

    def mark_start(self, kind: str, argv: list[str], cwd: str, pid: int) -> None:
        self.mark(kind, argv=argv, cwd=pack_text(cwd), pid=pid)
        self._noted = (cwd, self.writer.end)

    def _note_folder(self) -> None:
        """With each sync: a shell that is started in place of a lost one begins where that one was.

        The daemon notes it as well, but may not be there.
        """
        if (folder := self._child_folder()) is None:
            return
        noted, seq = self._noted
        if folder != noted or self.writer.end - seq > FOLDER_EVERY:
            self._noted = (folder, self.writer.end)
            self.writer.mark("folder", cwd=pack_text(folder))

    # --- over an upgrade of the code --------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether something is on its way to the disk just now."""
        return self._syncing is not None

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, for `thaw`; not while `busy`. ``keep`` gets each descriptor, and gives it back."""
        folder, seq = self._noted
        return {"log": self.writer.freeze(keep), "noted": [pack_text(folder), seq]}

    def thaw(self, state: Mapping[str, Any]) -> None:
        """Go on where another one was, with the log that it had."""
        folder, seq = state["noted"]
        self._noted = (unpack_text(folder), seq)
        if self.log.degraded:
            self._retry = self._loop.call_at(self._loop.time() + LOG_RETRY, self._try_again)

    # --- to the disk ------------------------------------------------------------------------------------

    def sync_end(self, then: Callable[[], None]) -> None:
        """Sync all that there will ever be, beside the loop like every sync; ``then`` is called when that is done."""
        self.ending = then
        self.begin_sync()

    def begin_sync(self) -> None:
        """Sync beside the loop: a slow disk must not hold up a session, nor others on the same loop."""
        if self._syncing is not None:
            self._sync_again = True
            return
        self._note_folder()
        sync = self.writer.begin_sync()
        if sync is None:
            self._synced()
            return

        def on_done() -> None:
            self._syncing = None
            self.writer.end_sync(sync)
            again, self._sync_again = self._sync_again, False
            if again:
                self.begin_sync()
            else:
                self._synced()

        try:
            self._syncing = Aside(self._loop, sync.run, on_done)
        except OSError:  # no descriptor is free
            sync.run()
            on_done()
        self.watch()

    def _synced(self) -> None:
        if self._closed and not self.log.degraded:
            self.log.close()
        self.watch()
        then, self.ending = self.ending, None
        if then is not None:
            then()

    def watch(self) -> None:
        """After every use of the log: if it lost its disk, say so and keep trying."""
        if self.log.degraded and self._retry is None:
            self._on_changed()
            self._retry = self._loop.call_at(self._loop.time() + LOG_RETRY, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self.writer.retry():
            self.begin_sync()  # what was only in memory has waited long enough
            self._on_changed()
        else:
            self.watch()

    # --- reading ----------------------------------------------------------------------------------------

    def cursor(self, seq: int) -> Cursor:
        """To read on from ``seq``."""
        return self.log.cursor(seq)

    def replay_cursor(self, back: int) -> Cursor:
        """To read the last ``back`` bytes or so, from where a terminal can begin."""
        wanted = self.log.replay_start(back)
        return self.log.cursor(wanted, safe=wanted > 0)

    def close(self) -> None:
        """Sync what is left and let go. What the disk does not take is kept, and tried again, until `give_up`."""
        self._closed = True
        self._let_go()
        self.watch()

    def give_up(self) -> None:
        """What the disk does not take now either is lost."""
        self._let_go()

    def _let_go(self) -> None:
        while self._syncing is not None:
            self._syncing.wait()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self.log.close()
