"""Keys that are the client's own: where a session stops to read its terminal, however the reads are cut."""

from __future__ import annotations

import os

import pytest

from tests.host.lender import Lender, taken
from tests.host.rig import Rig
from toowl.keys import Action, Chords, DetachRequested, HelpRequested, Send

Keys = DetachRequested | HelpRequested


def fed(chords: Chords, data: bytes) -> tuple[bytes, list[Keys]]:
    actions: list[Action] = chords.feed(data)
    out = b"".join(action.data for action in actions if isinstance(action, Send))
    return out, [action for action in actions if not isinstance(action, Send)]


#: A chord's prefix in each encoding, a paste, keys that begin like one; each with what follows it.
TYPED = [
    b"ab\x1cd",
    b"ab\x1c?cd",
    b"\x1b\x1cd",
    b"ab\x1b[92;5ud",
    b"ab\x1b[92;5u\x1b[100u",
    b"\x1b\x1b[92;5u?",
    b"ab\x1b[27;5;92~d",
    b"ab\x1b[27;5;100~d",
    b"a\x1b[200~\x1cd\x1b[201~\x1cd",
    b"\x1b[9\x1b[92;5ud",
    b"\x1b[20\x1b[200~d\x1b[201~",
    b"\x1b[Mdd?\x1cd",
    b"a\x1b[9;5ub\x1b[97;5u",
    b"\x1b[20~\x1b[1;5C\x1bOP\x1bd",
]


@pytest.mark.parametrize("typed", TYPED, ids=repr)
def test_chords_are_found_as_by_the_client_wherever_a_read_ends(
    rig: Rig, lender: Lender, typed: bytes
) -> None:
    """What the session takes, with what the client makes of the rest, is what the client makes of it all."""
    for cut in range(1, len(typed) + 1):
        alone = Chords()
        first, second = fed(alone, typed[:cut]), fed(alone, typed[cut:])
        expected = first[0] + second[0], first[1] + second[1]
        assert lent_and_split(rig, lender, typed, cut) == expected, f"cut at {cut}"


def lent_and_split(rig: Rig, lender: Lender, typed: bytes, cut: int) -> tuple[bytes, list[Keys]]:
    """Type to the session in two reads, and on to the client where it does not take that."""
    lender.lend()
    before, returned = taken(rig), lender.returned
    lender.user.type(typed[:cut])
    rig.until(lambda: taken(rig) == before + cut or lender.returned > returned)
    lender.user.type(typed[cut:])
    rig.until(lambda: taken(rig) == before + len(typed) or lender.returned > returned)
    last = lender.last_returned if lender.returned > returned else lender.take_back()
    count = last.input_seq - before
    rig.until(lambda: count + len(last.typed) + lender.user.unread == len(typed))
    rest = os.read(lender.user.tty, 100) if lender.user.unread else b""
    rig.until(lambda: rig.session.input.written("c1") == last.input_seq)

    chords = Chords()
    assert typed[:count].endswith(last.begun)
    assert fed(chords, last.begun) == (last.begun, [])  # held back by nobody: it has gone out
    got, keys = fed(chords, last.typed)
    more = fed(chords, rest)
    return typed[:count] + got + more[0], keys + more[1]


def test_a_stop_that_has_begun_is_told_when_the_terminal_goes_back(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.user.type(b"ab\x1b[20")
    rig.until(lambda: taken(rig) == 6)
    returned = lender.take_back()
    assert (returned.input_seq, returned.begun, returned.typed) == (6, b"\x1b[20", b"")


def test_without_stops_all_is_for_the_session(rig: Rig, lender: Lender) -> None:
    lender.lend(stops=[])
    lender.user.type(b"\x1cd\x1b[92;5u")
    lender.user.expect(b"\x1cd\x1b[92;5u")
    assert lender.take_back().input_seq == 9
