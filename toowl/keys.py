r"""The detach chord, found in what the user types. PURE.

``Ctrl-\`` then ``d`` detaches, ``Ctrl-\`` twice sends one, ``Ctrl-\`` then ``?`` asks for the list of chords; after
any other key both go through. Owns nothing but the state between two reads; knows no terminal.

Theory. A terminal sends ``Ctrl-\`` as the byte 0x1c, until a program in the session asks it for another encoding:
``CSI 92;5u`` (kitty keyboard protocol, there also with event types, alternate keys and lock modifiers) or
``CSI 27;5;92~`` (xterm's modifyOtherKeys). All of them are the same key here, and a read may end anywhere in them.

A read that ends in ESC is no reason to wait: it may well be the key Esc, and a delay of Esc is what users of vim
never forgive. So there are no timers. An unfinished sequence is held back only once it is clear that hardly
anything but a chord can come of it (``ESC [ 9 2``). If an earlier part of a chord's sequence has gone out
already, all of it goes out, and the chord is acted upon nevertheless: the program then sees the whole key, never
half of one. However reads are cut, the chord works, and keys that are no chord arrive byte for byte.

While a bracketed paste runs nothing is a chord: the rest of a paste must not end up in the user's own shell.
"""

from __future__ import annotations

import re
from functools import partial

from toowld.classes import frozen

#: Ctrl-\ : hardly used by programs (its default meaning, SIGQUIT, is wanted even less often than Ctrl-Z).
PREFIX = 0x1C

_ESC = 0x1B
_PASTE_BEGIN = b"\x1b[200~"
_PASTE_END = b"\x1b[201~"

#: No key is encoded longer; what is, passes through unread.
_MAX_SEQUENCE = 64
#: Key releases held back behind the prefix. Nobody has that many keys down; beyond it the chord is given up.
_MAX_HELD = 4096

# Modifier bits of both encodings, which send the sum + 1.
_SHIFT, _CTRL, _LOCKS = 1, 4, 64 | 128

# Event types of the kitty protocol.
_PRESS, _REPEAT, _RELEASE = 1, 2, 3

#: Keys that are modifiers themselves (kitty, "functional key definitions"): locks, then left shift to level 5.
_MODIFIER_KEYS = frozenset(range(57358, 57361)) | frozenset(range(57441, 57455))

# Compiled when first needed, and then found in the cache of `re`.
_KITTY = partial(re.compile, rb"\x1b\[(\d+)(?::(\d*))?(?::\d*)?(?:;(\d*)(?::(\d*))?(?:;(\d*)[\d:]*)?)?u")
_XTERM = partial(re.compile, rb"\x1b\[27;(\d+);(\d+)~")
_RELEASED = partial(
    re.compile, rb"\x1b\[\d*;\d*:3[A-Z~]"
)  # a key with an encoding of its own: arrows, F1 and the like
#: Reports that are no keys: mouse, focus, and answers to queries.
_REPORT = partial(re.compile, rb"\x1b\[(?:[<>=?][\x20-\x3f]*[\x40-\x7e]|[MIO])")


@frozen
class Send:
    """These bytes are for the session."""

    data: bytes


@frozen
class DetachRequested:
    """The user wants to detach."""


@frozen
class HelpRequested:
    """The user wants the list of chords."""


Action = Send | DetachRequested | HelpRequested


@frozen
class _Key:
    code: int
    shifted: int
    text: int
    modifiers: int
    event: int

    def is_char(self, char: int) -> bool:
        """Whether this key, as pressed, types ``char``."""
        if self.modifiers == 0:
            return char in (self.code, self.text)
        if self.modifiers != _SHIFT:
            return False
        if char in (self.shifted, self.text):
            return True
        # xterm sends the shifted character itself. Kitty without alternate keys sends only the key's first
        # character, and "?" is on the key of "/" in most layouts.
        unshifted = ord("/") if char == ord("?") else None
        return self.code == unshifted or (self.code == char and not chr(char).islower())


