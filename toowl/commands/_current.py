"""Which session we are in, and on which terminal."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def current_session() -> str | None:
    """The id of the session that this process runs in, None outside."""
    return os.environ.get("TOOWL_SESSION") or None


def typed_last(clients: Iterable[Mapping[str, Any]]) -> int | None:
    """Of the clients of the session that we are in, the one that we most likely sit at: it was typed at last.

    None if there is none, or its keeper is of an older version, which does not tell.
    """
    typed = [
        one for one in clients if not one.get("read_only") and isinstance(one.get("typed_at"), int | float)
    ]
    return int(max(typed, key=lambda one: one["typed_at"])["client"]) if typed else None
