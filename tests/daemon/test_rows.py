"""The rows of `list` are kept, and yet never old: whatever is known of a session shows in the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toowld.daemon.entry import Entry
from toowld.session import Record, State
from toowld.wire import Response, decode_body, encode
from toowld.wire.text import pack_text


class Keeper:
    """As much of one as a row tells of."""

    hangs = False


def new_entry() -> Entry:
    entry = Entry(Record(id="aa11aa11", name="work", cwd="/tmp/\udcff", state=State.RUNNING, pid=7))
    keeper: Any = Keeper()
    entry.keeper = keeper
    entry.live = {"clients": 1, "last_active_at": 5.0, "degraded": False}
    return entry


def shown(entry: Entry, fields: tuple[str, ...] | None = None) -> Any:
    """The row as a client gets it."""
    message = decode_body(encode(Response(1, {"row": entry.row(fields).encoded}))[4:])
    assert isinstance(message, Response)
    return message.result["row"]


def hang(entry: Any) -> None:
    entry.keeper.hangs = True


def lose(entry: Any) -> None:
    entry.keeper = None


def rename(entry: Any) -> None:
    entry.record = entry.record.changed(name="other")


def hear(entry: Any) -> None:
    entry.live = {**entry.live, "clients": 0, "last_active_at": 9.0}


def obstruct(entry: Any) -> None:
    entry.keeper, entry.obstacle = None, "it is of another version"


def upgrade(entry: Any) -> None:
    entry.custodian_build = "9"


@pytest.mark.parametrize("change", [hang, lose, rename, hear, obstruct, upgrade])
def test_what_changes_is_seen(change: Callable[[Entry], None]) -> None:
    entry = new_entry()
    before = shown(entry)
    assert before == pack_text(entry.info())
    change(entry)
    assert shown(entry) == pack_text(entry.info()) != before
    assert entry.row(None).last_active_at == entry.info()["last_active_at"]


def test_one_row_is_as_good_as_the_next() -> None:
    entry = new_entry()
    assert entry.row(None) is entry.row(None)
    assert shown(entry, ("name", "cwd")) == {"name": "work", "cwd": b"/tmp/\xff"}
    assert shown(entry, ("clients", "of a later version")) == {"clients": 1}
    assert shown(entry) == pack_text(entry.info())
