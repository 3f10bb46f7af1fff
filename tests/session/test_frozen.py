"""What newer code is left of a session: all of it, in a form that stays."""

from __future__ import annotations

from typing import Any

import cbor2

from tests.session.scripts import FLOOD, LARGE, SIZE, join, running
from toowld.session import Session, SizePolicy
from toowld.session import events as ev
from toowld.session.answers import Answers
from toowld.session.attachment import Attachment
from toowld.session.ending import Farewell, Killing
from toowld.session.flow import Flow
from toowld.session.inputs import InputQueue
from toowld.session.leading import Leading
from toowld.session.marks import Marked, MarkScanner, News
from toowld.session.outbox import Outbox
from toowld.session.queries import QueryScanner, ReplyFilter
from toowld.session.routing import QueryRouter
from toowld.session.sizes import Sizes
from toowld.wire import Size

#: Of the engine itself, not of the session: `handle` fills them, and begins anew to count how much it looks through.
_NOT_KEPT = {"_effects", "_budget", "_fed_at", "_told_at"}
#: What a session is made of.
_PARTS = (
    Session, Attachment, InputQueue, Sizes, Outbox, Answers, QueryScanner, ReplyFilter, Marked, MarkScanner,
    Flow, Leading, QueryRouter, Killing, Farewell, News,
)  # fmt: skip


def values(thing: object) -> Any:
    """Everything that an object holds, down to plain values."""
    if isinstance(thing, _PARTS):
        names = getattr(type(thing), "__slots__", None) or vars(thing)
        return {name: values(getattr(thing, name)) for name in names if name not in _NOT_KEPT}
    if isinstance(thing, dict):
        return [(key, values(value)) for key, value in thing.items()]  # their order matters too
    return thing


def busy() -> Session:
    """A session with something of everything."""
    session = running(seq=100, policy=SizePolicy.LATEST)
    session.about = {"id": "0badcafe", "name": None, "lend": b"/not utf-8 \xff"}
    for event in (
        ev.PtyOutput(b"where? \x1b[6n and \x1b[5n"),
        ev.PtyOutput(b"\x07\x1b]0;title\x07\x1b]7;file:///\x07\x1b]133;C\x07\x1b]133;D;3\x07"),
        join(1, client_id="one"),
        join(2, client_id="two", size=LARGE, read_only=True, from_seq=0),
        join(3, client_id="three", size=None, from_seq=0),
        ev.LogRead(3, 0, b"x" * 50),
        join(4, client_id="four"),
        ev.ClientTyped(4, 0, b"left"),
        ev.ClientLeft(4),
        ev.ClientTyped(1, 0, b"typed"),
        ev.Injected(b"sent"),
        ev.PtyTook(6),
        *(ev.PtyOutput(data) for data in FLOOD),
        join(5, client_id="five", size=LARGE),
        ev.PtyOutput(b"again? \x1b[6n, \x1b["),
        ev.ClientTyped(1, 5, b"\x1b[1;"),
        ev.KillRequested(force=False),
    ):
        session.handle(event, 7.0)
    session.handle(ev.LogRead(2, 0, b"x" * 50), 7.5)
    return session


def test_nothing_is_forgotten() -> None:
    session = busy()
    again = Session.thaw(cbor2.loads(cbor2.dumps(session.freeze())))
    assert values(again) == values(session)
    assert again.next_deadline() == session.next_deadline()


def test_the_form_is_the_released_one() -> None:
    """Whatever else comes to it, this is read by those who were told so."""
    session = running(seq=5, size=Size(rows=24, cols=80), policy=SizePolicy.LATEST)
    session.handle(join(1, client_id="one", from_seq=5), 2.0)
    session.handle(ev.ClientTyped(1, 0, b"abc"), 3.0)
    session.handle(ev.PtyTook(1), 4.0)
    assert session.freeze() == {
        "seq": 5,
        "rows": 24,
        "cols": 80,
        "size_policy": "latest",
        "size_order": [1],
        "pid": 77,
        "about": {},
        "attachments": [
            {
                "client": 1,
                "client_id": "one",
                "seq": 5,
                "state": "live",
                "allowance": 0,
                "rows": 24,
                "cols": 80,
                "read_only": False,
                "role": "peer",
                "typed_at": 3.0,
                "outbox": {"queued": 0, "awaits_room": False, "progress_at": 2.0},
                "replies": {"unwanted": {}, "begun": b""},
            }
        ],
        "input": {"taken": {"one": 3}, "away": [], "waiting": [["one", 3, 2]]},
        "sync_at": None,
        "paused": False,
        "kill_plan": [],
        "kill_at": None,
        "end_requested": False,
        "scanned": None,
        "unseen_since": 5,
        "answers": [],
        "marks": {
            "title": None,
            "bells": 0,
            "cwd_url": None,
            "prompt": None,
            "last_exit": None,
            "commands": 0,
            "scanner": {"bells": 0, "begun": b"", "begun_seq": 0},
        },
        "marks_at": None,
        "output_at": None,
    }


def test_one_that_knew_no_other_size_than_the_smallest_goes_on_with_that() -> None:
    session = running(policy=SizePolicy.SMALLEST)
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE), 2.0)
    state = session.freeze()
    del state["size_policy"], state["size_order"]
    again = Session.thaw(state)
    assert values(again) == values(session)
    again.handle(ev.ClientTyped(2, 0, b"x"), 3.0)
    assert again.size == SIZE
    again.handle(ev.ClientLeft(1), 4.0)
    assert again.size == LARGE


def test_so_are_those_of_questions_and_answers() -> None:
    session = running(seq=5)
    session.handle(ev.PtyOutput(b"\x1b[6n\x1b[5n\x1b["), 1.0)
    assert session.freeze()["scanned"] == b"\x1b["
    assert session.freeze()["answers"] == [
        ["CURSOR", b"\x1b[6n", 9, b"\x1b[1;1R", None, 2.0],
        ["STATUS", b"\x1b[5n", 13, b"\x1b[0n", b"\x1b[0n", 2.0],
    ]
    for client in (1, 2):
        session.handle(join(client, from_seq=16), 1.1)
    session.handle(ev.PtyOutput(b"\x1b[6n"), 1.2)
    assert [one["replies"]["unwanted"] for one in session.freeze()["attachments"]] == [{}, {"CURSOR": 1}]
