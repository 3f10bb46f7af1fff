"""Asking before something is done that can't be undone."""

from __future__ import annotations

import sys

from toowl.commands._text import safe
from toowld.errors import RefusedError


def confirm(question: str, *, unasked: str, declined: str) -> None:
    """Ask, on the terminal.

    Args:
        unasked: what to say where there is nobody to ask.
        declined: what to say after a no.

    Raises:
        RefusedError: no, or nobody to ask.
    """
    if not sys.stdin.isatty():
        raise RefusedError(unasked)
    print(f"{safe(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise RefusedError(declined)
