"""Who leads of those who are attached. In a session: ``test_roles``, ``test_flow``, ``test_model``."""

from __future__ import annotations

import pytest

from tests.session.scripts import join
from toowld.session.attachment import Attachment
from toowld.session.events import Lead
from toowld.session.joining import admit
from toowld.session.leading import Leading, lead_of
from toowld.session.states import Role, RoleMove

FOCUS_IN = b"\x1b[I"


def attachment(client: int, typed_at: float, *, read_only: bool = False) -> Attachment:
    return Attachment(client, f"c{client}", None, read_only, typed_at)


def test_who_typed_last_leads_of_those_who_may_type() -> None:
    early, late = attachment(1, 1.0), attachment(2, 2.0)
    viewer = attachment(3, 3.0, read_only=True)
    assert lead_of([]) is None and lead_of([viewer]) is None
    assert lead_of([early, late, viewer]) is lead_of([late, viewer, early]) is late
    early.change_role(RoleMove.TAKEN)
    assert lead_of([early, late, viewer]) is lead_of([late, early]) is early


def test_at_the_same_time_it_is_who_was_there_first() -> None:
    one, other = attachment(1, 1.0), attachment(2, 1.0)
    assert lead_of([one, other]) is one and lead_of([other, one]) is other


def test_what_a_terminal_says_by_itself_makes_no_lead() -> None:
    leading = Leading(2.0)
    early, late = attachment(1, 1.0), attachment(2, 2.0)
    leading.typed(early, FOCUS_IN, 3.0)
    assert lead_of([early, late]) is late
    leading.typed(early, FOCUS_IN + b"x", 4.0)
    assert lead_of([early, late]) is early
    leading.typed(late, FOCUS_IN, 5.0)
    assert lead_of([early, late]) is early


@pytest.mark.parametrize(
    ("wish", "taken", "leads"),
    [
        (Lead.NO, False, False),
        (Lead.NO, True, False),
        (Lead.KEEP, False, True),
        (Lead.KEEP, True, False),
        (Lead.TAKE, False, True),
        (Lead.TAKE, True, True),
    ],
)
def test_one_at_most_has_taken_the_lead(wish: Lead, taken: bool, leads: bool) -> None:
    other = attachment(1, 1.0)
    if taken:
        other.change_role(RoleMove.TAKEN)
    joining = admit(join(2), {1: other}, 0, 2.0)
    Leading(1.0).joined(joining, [other], wish)
    assert (joining.attachment.role is Role.LEAD) is leads
    assert (other.role is Role.LEAD) is (taken and not leads)


def test_who_comes_back_by_itself_leads_as_much_as_before() -> None:
    others = {1: attachment(1, 1.0), 2: attachment(2, 2.0)}
    leading = Leading(2.0)
    known = admit(join(3, client_id="c2", from_seq=0), others, 0, 9.0)
    leading.joined(known, others.values(), Lead.NO)
    assert known.attachment.typed_at == 2.0
    stranger = admit(join(4, from_seq=0), others, 0, 9.0)
    leading.joined(stranger, others.values(), Lead.NO)
    assert stranger.attachment.typed_at == 1.0
    wanted = admit(join(5), others, 0, 9.0)
    leading.joined(wanted, others.values(), Lead.NO)
    assert wanted.attachment.typed_at == 9.0


def test_who_comes_back_takes_the_lead_from_its_old_connection() -> None:
    old = attachment(1, 1.0)
    old.change_role(RoleMove.TAKEN)
    joining = admit(join(2, client_id="c1", from_seq=0), {1: old}, 0, 2.0)
    Leading(1.0).joined(joining, [old], Lead.KEEP)
    assert joining.attachment.role is Role.LEAD and old.role is Role.PEER
