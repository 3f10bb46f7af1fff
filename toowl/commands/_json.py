"""What several commands print with ``--json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from toowl.commands.ls import as_text


def print_session(info: Mapping[str, Any]) -> None:
    """A session, as the daemon has answered."""
    shown = {key: value for key, value in info.items() if key != "notices"}  # they are told beside it
    print(json.dumps(shown, indent=2, default=as_text))
