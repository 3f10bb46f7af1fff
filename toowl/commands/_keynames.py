"""Names of keys, as in tmux, and the bytes that a terminal sends for them. PURE.

The forms are xterm's, which is what TERM promises in nearly every session. A session that asked for other forms
(application cursor keys, the kitty keyboard protocol) has programs that understand these too.
"""

from __future__ import annotations

from toowld.errors import UsageError

_ESC = "\x1b"

#: Keys whose modified forms have bytes of their own kind, or none.
_PLAIN = {
    "Space": " ",
    "Tab": "\t",
    "Enter": "\r",
    "Escape": _ESC,
    "BSpace": "\x7f",
    "BTab": _ESC + "[Z",
}

#: CSI 1 ; modifier LETTER; without a modifier CSI LETTER (cursor) or SS3 LETTER (F1 to F4).
_LETTERS = {"Up": "A", "Down": "B", "Right": "C", "Left": "D", "Home": "H", "End": "F"}
_SS3 = {"F1": "P", "F2": "Q", "F3": "R", "F4": "S"}

#: CSI number ; modifier ~
_NUMBERS = {
    "IC": 2, "DC": 3, "PPage": 5, "NPage": 6,
    "F5": 15, "F6": 17, "F7": 18, "F8": 19, "F9": 20, "F10": 21, "F11": 23, "F12": 24,
    "F13": 25, "F14": 26, "F15": 28, "F16": 29, "F17": 31, "F18": 32, "F19": 33, "F20": 34,
}  # fmt: skip

_OTHER_NAMES = {
    "Insert": "IC",
    "Delete": "DC",
    "PageUp": "PPage",
    "PgUp": "PPage",
    "PageDown": "NPage",
    "PgDn": "NPage",
    "Return": "Enter",
    "Esc": "Escape",
    "Backspace": "BSpace",
}

#: Every name, in lower case: tmux does not mind the case either.
_NAMES = {
    name.lower(): _OTHER_NAMES.get(name, name)
    for name in (*_PLAIN, *_LETTERS, *_SS3, *_NUMBERS, *_OTHER_NAMES)
}

#: What xterm adds up for its modifier parameter (1 is none).
_SHIFT, _META, _CTRL = 1, 2, 4
_MODIFIERS = {"S-": _SHIFT, "M-": _META, "C-": _CTRL, "^": _CTRL}


def key_bytes(name: str) -> bytes:
    """What a terminal sends for a key: ``C-c``, ``Up``, ``F5``, ``M-x``, ``S-Tab``, ``C-M-Left``, ``a``.

    Raises:
        UsageError: there is no such key.
    """
    modifiers, rest = 0, name
    while len(rest) > 1:
        for prefix, modifier in _MODIFIERS.items():
            # "C--" is Ctrl and the minus key; "^" alone is a key.
            if rest[: len(prefix)].upper() == prefix and len(rest) > len(prefix):
                modifiers |= modifier
                rest = rest[len(prefix) :]
                break
        else:
            break
    if len(rest) == 1:
        sent = _character(rest, modifiers, name)
    elif (known := _NAMES.get(rest.lower())) is not None:
        sent = _named(known, modifiers, name)
    else:
        raise _unknown(name)
    return sent.encode("utf-8", "surrogateescape")


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"no key is called {name!r}: keys are Enter, Up, F5, C-c, M-x, a single character …; text goes without --keys"
    )


def _character(char: str, modifiers: int, name: str) -> str:
    if modifiers & _SHIFT:
        char = char.upper()
    if modifiers & _CTRL:
        char = _control(char, name)
    return _ESC + char if modifiers & _META else char


def _control(char: str, name: str) -> str:
    """The control character that Ctrl makes of a key."""
    if char == "?":
        return "\x7f"
    if char in (" ", "2"):
        return "\0"
    if char in "345678":  # as on a VT220: Esc, FS, GS, RS, US, DEL
        return "\x1b\x1c\x1d\x1e\x1f\x7f"[int(char) - 3]
    if char in "/-":
        return "\x1f"
    if "@" <= char.upper() <= "_":
        return chr(ord(char.upper()) & 0x1F)
    raise _unknown(name)


def _named(key: str, modifiers: int, name: str) -> str:
    parameter = 1 + modifiers
    if key in _PLAIN:
        return _plain(key, modifiers, name)
    if (letter := _LETTERS.get(key)) is not None:
        return f"{_ESC}[1;{parameter}{letter}" if modifiers else f"{_ESC}[{letter}"
    if (letter := _SS3.get(key)) is not None:
        return f"{_ESC}[1;{parameter}{letter}" if modifiers else f"{_ESC}O{letter}"
    number = _NUMBERS[key]
    return f"{_ESC}[{number};{parameter}~" if modifiers else f"{_ESC}[{number}~"


def _plain(key: str, modifiers: int, name: str) -> str:
    sent = _PLAIN[key]
    if key == "Tab" and modifiers & _SHIFT:
        sent = _PLAIN["BTab"]
    elif modifiers & _CTRL:
        if key == "Space":
            sent = "\0"
        elif key == "BSpace":
            sent = "\b"
        else:  # Ctrl changes nothing about these on a terminal without a newer keyboard protocol
            raise UsageError(f"a terminal sends nothing of its own for {name!r}: leave the C- out")
    return _ESC + sent if modifiers & _META else sent
