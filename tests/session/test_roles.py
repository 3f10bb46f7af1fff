"""Who leads: whose terminal decides the size and the pace, and who can't take that from whom.

That one at most leads, whatever happens, is checked in ``test_model``.
"""

from __future__ import annotations

from itertools import product

import cbor2
import pytest

from tests.session.scripts import LARGE, SIZE, flood, join, running, sent
from toowld.errors import LocalProtocolError, RemoteProtocolError
from toowld.session import Session, SizePolicy
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.joining import TAKEN_OVER
from toowld.session.leading import lead_of
from toowld.session.states import ROLE_TABLE, Role, RoleMove, next_role
from toowld.wire import Attached, Detached, Resize, Size

TALL = Size(rows=70, cols=40)


def roles(session: Session) -> dict[int, str]:
    return {number: attachment.role.value for number, attachment in session.attachments.items()}


def led(policy: SizePolicy = SizePolicy.SMALLEST) -> Session:
    """1 is small, 2 is large and leads."""
    session = running(policy=policy)
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=LARGE, lead=ev.Lead.TAKE), 2.0)
    return session


def test_the_table() -> None:
    for role, move in product(Role, RoleMove):
        if (role, move) in ROLE_TABLE:
            assert next_role(role, move) is ROLE_TABLE[role, move]
        else:
            with pytest.raises(LocalProtocolError, match=role.value):
                next_role(role, move)
    assert Role.VIEWER not in ROLE_TABLE.values(), "one who may type stays one"


@pytest.mark.parametrize("policy", SizePolicy)
def test_the_lead_decides_the_size_whoever_else_does_something(policy: SizePolicy) -> None:
    session = led(policy)
    assert (session.size, roles(session)) == (LARGE, {1: "peer", 2: "lead"})
    session.handle(ev.ClientTyped(1, 0, b"x"), 3.0)
    session.handle(ev.ClientResized(1, TALL), 3.0)
    session.handle(join(3, size=SIZE), 3.0)
    assert session.size == LARGE
    effects = session.handle(ev.ClientResized(2, TALL), 4.0)
    assert session.size == TALL and sent(effects, 1) == [Resize(rows=70, cols=40)]
    session.handle(ev.ClientLeft(2), 5.0)
    assert session.size == (SIZE if policy is SizePolicy.LATEST else Size(rows=24, cols=40))


def test_what_it_is_told_at_first() -> None:
    session = led()
    (welcome,) = [
        m for m in sent(session.handle(join(3, lead=ev.Lead.TAKE), 3.0), 3) if isinstance(m, Attached)
    ]
    assert (welcome.about["role"], welcome.about["rows"]) == ("lead", SIZE.rows)
    assert roles(session) == {1: "peer", 2: "peer", 3: "lead"}, "there is one"


def test_the_lead_sets_the_pace() -> None:
    session = led()
    session.handle(ev.ClientTyped(1, 0, b"x"), 3.0)
    flood(session, 4.0)
    session.handle(ev.ClientTook(1, 0), 4.1)
    assert session.paused, "it waits for the other, though this one typed last"
    assert do.ResumePty() in session.handle(ev.ClientTook(2, 0), 4.2)


def test_who_watches_only_can_not_lead() -> None:
    session = led()
    for lead in (ev.Lead.TAKE, ev.Lead.KEEP):
        with pytest.raises(RemoteProtocolError, match="only watch"):
            session.handle(join(3, read_only=True, lead=lead), 3.0)
    assert roles(session) == {1: "peer", 2: "lead"}


def test_who_comes_back_has_it_again_if_nobody_else_took_it() -> None:
    session = led()
    again = join(4, client_id="c2", size=LARGE, from_seq=0, lead=ev.Lead.KEEP)
    session.handle(again, 3.0)  # the connection before is half open
    assert roles(session) == {1: "peer", 4: "lead"} and session.size == LARGE
    session.handle(ev.ClientLeft(4), 4.0)
    assert session.size == SIZE
    session.handle(join(5, client_id="c2", size=LARGE, from_seq=0, lead=ev.Lead.KEEP), 5.0)
    assert roles(session) == {1: "peer", 5: "lead"}
    session.handle(ev.ClientLeft(5), 6.0)
    session.handle(join(6, size=TALL, lead=ev.Lead.TAKE), 7.0)
    session.handle(join(7, client_id="c2", size=LARGE, from_seq=0, lead=ev.Lead.KEEP), 8.0)
    assert roles(session) == {1: "peer", 6: "lead", 7: "peer"} and session.size == TALL


def test_one_without_a_terminal_sets_the_pace_only() -> None:
    session = running()
    session.handle(join(1, size=SIZE), 1.0)
    session.handle(join(2, size=None, lead=ev.Lead.TAKE), 2.0)
    assert session.size == SIZE and lead_of(session.attachments.values()) is session.attachments[2]


@pytest.mark.parametrize(
    "data", [b"\x1b[?1;2c", b"\x1b[I", b"\x1b[?0u", b"\x1b[24;80R\x1b[?2026;2$y"], ids=repr
)
def test_nobody_leads_by_what_a_terminal_says(data: bytes) -> None:
    """Answers and focus are not typing: two terminals would take the lead from each other for ever."""
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2), 2.0)
    assert lead_of(session.attachments.values()) is session.attachments[2]
    session.handle(ev.ClientTyped(1, 0, data), 3.0)
    assert lead_of(session.attachments.values()) is session.attachments[2]
    session.handle(ev.ClientTyped(1, len(data), b"x"), 4.0)
    assert lead_of(session.attachments.values()) is session.attachments[1]


def test_nobody_leads_by_coming_back() -> None:
    session = running()
    session.handle(join(1), 1.0)
    session.handle(join(2), 2.0)
    session.handle(join(3, client_id="c1", from_seq=0), 3.0)
    assert lead_of(session.attachments.values()) is session.attachments[2]
    session.handle(ev.ClientLeft(3), 4.0)
    session.handle(join(4, client_id="c1", from_seq=0), 5.0)
    assert lead_of(session.attachments.values()) is session.attachments[2]


def test_the_lead_s_terminal_answers() -> None:
    session = led()
    session.handle(ev.ClientTyped(1, 0, b"x"), 3.0)
    session.handle(ev.PtyOutput(b"\x1b[6n"), 4.0)
    assert do.WritePty(b"\x1b[3;4R") not in session.handle(ev.ClientTyped(1, 1, b"\x1b[3;4R"), 5.0)
    assert do.WritePty(b"\x1b[5;6R") in session.handle(ev.ClientTyped(2, 0, b"\x1b[5;6R"), 6.0)


def test_stealing() -> None:
    session = led()
    effects = session.handle(join(3, size=TALL, steal=True), 3.0)
    for number in (1, 2):
        assert sent(effects, number) == [Detached(TAKEN_OVER)]
        assert do.CloseClient(number, TAKEN_OVER) in effects
    assert roles(session) == {3: "peer"} and session.size == TALL


def test_an_upgrade_keeps_the_lead() -> None:
    session = led()
    session.handle(ev.ClientTyped(1, 0, b"x"), 3.0)
    state = cbor2.loads(cbor2.dumps(session.freeze()))
    again = Session.thaw(state)
    assert (
        roles(again) == {1: "peer", 2: "lead"} and lead_of(again.attachments.values()) is again.attachments[2]
    )
    for one in state["attachments"]:  # as the first states were
        del one["role"]
    assert roles(Session.thaw(state)) == {1: "peer", 2: "peer"}
