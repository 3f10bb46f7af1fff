"""One terminal lent, and nobody else there: keys and output go past the engine's turn, and nothing is missed."""

from __future__ import annotations

import os

import pytest

from tests.host.lender import Lender, taken
from tests.host.rig import Rig, logged
from toowld.host.bypass import TOLD_LATER
from toowld.session import events as ev


@pytest.fixture
def sole(rig: Rig, lender: Lender) -> Lender:
    """The only client, whose terminal is lent, and which has seen an echo: from here on no turn is needed."""
    lender.lend()
    lender.user.type(b"+")
    lender.user.expect(b"+")
    return lender


def test_a_key_and_its_echo_take_no_turn_of_the_engine(rig: Rig, sole: Lender) -> None:
    before, active = len(rig.traced), rig.host.last_active_at
    for key in b"wxyz":
        sole.user.type(bytes([key]))
        sole.user.expect(bytes([key]))
    assert rig.traced[before:] == []
    assert rig.host.last_active_at > active
    assert (rig.session.seq, taken(rig)) == (len(b"ready+wxyz"), len(b"+wxyz"))
    assert logged(rig) == b"ready+wxyz"


def test_keys_of_which_the_engine_was_not_told_yet_are_counted_when_the_terminal_goes_back(
    rig: Rig, sole: Lender
) -> None:
    for key in b"keys":
        sole.user.type(bytes([key]))
        sole.user.expect(bytes([key]))
    sole.user.type(b"\x1cd")
    sole.expect_returned()
    assert sole.acked == len(b"+keys") == taken(rig)


def test_many_small_pieces_are_not_all_kept_until_it_is_still(rig: Rig, sole: Lender) -> None:
    """As those of a program that prints without end, in short writes."""
    before = rig.session.seq
    engine = rig.host._session  # `rig.session` would tell it
    for count in range(1, 101):
        sole.user.type(b"0123456789")
        rig.until(lambda count=count: len(sole.user.shown) == 1 + 10 * count)  # type: ignore[misc]
        assert before + 10 * count - engine.seq <= TOLD_LATER
    assert rig.session.seq == before + 1000


def test_what_lists_tell_is_told_at_once_nevertheless(rig: Rig, sole: Lender) -> None:
    before = rig.changes
    sole.user.type(b"\x1b]2;a ti")
    sole.user.type(b"tle\x07")
    rig.until(lambda: rig.changes > before, "the news")
    assert rig.session.marked.title == "a title"
    sole.user.expect(b"a title\x07")


def test_whoever_asks_to_be_told_of_the_next_turn_is_told_of_the_next_key(rig: Rig, sole: Lender) -> None:
    told: list[int] = []
    rig.host.on_next_turn(lambda: told.append(1))
    for key in (b"a", b"b"):
        sole.user.type(key)
        sole.user.expect(key)
    assert told == [1]


def test_a_second_client_sees_all_of_it(rig: Rig, sole: Lender) -> None:
    sole.user.type(b"before ")
    sole.user.expect(b"before ")
    other = rig.attach("c2")
    sole.user.type(b"after")
    other.expect_output(b"ready+before after")
    assert other.start == 0


@pytest.mark.parametrize("how", ["its client has taken it", "the disk is gone"])
def test_a_terminal_that_goes_back_on_the_way_leaves_nothing_to_wait_for(
    rig: Rig, sole: Lender, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "the disk is gone":
        monkeypatch.setattr(rig.log, "_writev", lambda fd, parts: os.write(-1, b""))
    else:
        sole.page.revoke()
    rig.host.tell(ev.Injected(b"printed"))
    sole.expect_returned()
    sole.expect_output(b"ready+printed")
    (attachment,) = rig.session.attachments.values()
    rig.until(lambda: not attachment.outbox.waits, f"{attachment.outbox.queued} bytes to be taken")
