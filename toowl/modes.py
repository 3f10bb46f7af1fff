"""What a session switched on in the user's terminal, and how to switch it off again. PURE.

A client may leave in the middle of vim. Whatever the session's output turned on by then (alternate screen, mouse
reports, bracketed paste, a keyboard protocol, colours, margins …) must be turned off, or the user's shell gets
garbage. A full reset of the terminal (RIS) would do it, and take the user's own settings and scrollback along;
so we watch what goes by and undo exactly that.

Theory. An ESC always begins anew, in every terminal, whatever was going on. So the sequences that matter can be found
by one regular expression without knowing what surrounds them, and only the tail of a chunk needs care: a
sequence may be cut there. Plain text costs a few searches for single bytes. Colours are frequent and only the last
one counts, so they are not walked through but searched from the end.
"""

from __future__ import annotations

import re

#: DEC private modes that are off in a fresh terminal, in the order in which they are best switched off: first
#: what makes the screen stand still, then what makes the terminal send bytes by itself.
_NORMALLY_OFF = (
    2026,  # synchronized output
    1003, 1002, 1000, 9,  # mouse: motion, drag, buttons, X10
    1016, 1015, 1006, 1005,  # its encodings
    1004,  # focus reports
    2048, 2031,  # reports of resize and of the colour scheme
    9001,  # win32 input mode
    2004,  # bracketed paste
    1, 66,  # application cursor keys, application keypad
    5,  # reverse video
    45, 1045,  # wrapping backwards
    67, 1039,  # what Backspace and Alt send
    2027,  # characters that belong together
    2033, 5522,  # reports of visibility and of pastes
)  # fmt: skip
_REPORTING = frozenset(_NORMALLY_OFF) - {2026, 1, 66, 5}
#: DEC private modes that are on in a fresh terminal.
_NORMALLY_ON = (7, 25)  # autowrap, cursor visible
_ALTERNATE = (47, 1047, 1049)
_ORIGIN, _LEFT_RIGHT_MARGINS = 6, 69
_INSERT, _NEWLINE = 4, 20  # ANSI modes

#: A tab stop in every eighth column, as far as any terminal is wide: CUF stops at the edge of narrower ones.
_TABS = b"\x1b7\r\x1b[3g" + b"\x1b[8C\x1bH" * 64 + b"\x1b8"

#: xterm keeps ten titles; a program that pushes without end must not make us pop without end.
_MAX_TITLES = 10
#: Terminals keep a bounded stack of keyboard flags (kitty: 8 to 16).
_MAX_KEYBOARDS = 16

#: Nobody splits longer control sequences; longer strings are told apart by their beginning.
_MAX_TAIL = 256

# C0 controls inside a control sequence are carried out, and the sequence goes on. CAN, SUB and ESC end it.
_C0 = rb"\x00-\x17\x19\x1c-\x1f"
_N = rb"[0-9;:" + _C0 + rb"]*"
# What ends a string: BEL, CAN, SUB, and the ESC of ST or of anything else.
_END = rb"\x07\x18\x1a\x1b"

_TRACKED = re.compile(
    rb"\x1b(?!\[[0-9;:]*m)(?:"  # colours first: most of all escapes, and none of these
    rb"\[(?P<private>[?>=<!]?)(?P<params>" + _N + rb")(?P<final>[ghlurtp]| q)"
    rb"|\[>(?P<keys>" + _N + rb")[mn]"
    rb"|(?P<short>[=>cnoH|}~]|[()*+][ -/]?[0-~])"
    rb"|\](?:8;[^;" + _END + rb"]*;(?P<link>[^" + _END + rb"]?)"
    rb"|(?P<colour>4|1[0-2]);(?P<spec>[^" + _END + rb"]{0,64})"
    rb"|(?P<plain>104|11[0-2])(?![0-9;]))"
    rb")"
)
#: The last colour or attribute in a chunk: greedy, so the search runs from the end.
_LAST_SGR = re.compile(rb"(?s:.*)\x1b\[([0-9;:" + _C0 + rb"]*)m")
#: What may be cut off at the end of a chunk, if it stands at the last ESC.
_CUT = re.compile(rb"\x1b(?:[ -/]*|\[[0-?" + _C0 + rb"]*[ -/]*|[\]PX^_][^" + _END + rb"]{0,80})")
_STRING = re.compile(rb"\x1b[\]PX^_]")


