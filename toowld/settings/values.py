"""What may stand for a value, in the file, in the environment and on a command line. PURE."""

from __future__ import annotations

import math
import re
from typing import Any

from toowld.errors import ConfigError
from toowld.settings.schema import Key, Kind

_TEXT = re.compile(r"\s*([0-9]{1,19}(?:\.[0-9]{1,19})?)\s*([a-zA-Z%]*)\s*", re.ASCII)

#: The prefixes of IEC 80000-13; and as people write them, since nobody means 1000 with the K of memory.
_BYTES = {
    "": 1, "b": 1,
    "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20,
    "g": 1 << 30, "gib": 1 << 30, "t": 1 << 40, "tib": 1 << 40,
}  # fmt: skip
_SECONDS = {
    "": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800,
}  # fmt: skip
_UNITS = {Kind.BYTES: _BYTES, Kind.SECONDS: _SECONDS, Kind.PERCENT: {"": 1, "%": 1}, Kind.COUNT: {"": 1}}
_FLAGS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}

#: What TOML, CBOR and the kernel can all hold.
_MOST = (1 << 63) - 1


def check(name: str, key: Key, value: object) -> Any:
    """A value as it is used, from what stands in the file.

    Raises:
        ConfigError: it is none of this kind, or too little, or too much.
    """
    match key.kind:
        case Kind.FLAG if isinstance(value, bool):
            return value
        case Kind.TEXT if isinstance(value, str):
            return value
        case Kind.TEXTS if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return tuple(value)
        case Kind.TEXTS if key.alone and isinstance(value, str):
            return (value,)
        case Kind.WORD if value in key.words:
            return value
        case Kind.FLAG | Kind.TEXT | Kind.TEXTS | Kind.WORD:
            raise ConfigError(f"'{name}' must be {_wanted(key)}, not {_shown(value)}{_near(key, value)}")
    number = _number(key, value)
    if number is None or not (key.least <= number <= key.most or (key.none and number == 0)):
        raise ConfigError(f"'{name}' must be {_wanted(key)}, not {_shown(value)}")
    return number


def parse(name: str, key: Key, text: str) -> Any:
    """A value from a command line or an environment variable, where all is text.

    Raises:
        ConfigError: as `check`.
    """
    if key.kind is Kind.FLAG:
        return check(name, key, _FLAGS.get(text.strip().lower(), text))
    if key.kind is Kind.TEXTS:
        return (text,)
    return check(name, key, text)


def written(value: object) -> str:
    """A value as it stands in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:.15g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(written(one) for one in value)}]"
    return str(value)


def _number(key: Key, value: object) -> int | float | None:
    """None: it is none, or none that a file and a clock can hold."""
    if isinstance(value, str):
        if value.strip().lower() == "inf":
            value = math.inf
        elif (found := _TEXT.fullmatch(value)) and (unit := _UNITS[key.kind].get(found[2].lower())):
            # In whole numbers where possible: a float holds no more than 53 bits of them.
            value = float(found[1]) * unit if "." in found[1] else int(found[1]) * unit
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # the last: nan
        return None
    if key.none and value == math.inf:
        value = 0
    if key.kind in (Kind.SECONDS, Kind.PERCENT):
        try:
            return float(value)
        except OverflowError:
            return None
    return int(value) if abs(value) <= _MOST and value == int(value) else None


def _wanted(key: Key) -> str:
    if key.kind is Kind.WORD:
        return " or ".join(f"'{word}'" for word in key.words)
    if key.kind in _UNITS:
        most = "" if key.most == math.inf else f", at most {key.most:.12g}"
        return f"{key.kind.value}, at least {key.least:.12g}{most}" + (" (0: no limit)" if key.none else "")
    return f"a text or {key.kind.value}" if key.alone else str(key.kind.value)


def _shown(value: object) -> str:
    try:
        text = written(value) if isinstance(value, bool) else repr(value)
    except ValueError:  # Python writes out no number of more than 4300 digits; in hexadecimal it takes any
        return "a number of so many digits"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _near(key: Key, value: object) -> str:
    if not key.words or not isinstance(value, str):
        return ""
    return suggestion(value, key.words)


def suggestion(word: str, known: Any) -> str:
    """``: did you mean …?`` where one of the known words is near."""
    from difflib import get_close_matches  # only here: most need it never

    near = get_close_matches(word.lower(), known, n=1)
    return f": did you mean '{near[0]}'?" if near else ""


def _quoted(text: str) -> str:
    """A TOML basic string: those of JSON are nearly all its rules, DEL is what they lack."""
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
