"""Which terminal answers a query. What is typed by that: ``test_answers``."""

from __future__ import annotations

from tests.session.scripts import SIZE
from toowld.session.attachment import Attachment
from toowld.session.queries import Kind, Query
from toowld.session.routing import QueryRouter

CURSOR, REPLY = Query(Kind.CURSOR, b"\x1b[6n", 4), b"\x1b[1;1R"


def terminal(client: int, typed_at: float) -> Attachment:
    return Attachment(client, f"c{client}", SIZE, False, typed_at)


def viewer(client: int) -> Attachment:
    return Attachment(client, f"c{client}", SIZE, True, 99.0)


def test_the_lead_answers_and_what_others_say_to_it_is_dropped_once() -> None:
    router = QueryRouter(0)
    one, lead, other = there = [terminal(1, 1.0), terminal(2, 3.0), terminal(3, 2.0)]
    assert router.is_answered(CURSOR, [*there, viewer(4)])
    assert [one.replies.feed(REPLY), lead.replies.feed(REPLY), other.replies.feed(REPLY)] == [b"", REPLY, b""]
    assert one.replies.feed(REPLY) == REPLY


def test_nobody_answers_who_may_only_watch_or_has_no_terminal() -> None:
    router = QueryRouter(0)
    scripted = Attachment(1, "c1", None, False, 1.0)
    assert not router.is_answered(CURSOR, [])
    assert not router.is_answered(CURSOR, [scripted, viewer(2)])


def test_a_single_terminal_needs_no_scanner() -> None:
    router = QueryRouter(0)
    assert router.scanner is not None
    one, other = terminal(1, 1.0), terminal(2, 2.0)
    for there, scans in (
        ([one], False),
        ([one, viewer(3)], False),
        ([one, other], True),
        ([other], False),
        ([], True),
    ):
        router.attachments_changed(there, 10)
        assert (router.scanner is not None) is scans


def test_what_comes_and_goes_without_a_terminal_does_not_cut_a_question() -> None:
    router = QueryRouter(0)
    assert router.scanner is not None
    router.scanner.feed(b"\x1b[", 0, 1.0)
    router.attachments_changed([viewer(1)], 2)
    assert router.scanner.begun == b"\x1b["


def test_what_was_asked_while_nobody_was_there_is_answered() -> None:
    router = QueryRouter(5)
    one, other = terminal(1, 1.0), terminal(2, 2.0)
    router.attachments_changed([one], 20)
    assert router.answered_since(one) == 5, "all since then, by us"
    router.attachments_changed([one, other], 30)
    assert router.answered_since(other) == 0, "all by others"
    router.attachments_changed([], 40)
    router.attachments_changed([other], 50)
    assert router.answered_since(other) == 40
    assert QueryRouter.thaw(router.freeze(), [other]).answered_since(other) == 40