class Modes:
    """Follows output as it is written to the terminal."""

    def __init__(self) -> None:
        self._tail = b""  # the cut-off beginning of a sequence
        self._in_string = False  # the terminal is inside of OSC, DCS, APC, PM or SOS
        self._forget()
        self._titles: list[bytes] = []

    def _forget(self) -> None:
        """As after a full reset of the terminal (which leaves the title stack alone)."""
        self._on: set[int] = set()  # those of _NORMALLY_OFF
        self._off: set[int] = set()  # those of _NORMALLY_ON
        self._ansi: set[int] = set()
        self._alternate = 0
        self._saved: tuple[bool, bool, bool, set[bytes]] = (False, False, False, set())
        self._origin = False
        self._margins = False
        self._side_margins = False
        self._keypad = False
        self._attributes = False
        self._link = False
        self._shifted = False
        self._right_shifted = False
        self._charsets: set[bytes] = set()
        self._cursor_shape = False
        self._tabs = False
        self._modified_keys: set[int] = set()
        self._colours: set[int] = set()
        # The keyboard stacks of the main and of the alternate screen: depth, and whether the flags at the
        # bottom were changed.
        self._keyboards = [[0, 0], [0, 0]]

    # -- watching -----------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """These bytes have been written to the terminal."""
        if not self._tail and b"\x1b" not in data:
            self._shift(data, 0)
            if self._in_string:
                self._in_string = not any(end in data for end in (b"\x07", b"\x18", b"\x1a"))
            return
        buffer = self._tail + data if self._tail else data
        last_escape = buffer.rfind(b"\x1b")
        cut = _CUT.fullmatch(buffer, last_escape)
        # A string stays in the tail only as long as its beginning has to be seen whole.
        self._tail = buffer[last_escape:] if cut and len(buffer) - last_escape <= _MAX_TAIL else b""
        self._in_string = _ends_in_string(buffer, last_escape)
        until = last_escape if self._tail else len(buffer)
        since = shifted = 0  # where attributes and shift were last changed by something else
        for found in _TRACKED.finditer(buffer, 0, until):
            swaps = found["private"] == b"?" and b"1049" in found["params"]
            if swaps:  # saves them, or brings others back
                self._colour(buffer, since, found.start())
                self._shift(buffer, shifted, found.start())
            self._apply(found)
            if swaps or found["short"] == b"c" or found["private"] == b"!":
                since = shifted = found.end()
            elif found["short"] in (b"n", b"o"):
                shifted = found.end()
        self._colour(buffer, since, until)
        self._shift(buffer, shifted)

    def _colour(self, buffer: bytes, since: int, until: int) -> None:
        """Colours and attributes."""
        if sgr := _LAST_SGR.match(buffer, since, until):
            self._attributes = not _is_reset(sgr[1])

    def _shift(self, data: bytes, since: int, until: int | None = None) -> None:
        """Locking shifts to the line drawing characters (SO) and back (SI)."""
        if b"\x0e" in data or b"\x0f" in data:
            out, back = data.rfind(b"\x0e", since, until), data.rfind(b"\x0f", since, until)
            if out != back:
                self._shifted = out > back

    def suspect_all(self) -> None:
        """Some output is not known: it may have switched on anything that is easily switched off."""
        self.abort()
        self._on = set(_NORMALLY_OFF)
        self._off = set(_NORMALLY_ON)
        self._alternate = self._alternate or 1047  # unlike 1049 harmless where it was not on
        self._ansi = {_INSERT}
        self._margins = self._keypad = self._attributes = self._link = True
        self._shifted = self._right_shifted = True
        self._charsets = {b"("}
        self._cursor_shape = True

    @property
    def mid_sequence(self) -> bool:
        """Whether the terminal waits for the rest of a sequence: nothing may be put in here."""
        return bool(self._tail) or self._in_string

    @property
    def cut(self) -> bytes | None:
        """The sequence that the terminal has the beginning of; empty if there is none, None if it is long.

        Something else may be written all the same, if this is written again afterwards.
        """
        return None if self._in_string and not self._tail else self._tail

    @property
    def margins(self) -> bool:
        """Whether a part of the screen scrolls by itself."""
        return self._margins or self._side_margins or self._origin

    @property
    def alternate_screen(self) -> bool:
        return bool(self._alternate)

    @property
    def reporting(self) -> bool:
        """Whether the terminal may send what nobody typed, or send keys in a way that few programs know."""
        return bool(self._on & _REPORTING) or any(map(any, self._keyboards)) or bool(self._modified_keys)

    def _apply(self, found: re.Match[bytes]) -> None:
        if found["final"]:
            self._control(found["private"], found["final"], _numbers(found["params"]))
        elif found["keys"] is not None:
            numbers = _numbers(found["keys"])
            value = numbers[1] if len(numbers) > 1 and found[0].endswith(b"m") else 0
            if not found["keys"]:
                self._modified_keys.clear()
            elif value:
                self._modified_keys.add(numbers[0])
            else:
                self._modified_keys.discard(numbers[0])
        elif found["short"]:
            self._short(found["short"])
        elif found["link"] is not None:
            self._link = bool(found["link"])
        elif found["plain"]:
            self._colours.discard(int(found["plain"]) - 100)
        elif b"?" not in found["spec"]:
            self._colours.add(int(found["colour"]))

    def _control(self, private: bytes, final: bytes, numbers: list[int]) -> None:
        first = numbers[0]
        match private, final:
            case (b"?", b"h") | (b"?", b"l"):
                for number in numbers:
                    self._private(number, final == b"h")
            case (b"", b"h") | (b"", b"l"):
                _put(self._ansi, {_INSERT, _NEWLINE} & set(numbers), final == b"h")
            case b"", b"g":
                self._tabs = True
            case (b">", b"u") | (b"<", b"u") | (b"=", b"u"):
                self._keyboard(private, numbers)
            case b"", b" q":
                self._cursor_shape = first != 0
            case b"", b"r":
                self._margins = first > 1 or (len(numbers) > 1 and numbers[1] > 0)
            case b"", b"t" if first == 22 and len(self._titles) < _MAX_TITLES:
                self._titles.append(b"%d" % (numbers[1] if len(numbers) > 1 else 0))
            case b"", b"t" if first == 23 and self._titles:
                self._titles.pop()
            case b"!", b"p":
                self._soft_reset()

    def _private(self, number: int, on: bool) -> None:
        if number in _ALTERNATE:
            if number == 1049 and on and not self._alternate:
                self._saved = (self._attributes, self._shifted, self._right_shifted, set(self._charsets))
            elif self._alternate == 1049 and not on:
                self._bring_back()
            # 1049 also restores the cursor on the way back, so it stays what has to be undone.
            self._alternate = (1049 if self._alternate == 1049 else number) if on else 0
        elif number == _ORIGIN:
            self._origin = on
        elif number == _LEFT_RIGHT_MARGINS:
            self._side_margins = on
        elif number in _NORMALLY_OFF:
            _put(self._on, {number}, on)
        elif number in _NORMALLY_ON:
            _put(self._off, {number}, not on)

    def _bring_back(self) -> None:
        """With the main screen comes what its cursor had; terminals differ in whether all of the other's is gone."""
        attributes, shifted, right_shifted, charsets = self._saved
        self._attributes |= attributes
        self._shifted |= shifted
        self._right_shifted |= right_shifted
        self._charsets |= charsets

    def _keyboard(self, private: bytes, numbers: list[int]) -> None:
        stack = self._keyboards[bool(self._alternate)]
        if private == b">":
            stack[0] = min(stack[0] + 1, _MAX_KEYBOARDS)
        elif private == b"<":
            count = max(numbers[0], 1)
            if count > stack[0]:
                stack[1] = 0  # popping more than there is clears all flags
            stack[0] = max(stack[0] - count, 0)
        elif not stack[0]:
            mode = numbers[1] if len(numbers) > 1 else 1
            stack[1] = {2: stack[1] | numbers[0], 3: stack[1] & ~numbers[0]}.get(mode, numbers[0])

    def _short(self, sequence: bytes) -> None:
        first = sequence[:1]
        if first in b"=>":
            self._keypad = first == b"="
        elif first == b"H":
            self._tabs = True
        elif first == b"c":
            self._forget()
        elif first in b"no":
            self._shifted = True
        elif first in b"|}~":
            self._right_shifted = first != b"}"  # G2 is usual
        elif first in b"()*+":
            if sequence[1:] == b"B":
                self._charsets.discard(first)
            else:
                self._charsets.add(first)

    def _soft_reset(self) -> None:
        self._off -= {25}
        self._on -= {1, 66}
        self._ansi.clear()
        self._origin = self._margins = self._keypad = self._attributes = self._shifted = False
        self._charsets.clear()

    # -- undoing ------------------------------------------------------------------------------------------

    def abort(self) -> bytes:
        """What ends a sequence that was cut off, without carrying it out where that is possible; else nothing.

        To be called when the rest will never come. The bytes count as written.
        """
        if not self.mid_sequence:
            return b""
        # CAN ends everything in most terminals; those that let a string run on end it at ST.
        undo = b"\x18\x1b\\" if self._in_string else b"\x18"
        self._tail = b""
        self._in_string = False
        return undo

    def reset(self) -> bytes:
        """What switches off all that is still on, and nothing else. The bytes count as written."""
        undo = [self.abort()]
        undo += [b"\x1b[?%dl" % mode for mode in _NORMALLY_OFF if mode in self._on]
        main, alternate = self._keyboards
        if self._alternate:
            undo.append(_undo_keyboard(alternate))
            undo.append(b"\x1b[?%dl" % self._alternate)
            if self._alternate == 1049:
                self._bring_back()
        undo.append(_undo_keyboard(main))
        undo += [b"\x1b[>%dm" % number for number in sorted(self._modified_keys)]
        if self._keypad:
            undo.append(b"\x1b>")
        if self._attributes:
            undo.append(b"\x1b[m")
        if self._link:
            undo.append(b"\x1b]8;;\x1b\\")
        if self._shifted:
            undo.append(b"\x0f")
        if self._right_shifted:
            undo.append(b"\x1b}")
        undo += [b"\x1b%cB" % charset for charset in sorted(self._charsets)]
        undo += [b"\x1b[%dl" % mode for mode in sorted(self._ansi)]
        undo.append(self._undo_margins())
        if self._tabs:
            undo.append(_TABS)
        if self._cursor_shape:
            undo.append(b"\x1b[0 q")
        undo += [b"\x1b[?%dh" % mode for mode in _NORMALLY_ON if mode in self._off]
        # 4: palette, 10 to 12: text, background, cursor; resetting is the same number + 100.
        undo += [b"\x1b]%d\x1b\\" % (colour + 100) for colour in sorted(self._colours)]
        undo += [b"\x1b[23;%st" % which for which in reversed(self._titles)]
        self._forget()
        self._titles.clear()
        return b"".join(undo)

    def _undo_margins(self) -> bytes:
        undo = b""
        if self._side_margins:
            undo += b"\x1b[?69l"
        if self._margins and not self._origin:
            undo += b"\x1b7\x1b[r\x1b8"  # setting margins moves the cursor home
        elif self._origin:
            # Both move the cursor home, and the saved cursor holds the origin mode: go to the last line.
            undo += b"\x1b[?6l\x1b[r\x1b[9999H"
        return undo


def _put(modes: set[int], numbers: set[int], on: bool) -> None:
    if on:
        modes |= numbers
    else:
        modes -= numbers


def _numbers(params: bytes) -> list[int]:
    """The parameters of a control sequence; a missing one is 0. Never empty."""
    clean = re.sub(rb"[^0-9;:]", b"", params)
    return [int(part.partition(b":")[0][:9] or 0) for part in clean.split(b";")]


def _is_reset(params: bytes) -> bool:
    return not re.sub(rb"[^1-9;:]", b"", params)


def _undo_keyboard(stack: list[int]) -> bytes:
    depth, flags = stack
    return (b"\x1b[<%du" % depth if depth else b"") + (b"\x1b[=0u" if flags else b"")


def _ends_in_string(buffer: bytes, last_escape: int) -> bool:
    if not _STRING.match(buffer, last_escape):
        return False
    return not any(buffer.find(end, last_escape) >= 0 for end in (b"\x07", b"\x18", b"\x1a"))
