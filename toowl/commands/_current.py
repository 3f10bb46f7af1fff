"""Which session we are in."""

from __future__ import annotations

import os


def current_session() -> str | None:
    """The id of the session that this process runs in, None outside."""
    return os.environ.get("TOOWL_SESSION") or None
