"""A session whose size is not this terminal's, shown all the same: cropped, or with space around it.

That is so for viewers that may not type, and wherever somebody else's terminal decides. Owns the decision, and a
model of the session (`toowld.screen`) while it is needed: output goes into that, and what it shows is painted, on a
screen of its own, a few times a second. When the sizes are equal again the session is painted as when it was
attached, and its output goes to the terminal itself. It is painted also where output is missing, because the
terminal was left behind further than the log reaches. Where there is no emulator, all output goes to the terminal as
it is.

What the program asks its terminal meanwhile is answered by the model: the terminal is not shown the questions.
"""

from __future__ import annotations

import contextlib
import time

from toowl.attachment import Attachment
from toowl.picture import Picture
from toowl.screen import Screen
from toowld import errors
from toowld.classes import replace
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from toowld.screen.model import Model
    from toowld.screen.window import Window

#: Between two pictures (seconds). More nobody sees.
_PAUSE = 1 / 30
#: After this terminal was resized the session has its new size in a few milliseconds, unless it is not to have it.
_GRACE = 0.3
#: When no model was to be had: when to try again (seconds).
_AGAIN = 60.0
#: A terminal that is slower than its session for long loses output again and again (seconds).
_MEND_PAUSE = 5.0

#: Lines of scrollback that the model keeps: when a session grows some come back.
_SCROLLBACK = 200

_CLEAR = b"\x1b[m\x1b[2J"
_OWN_SCREEN = b"\x1b[?1049h" + _CLEAR


class Viewing:
    """Shows one session in one terminal of another size, for as long as it has one.

    Args:
        ask: for a picture of the session as it is now; None if there is none.
    """

    def __init__(
        self, attachment: Attachment, screen: Screen, size: Size, ask: Callable[[], Picture | None]
    ) -> None:
        self._attachment = attachment
        self._screen = screen
        self._size = size
        self._ask = ask
        self._model: Model | None = None
        self._window: Window
        self._shown = Size(rows=1, cols=1)  # of the session, as the model has it
        self._dirty = False
        self._not_before = 0.0
        self._mend_at = 0.0
        self._next = 0.0

    @property
    def on(self) -> bool:
        """Whether the terminal shows a picture, instead of the output itself."""
        return self._model is not None

    @property
    def wanted(self) -> bool:
        """Whether the session's size is another one than the terminal's."""
        return self._attachment.session_size not in (None, self._size)

    def resize(self, size: Size) -> None:
        """The terminal has this size now."""
        self._size = size
        self._not_before = time.monotonic() + _GRACE
        if self._model is not None:
            self._window.resize(size)
            self._put(_CLEAR)
            self._dirty = True

    def renew(self) -> None:
        """The terminal may show anything by now."""
        if self.on:
            from toowld.screen.window import Window

            self._window = Window(self._size)
            self._put(self._screen.cleared() + _OWN_SCREEN)
            self._dirty = True

    @property
    def due(self) -> bool:
        """Whether the terminal is needed here, to begin."""
        return not self.on and self.wanted and time.monotonic() >= self._not_before

    @property
    def deadline(self) -> float | None:
        """When to call `tend`."""
        if self._attachment.torn:
            return self._mend_at
        if self.on:
            return self._next if self._dirty else None
        return self._not_before if self.wanted else None

    def tend(self) -> None:
        """Begin, go on or end, as it is due. The terminal is ours, and nothing waits to be written to it."""
        now = time.monotonic()
        if self._attachment.torn and now >= self._mend_at:
            self._attachment.torn = False
            self._mend(now)
        if self.due:
            self._begin(now)
        elif self._model is not None and not self.wanted:
            self._end(self._model)
        if self._model is not None and self._dirty and now >= self._next:
            self._paint(self._model)
            self._next = now + _PAUSE

    def _begin(self, now: float) -> None:
        picture = self._ask()
        size = self._attachment.session_size
        if picture is None or size is None or picture.seq < self._attachment.seq:
            self._not_before = now + _AGAIN
            return
        from toowld.screen.model import Model

        try:
            self._model = Model(size, scrollback=_SCROLLBACK)
        except errors.ScreenError:
            self._not_before = now + _AGAIN
            return
        self._shown = size
        self._model.feed(picture.data + picture.unfinished)
        self._attachment.divert(self._feed, picture.seq)
        self.renew()

    def _mend(self, now: float) -> None:
        """Some output is missing: paint what the session shows, and go on from there."""
        self._mend_at = now + _MEND_PAUSE
        if self._model is not None:
            self._model.close()
            self._model = None
            self._attachment.divert(None, 0)
        if self._attachment.session_size != self._size:
            return  # `_begin` does it
        picture = self._ask()
        if picture is not None and picture.seq >= self._attachment.seq:
            self._put(self._screen.cleared() + b"\r\n")
            self._attachment.divert(None, picture.seq)
            self._attachment.paint(picture)

    def _feed(self, data: bytes) -> None:
        assert self._model is not None
        size = self._attachment.session_size
        if size is not None and size != self._shown:
            self._shown = size
            with contextlib.suppress(errors.ScreenError):  # no memory: then as it was
                self._model.resize(size)
        answers = self._model.ask(data)
        if answers:
            self._attachment.type(answers)
        self._dirty = True

    def _paint(self, model: Model) -> None:
        try:
            state = model.state(history=0)
        except errors.ScreenError:  # in the middle of a picture
            return
        self._dirty = False
        self._put(self._window.paint(state))

    def _end(self, model: Model) -> None:
        """The output fits the terminal again: paint what it goes on from."""
        from toowld.screen.render import render

        self._feed(b"")
        try:
            state = model.state(history=0)
        except errors.ScreenError:
            return  # in the middle of a picture; soon
        self._model = None
        model.close()
        self._attachment.divert(None, 0)
        self._put(self._screen.cleared() + b"\r\n")
        data = render(replace(state, unfinished=b""), self._size)
        cursor = state.grid.cursor
        fresh_line = cursor.x == 0 and not state.grid.rows[cursor.y].runs
        self._attachment.paint(Picture(self._attachment.seq, data, state.unfinished, fresh_line))

    def _put(self, data: bytes) -> None:
        if data:
            self._attachment.screen.append(data)
            self._attachment.screen_bytes += len(data)
