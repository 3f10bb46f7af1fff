"""A terminal without a screen: takes a session's output and knows what a terminal would show.

`Model` is our small interface over libghostty-vt; another emulator would have to offer the same. It takes bytes and
sizes, and gives its state as a value (`Terminal`), as the answer to a question, or as bytes to go on from later. It
knows nothing of logs, of sessions, or of who looks.

Memory is bounded: so many lines of scrollback, no pictures, and no screen larger than anybody has.
"""

from __future__ import annotations

import ctypes
import weakref

from toowld.errors import ScreenError
from toowld.screen import library
from toowld.screen.decode import decode
from toowld.screen.state import Terminal
from toowld.wire.messages import Size

#: Scrollback that is kept and shown to a terminal that attaches. All of the log can be read by `toowl capture
#: --scrollback`; a terminal rarely keeps more than this itself.
SCROLLBACK_LINES = 10_000
#: The library's own default keeps 700 lines whatever was asked for. 10 000 lines of 200 coloured cells.
_SCROLLBACK_BYTES = 32 << 20
#: The beginning of a sequence that a snapshot carries. Longer ones are pictures, whose snapshot has to wait.
_UNFINISHED_BYTES = 256 << 10
#: Cells of the largest screen: a wall of monitors has 200 000. Sizes come from clients, and memory is ours.
_MAX_CELLS = 1_000_000


class Model:
    """One terminal. Use as a context manager, or let it be collected."""

    def __init__(self, size: Size, scrollback: int = SCROLLBACK_LINES) -> None:
        """
        Args:
            scrollback: lines of it that are kept.

        Raises:
            ScreenUnavailable: there is no library.
            ScreenError: no terminal of that size can be had.
        """
        self._library = library.load()
        made = ctypes.c_void_p()
        _check(
            self._library.ghostty_terminal_new(None, ctypes.byref(made), *_clamped(size)), "make a terminal"
        )
        self._own(made)
        self._set(library.OPT_SCROLLBACK_MAX_BYTES, _SCROLLBACK_BYTES)
        self._set(library.OPT_SCROLLBACK_MAX_LINES, scrollback)

    @classmethod
    def restore(cls, snapshot: bytes) -> Model:
        """Go on from a `snapshot`.

        Raises:
            ScreenUnavailable: there is no library.
            ScreenError: it is damaged.
        """
        model = cls.__new__(cls)
        model._library = lib = library.load()
        decoder, made = ctypes.c_void_p(), ctypes.c_void_p()
        what = "read a snapshot"
        _check(
            lib.ghostty_snapshot_decoder_new_buf(None, ctypes.byref(decoder), snapshot, len(snapshot)), what
        )
        try:
            limit, keep = ctypes.c_size_t(_UNFINISHED_BYTES), ctypes.c_bool(True)
            for option, value in (
                (library.DECODER_OPT_MAX_CONTINUATION_BYTES, limit),
                (library.DECODER_OPT_RETAIN_CONTINUATION, keep),
            ):
                _check(lib.ghostty_snapshot_decoder_set(decoder, option, ctypes.byref(value)), what)
            _check(lib.ghostty_snapshot_decoder_decode(decoder, ctypes.byref(made)), what)
        finally:
            lib.ghostty_snapshot_decoder_free(decoder)
        model._own(made)
        return model

    def _own(self, made: ctypes.c_void_p) -> None:
        self._terminal = made
        self._free = weakref.finalize(self, self._library.ghostty_terminal_free, made)
        self._set(library.OPT_CONTINUATION_MAX_BYTES, _UNFINISHED_BYTES)
        self._set(library.OPT_KITTY_IMAGE_STORAGE_LIMIT, 0)

    def _set(self, option: int, value: int) -> None:
        argument = ctypes.c_uint64(value)  # size_t, where that is what is wanted
        _check(self._library.ghostty_terminal_set(self._terminal, option, ctypes.byref(argument)), "set up")

    def feed(self, data: bytes) -> None:
        """The session printed this."""
        self._library.ghostty_terminal_vt_write(self._terminal, data, len(data))

    def ask(self, query: bytes) -> bytes:
        """What the terminal answers to this, which the session has printed; empty if it does not know the question.

        Raises:
            ScreenError: it can't be asked.
        """
        answers: list[bytes] = []

        def note(_terminal: int, _data: int, where: int, length: int) -> None:
            answers.append(ctypes.string_at(where, length))

        answered = library.WritePty(note)
        setting = self._library.ghostty_terminal_set
        _check(
            setting(self._terminal, library.OPT_WRITE_PTY, ctypes.cast(answered, ctypes.c_void_p)), "set up"
        )
        try:
            self.feed(query)
        finally:
            setting(self._terminal, library.OPT_WRITE_PTY, None)
        return b"".join(answers)

    def resize(self, size: Size) -> None:
        """The session's terminal has this size now.

        Raises:
            ScreenError: no memory for that.
        """
        cols, rows = _clamped(size)
        # In pixels a cell is as large as most people's: it matters only to who asks for it.
        _check(self._library.ghostty_terminal_resize(self._terminal, cols, rows, 8, 16), "resize")

    def snapshot(self) -> bytes:
        """All there is to know, to go on from with `restore`.

        Raises:
            ScreenError: not now, in the middle of a very long sequence.
        """
        where, length = ctypes.c_void_p(), ctypes.c_size_t()
        _check(
            self._library.ghostty_snapshot_encode_alloc(
                self._terminal, None, ctypes.byref(where), ctypes.byref(length)
            ),
            "take a snapshot",
        )
        try:
            return ctypes.string_at(where, length.value)
        finally:
            self._library.ghostty_free(None, where, length)

    def state(self, *, history: int = SCROLLBACK_LINES) -> Terminal:
        """What is shown and set. ``history``: so many lines of the scrollback at most, the newest.

        Raises:
            ScreenError: not now, in the middle of a very long sequence.
        """
        return decode(self.snapshot(), history=history)

    def close(self) -> None:
        """Free the memory now."""
        self._free()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _clamped(size: Size) -> tuple[int, int]:
    """Columns and rows that we can afford."""
    cols, rows = max(size.cols, 1), max(size.rows, 1)
    if cols * rows > _MAX_CELLS:
        cols = min(cols, 1000)
        rows = min(rows, _MAX_CELLS // cols)
    return cols, rows


def _check(result: int, what: str) -> None:
    if result != library.SUCCESS:
        raise ScreenError(f"the screen model could not {what} (error {result})")
