"""What a regular expression can't match without. PURE.

A search through megabytes is fast because most of a log is not even looked at: whatever the expression matches has to
hold some piece of literal text. That is read off the parsed expression, by rules that would rather find too
little: no literal is always right, and only slower.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants, _parser  # type: ignore[attr-defined]  # there is no public way to see the parts
from typing import Any

from toowld.log.plain import Needle


def needle(pattern: re.Pattern[str]) -> Needle | None:
    """The longest literal (ASCII, no spaces) in whatever ``pattern`` matches; None if there is none."""
    try:
        parsed = _parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
        runs = _runs(parsed)
    except Exception:  # noqa: BLE001 - another Python's parts look different: then without
        return None
    fold = bool(pattern.flags & re.IGNORECASE)
    text = max("".join(runs).split("\0"), key=len)
    return Needle(text.lower() if fold else text, fold) if text else None


def _runs(parts: Iterable[tuple[Any, Any]]) -> list[str]:
    """The literals of a sequence, with "\\0" where something else may be between them."""
    runs: list[str] = []
    for kind, value in parts:
        if kind is _constants.LITERAL:
            runs.append(chr(value) if 0x21 <= value <= 0x7E else "\0")
        elif kind is _constants.SUBPATTERN:
            _, added, removed, inner = value
            plain = not (added | removed) & re.IGNORECASE
            runs += _runs(inner) if plain else ["\0"]
        elif kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT):
            least, _, inner = value
            runs += ["\0", *(_runs(inner) if least else ()), "\0"]
        elif kind is _constants.AT:  # a place between characters
            continue
        else:
            runs.append("\0")
    return runs
