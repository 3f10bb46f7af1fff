"""What lending is made of: the page, whose turn it is, chords, modes, and input that waits for the end of a loan."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.lent import SIZE, Lent
from tests.client.test_keys import DETACHES, OTHERS, PREFIXES, REPORTS
from tests.client.world import wait_until
from toowl.attachment import Attachment, Notice
from toowl.keys import Chords, DetachRequested, Send
from toowl.lending import TABLE, Holder, Move
from toowl.modes import Modes
from toowld import wire


def test_the_page_is_where_it_is_said_to_be() -> None:
    buffer = bytearray(wire.Page.SIZE)
    page = wire.Page(buffer)
    assert (page.position, page.revoked, page.busy) == ((0, 0), False, False)
    page.position = ((1 << 40) + 5, 7)
    page.busy = True
    assert buffer == (5).to_bytes(5, "little") + b"\1\0\0" + b"\7" + bytes(7) + b"\0\1" + bytes(14)
    wire.Page(buffer).revoke()
    page.busy = False
    assert page.revoked and not page.busy
    assert page.position == ((1 << 40) + 5, 7)


def test_the_page_can_not_be_made_shorter(lent: Lent) -> None:
    lent.start()
    wait_until(lambda: len(page_fds(lent.process.pid)) == 1)
    fd = os.open(page_fds(lent.process.pid)[0], os.O_RDWR)
    try:
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def page_fds(pid: int) -> list[Path]:
    """The descriptors of pages that a client has open: its mapping keeps one."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if "toowl-terminal" in os.fspath(path.readlink()):
                found.append(path)
    return found


def test_pages_do_not_pile_up(lent: Lent) -> None:
    lent.lend()
    for turn in range(5):
        lent.send(wire.Returned(2, 2 * turn, b"", b"\x1c\x1c"))
        assert lent.receive(wire.Input).data == b"\x1c"
        lent.send(wire.InputAck(2 * turn + 1))
        lent.offered()
        lent.page.position = (2, 2 * turn + 2)
        lent.send(wire.Lent(2))
    wait_until(lambda: len(page_fds(lent.process.pid)) == 1)


def test_whose_it_is() -> None:
    """Each message of the session fits wherever it can be; from everywhere the terminal comes back."""
    assert {Holder.OURS} == {TABLE[holder, Move.OVER] for holder in Holder if holder is not Holder.OURS}
    for holder, move in itertools.product(Holder, Move):
        allowed = {
            Move.OFFER: {Holder.OURS},
            Move.LENT: {Holder.OFFERED, Holder.WITHDRAWN},
            Move.RETURNED: set(Holder) - {Holder.OURS},
            Move.TAKE_BACK: {Holder.OFFERED, Holder.LENT},
            Move.OVER: set(Holder) - {Holder.OURS},
        }[move]
        assert ((holder, move) in TABLE) is (holder in allowed)
    assert TABLE[Holder.WITHDRAWN, Move.LENT] is Holder.RECALLED, "it stays with its user"


keys = st.sampled_from([*PREFIXES, *DETACHES, *OTHERS, *REPORTS, b"\x1b[200~", b"\x1b[201~", b"\x1b", b"x"])


@given(st.lists(keys, max_size=12).map(b"".join))
def test_what_a_session_may_read_is_never_held_back(typed: bytes) -> None:
    """Before the first stop all goes through at once, in whatever pieces, and keeps no chord from being one."""
    stops = [at for stop in Chords().stops if (at := typed.find(stop)) >= 0]
    before = typed[: min(stops, default=len(typed))]
    chords = Chords()
    for byte in before:
        assert chords.feed(bytes([byte])) == [Send(bytes([byte]))]
    assert chords.feed(b"\x1b[A\x1cd")[-1] == DetachRequested()


def test_when_the_chords_are_idle() -> None:
    chords = Chords()
    for unfinished in (b"\x1c", b"\x1b", b"\x1b[", b"\x1b[92", b"\x1b[200~text", b"\x1c\x1b[Md"):
        assert chords.idle
        chords.feed(unfinished)
        assert not chords.idle, unfinished
        chords.feed(b"x\x1b[201~\x1b[A")
    assert chords.idle


def test_what_may_be_on_is_switched_off_once() -> None:
    modes = Modes()
    modes.feed(b"\x1b[?1049h\x1b]0;cut off")
    modes.suspect_all()
    assert not modes.mid_sequence
    assert modes.alternate_screen and modes.reporting
    undo = modes.reset()
    for off in (
        b"\x1b[?2004l",
        b"\x1b[?1049l",
        b"\x1b[?1003l",
        b"\x1b[m",
        b"\x1b[?25h",
        b"\x1b[?7h",
        b"\x1b(B",
        b"\x0f",
    ):
        assert off in undo
    assert modes.reset() == b""


def test_what_was_known_before_is_undone_as_well() -> None:
    modes = Modes()
    modes.feed(b"\x1b[>1u\x1b[22;0t")
    modes.suspect_all()
    undo = modes.reset()
    assert b"\x1b[<1u" in undo and b"\x1b[23;0t" in undo


def make(**about: object) -> Attachment:
    return Attachment(wire.Attached(0, 0, 10, about), session="2f3a")


def test_settled() -> None:
    attachment = make()
    assert attachment.settled
    attachment.receive(wire.Output(0, b"x"))
    assert not attachment.settled
    attachment.screen.clear()
    assert attachment.settled
    attachment.type(b"x")
    attachment.outbox.clear()
    assert not attachment.settled
    attachment.receive(wire.InputAck(11))
    assert attachment.settled
    attachment.resize(SIZE)
    assert not attachment.settled
    attachment.outbox.clear()
    attachment.hung_up(may_return=True)
    assert not attachment.settled


def test_input_waits_for_the_end_of_a_loan() -> None:
    attachment = make()
    attachment.lend()
    attachment.type(b"x")
    attachment.follow_loan(40, 15)
    assert (attachment.seq, attachment.pending, bytes(attachment.outbox)) == (40, 1, b"")
    attachment.resume_after_loan(50, 20)
    assert attachment.outbox == wire.encode(wire.Input(20, b"x"))
    attachment.receive(wire.Output(45, b"seen!new"))
    assert list(attachment.screen) == [b"new"]


def test_input_of_a_loan_that_was_cut_off_goes_to_the_next_connection() -> None:
    attachment = make(pid=7)
    attachment.lend()
    attachment.type(b"x")
    attachment.follow_loan(40, 15)
    attachment.hung_up(may_return=True)
    attachment.resume(wire.Attached(40, 40, 15, {"pid": 7}))
    assert attachment.outbox == wire.encode(wire.Input(15, b"x"))
    assert not attachment.screen


def test_input_of_a_loan_is_not_for_another_child() -> None:
    attachment = make(pid=7)
    attachment.lend()
    attachment.type(b"x")
    attachment.follow_loan(40, 15)
    attachment.hung_up(may_return=True)
    attachment.resume(wire.Attached(40, 40, 15, {"pid": 8}))
    assert not attachment.outbox
    attachment.receive(wire.Live(40))
    (notice,) = attachment.screen
    assert isinstance(notice, Notice) and notice.text.startswith("discarded 1 byte of input")