class Chords:
    """Finds chords in the user's input, however it was cut into reads."""

    def __init__(self, prefix: int = PREFIX) -> None:
        """``prefix``: the control character that begins a chord, 0 to 31, but not Esc."""
        if not 0 <= prefix < 0x20 or prefix == _ESC:
            raise ValueError(f"{prefix} is no control character that could begin a chord")
        self._prefix = prefix
        self._prefix_code = ord(chr(prefix | 0x40).lower())
        self._holdable = partial(re.compile, rb"\x1b\[(?:%d(?:[:;][\d:;]*)?|27;[\d;]*)" % self._prefix_code)
        self._interesting = re.compile(b"[\x1b" + re.escape(bytes([prefix])) + b"]")
        self._actions: list[Action] = []
        self._sequence = bytearray()  # an unfinished escape sequence
        self._sent = 0  # how much of it has gone out
        self._skip = 0  # bytes that belong to a mouse report of the oldest kind
        self._pasting = False
        self._armed = False  # the prefix was pressed
        self._held: list[tuple[bytes, bool]] = []  # the prefix, then releases; True: of the prefix key

    @property
    def stops(self) -> tuple[bytes, ...]:
        """Whoever reads the terminal in our place must leave what begins with one of these to us.

        All that would be held back begins with one of them, and so does a paste, in which nothing is a chord.
        """
        encoded = b"\x1b[%d" % self._prefix_code
        return (bytes([self._prefix]), encoded, b"\x1b[27;", _PASTE_BEGIN)

    @property
    def idle(self) -> bool:
        """Whether nothing is unfinished: no chord, no sequence, no paste."""
        return not (self._armed or self._sequence or self._skip or self._pasting or self._held)

    def feed(self, data: bytes) -> list[Action]:
        """What to do about ``data``, in order. What stands behind a `DetachRequested` is to be ignored."""
        quiet = not (self._armed or self._sequence or self._skip)
        if quiet and not self._interesting.search(data):
            return [Send(data)] if data else []
        at = 0
        while at < len(data):
            if self._sequence:
                at = self._continue(data, at)
            elif self._skip and data[at] >= 0x20:
                self._skip -= 1
                self._send(data[at : at + 1])
                at += 1
            elif data[at] == _ESC:
                self._skip = 0
                self._sequence.append(_ESC)
                at += 1
            elif self._armed or (data[at] == self._prefix and not self._pasting):
                self._skip = 0
                self._plain(data[at])
                at += 1
            else:
                found = self._interesting.search(data, at + (data[at] == self._prefix))
                end = found.start() if found else len(data)
                self._send(data[at:end])
                at = end
        self._settle()
        actions, self._actions = self._actions, []
        return actions

    # -- bytes to keys ------------------------------------------------------------------------------------

    def _continue(self, data: bytes, at: int) -> int:
        """Add the byte at ``at`` to the unfinished sequence; the position after what was used."""
        byte, sequence = data[at], self._sequence
        if len(sequence) == 1:
            if byte == ord("["):
                sequence.append(byte)
                return at + 1
            self._end_sequence()  # the key Esc, or Alt with what follows
            self._other()
            if byte in (_ESC, self._prefix):
                return at
            self._send(data[at : at + 1])
            return at + 1
        if 0x20 <= byte <= 0x3F and len(sequence) < _MAX_SEQUENCE:
            sequence.append(byte)
            return at + 1
        if not 0x40 <= byte <= 0x7E:  # cut off by something else, or too long
            self._end_sequence()
            self._other()
            return at
        sequence.append(byte)
        self._whole(bytes(sequence))
        return at + 1

    def _settle(self) -> None:
        """At the end of a read: let everything out that need not be held back."""
        sequence = self._sequence
        if not sequence or self._sent == len(sequence):
            return
        if self._armed:
            hold = len(sequence) > 2
        else:
            hold = self._sent == 0 and not self._pasting and bool(self._holdable().fullmatch(sequence))
        if not hold or self._sent:
            self._release()
            self._send(bytes(sequence[self._sent :]))
            self._sent = len(sequence)

    def _whole(self, sequence: bytes) -> None:
        """A control sequence is complete."""
        key = _decode(sequence)
        if self._pasting or not (self._armed or (key and self._is_prefix(key))):
            self._pasting = sequence == _PASTE_BEGIN or (self._pasting and sequence != _PASTE_END)
            self._end_sequence()
        elif key is not None:
            self._encoded(key, sequence)
        elif _REPORT().fullmatch(sequence):
            rest = bytes(sequence[self._sent :])
            self._sequence.clear()
            self._sent = 0
            self._send(rest)  # ahead of the prefix that is held back: reports are not typed
            self._skip = 3 if sequence == b"\x1b[M" else 0
        else:
            self._pasting = sequence == _PASTE_BEGIN
            self._end_sequence()
            self._other()

    def _end_sequence(self) -> None:
        """Let the rest of the sequence out; it is not part of a chord."""
        rest = bytes(self._sequence[self._sent :])
        self._sequence.clear()
        self._sent = 0
        if rest:
            self._release()
            self._send(rest)

    # -- keys to chords -----------------------------------------------------------------------------------

    def _is_prefix(self, key: _Key) -> bool:
        return key.code == self._prefix_code and key.modifiers == _CTRL and key.event == _PRESS

    def _plain(self, byte: int) -> None:
        raw = bytes([byte])
        if byte == self._prefix:
            self._press_prefix(raw)
        elif byte == ord("d"):
            self._act(DetachRequested())
        elif byte == ord("?"):
            self._act(HelpRequested())
        else:
            self._release()
            self._send(raw)
            self._other()

    def _encoded(self, key: _Key, sequence: bytes) -> None:
        partly_sent = self._sent > 0
        rest = bytes(sequence[self._sent :])
        self._sequence.clear()
        self._sent = 0
        if partly_sent:
            self._send(rest)
            rest = b""
        if self._is_prefix(key):
            self._press_prefix(rest)
        elif key.event == _RELEASE or key.code in _MODIFIER_KEYS:
            if key.event != _REPEAT:  # Ctrl still held down: says nothing new, and never ends
                self._hold(rest, key.code == self._prefix_code)
        elif key.code == self._prefix_code and key.modifiers == _CTRL:
            pass  # the prefix held down: repeats
        elif key.is_char(ord("d")):
            self._act(DetachRequested())
        elif key.is_char(ord("?")):
            self._act(HelpRequested())
        else:
            self._release()
            self._send(rest)
            self._other()

    def _press_prefix(self, raw: bytes) -> None:
        if not self._armed:
            self._armed = True
            self._held = [(raw, True)] if raw else []
            return
        already_sent = not any(of_prefix for _, of_prefix in self._held)
        self._disarm()
        if not already_sent:
            self._send(raw)

    def _hold(self, raw: bytes, of_prefix: bool) -> None:
        if not self._held:  # the prefix has gone out: nothing may overtake it, nothing has to wait for it
            self._send(raw)
            return
        self._held.append((raw, of_prefix))
        if sum(len(held) for held, _ in self._held) > _MAX_HELD:
            self._release()
            self._other()

    def _act(self, action: Action) -> None:
        self._disarm()
        self._actions.append(action)

    def _disarm(self) -> None:
        """The chord is complete: forget its keys; other keys that were released meanwhile are released."""
        for raw, of_prefix in self._held:
            if not of_prefix:
                self._send(raw)
        self._held = []
        self._armed = False

    def _release(self) -> None:
        """Let out what is held back. The chord can still be completed."""
        for raw, _ in self._held:
            self._send(raw)
        self._held = []

    def _other(self) -> None:
        """Some other key came: no chord. What was held has gone out."""
        self._release()
        self._armed = False

    def _send(self, data: bytes) -> None:
        if not data:
            return
        if self._actions and isinstance(last := self._actions[-1], Send):
            self._actions[-1] = Send(last.data + data)
        else:
            self._actions.append(Send(data))


def _decode(sequence: bytes) -> _Key | None:
    """The key that a control sequence encodes, if it is one of the two encodings of any key."""
    if found := _KITTY().fullmatch(sequence):
        code, shifted, modifiers, event, text = (int(group or 0) for group in found.groups())
    elif found := _XTERM().fullmatch(sequence):
        modifiers, code = int(found[1]), int(found[2])
        shifted = event = text = 0
    elif _RELEASED().fullmatch(sequence):
        return _Key(0, 0, 0, 0, _RELEASE)
    else:
        return None
    return _Key(code, shifted, text, (max(modifiers, 1) - 1) & ~_LOCKS, event or _PRESS)
