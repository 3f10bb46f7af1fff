"""How the installed ``toowl`` starts Python, so that a bare start can be compared with it."""

from __future__ import annotations

import sys
from pathlib import Path


def interpreter() -> list[str]:
    """Interpreter and flags of the entry point in this environment."""
    with Path(sys.executable).with_name("toowl").open("rb") as script:
        return of_first_line(script.readline()) or [sys.executable]


def of_first_line(line: bytes) -> list[str]:
    """The command of a ``#!`` line that names a Python; else empty: where a path is long, pip begins with sh."""
    if not line.startswith(b"#!"):
        return []
    path, *flags = line[2:].decode().split(maxsplit=1)
    return [path, *(flag.strip() for flag in flags)] if "python" in Path(path).name else []
