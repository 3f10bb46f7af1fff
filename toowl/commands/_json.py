"""What several commands print with ``--json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from toowl.commands.ls import as_text


def print_session(info: Mapping[str, Any]) -> None:
    """A session, as the daemon has answered."""
    print(json.dumps(_shown(info), indent=2, default=as_text))


def print_list(infos: Iterable[Mapping[str, Any]]) -> None:
    """Several sessions, as one list."""
    print(json.dumps([_shown(info) for info in infos], indent=2, default=as_text))


def print_line(answer: Mapping[str, Any]) -> None:
    """One of several answers, each in a line of its own, as soon as it is there."""
    print(json.dumps(_shown(answer), default=as_text), flush=True)


def error_line(code: str, text: str, status: int, **about: Any) -> str:
    """An error as one line, and what else is to be known ``about`` it."""
    return json.dumps({"error": code, "text": text, "exit_status": status, **about}, default=as_text)


def _shown(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "notices"}  # they are told beside it
