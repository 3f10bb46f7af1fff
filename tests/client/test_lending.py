"""Lending the user's terminal: what the client says and does, with a scripted session that takes it."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import mmap
import os
import select
import signal
import socket
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.test_keys import DETACHES, OTHERS, PREFIXES, REPORTS
from tests.client.world import World, wait_until
from toowl.attachment import Attachment, Notice
from toowl.keys import Chords, DetachRequested, Send
from toowl.lending import TABLE, Holder, Move
from toowl.modes import Modes
from toowld import wire
from toowld.log.writer import LogWriter

SIZE = wire.Size(rows=24, cols=80)


class Lent(World):
    """A session that is given the terminal: `tty_fd` and `page` of the last offer."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.log = LogWriter(folder, "0badcafe", size=SIZE)
        self.folder = folder
        self.tty_fd = -1
        self._memory: mmap.mmap | None = None

    @property
    def page(self) -> wire.Page:
        assert self._memory is not None
        return wire.Page(self._memory)

    def close(self) -> None:
        super().close()
        self._drop()
        self.log.close()

    def _drop(self) -> None:
        if self._memory is not None:
            os.close(self.tty_fd)
            self._memory.close()
            self._memory = None

    def start(self, output: bytes = b"$ ") -> wire.Lend:
        """Attach, show ``output``, and wait for the offer that follows."""
        self.log.append(output)
        self.attach(live=len(output), lend=os.fspath(self.folder))
        self.send(wire.Output(0, output), wire.Live(len(output)))
        self.sees(output[-10:])
        return self.offered()

    def offered(self) -> wire.Lend:
        """The next message, which must be an offer of the terminal."""
        fds: list[int] = []
        while (message := self.decoder.next_message()) is None:
            data, more, _, _ = socket.recv_fds(self.session, 65536, 4)
            assert data, "the client hung up"
            fds += more
            self.decoder.feed(data)
        assert isinstance(message, wire.Lend), message
        self._drop()
        self.tty_fd, page_fd = fds
        self._memory = mmap.mmap(page_fd, wire.Page.SIZE)
        os.close(page_fd)
        return message

    def lend(self, output: bytes = b"$ ") -> wire.Lend:
        """The same, and take it."""
        offer = self.start(output)
        self.send(wire.Lent(offer.seq))
        return offer

    def write(self, output: bytes) -> None:
        """What a session does with its child's output while it has the terminal."""
        self.log.append(output)
        assert os.write(self.tty_fd, output) == len(output)
        seq, input_seq = self.page.position
        self.page.position = (seq + len(output), input_seq)

    def read(self, count: int) -> bytes:
        """Read what is typed, as a session does."""
        data = b""
        while len(data) < count:
            assert select.select([self.tty_fd], [], [], 20)[0], "nothing was typed"
            data += os.read(self.tty_fd, count - len(data))
        seq, input_seq = self.page.position
        self.page.position = (seq, input_seq + len(data))
        return data

    def silent(self) -> bool:
        """Whether nothing is shown, and the client says nothing, for as long as it might take."""
        return not select.select([self.user, self.session.fileno()], [], [], 0.2)[0]

    def leave(self, status: int = 0) -> bytes:
        self.type(b"\x1cd")
        self.receive(wire.Detach)
        self.send(wire.Detached("client"))
        return self.ends(status)


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    made = Lent(tmp_path / "log")
    try:
        yield made
    finally:
        made.close()


# --- offering -------------------------------------------------------------------------------------------


def test_the_offer(lent: Lent) -> None:
    offer = lent.start()
    assert offer.seq == 2
    assert tuple(offer.params["stops"]) == Chords().stops
    assert os.ttyname(lent.tty_fd) == os.ttyname(lent.tty)
    assert not os.get_blocking(lent.tty_fd) and os.get_blocking(lent.tty), "the shell's own stays as it was"
    assert len(offer.params["settings"]) == wire.SETTINGS_SIZE
    assert lent.page.position == (2, 0)
    assert not lent.page.revoked


@pytest.mark.parametrize("about", [{}, {"lend": "/nowhere", "read_only": True}, {"lend": None}, {"lend": 7}])
def test_no_offer_to_whom_it_is_not_for(lent: Lent, about: dict[str, Any]) -> None:
    lent.attach(live=2, **about)
    lent.send(wire.Output(0, b"$ "), wire.Live(2))
    lent.sees(b"$ ")
    assert lent.silent()


def test_no_offer_while_something_is_under_way(lent: Lent) -> None:
    """Replay, input that was not acknowledged, a chord or a paste that was begun."""
    lent.attach(live=4, lend=os.fspath(lent.folder))
    lent.send(wire.Output(0, b"$ "))
    lent.sees(b"$ ")
    assert lent.silent(), "the replay goes on"
    lent.type(b"x\x1b[200~y")
    lent.send(wire.Output(2, b"$ "), wire.Live(4))
    assert lent.receive_input(8) == b"x\x1b[200~y"
    lent.sees(b"$ ")
    assert lent.silent(), "what was typed is on its way"
    lent.send(wire.InputAck(8))
    assert lent.silent(), "the paste goes on"
    lent.type(b"\x1b[201~\x1c")
    assert lent.receive_input(6) == b"\x1b[201~"
    lent.send(wire.InputAck(14))
    assert lent.silent(), "the chord goes on"
    lent.type(b"?")
    lent.sees(b"[Ctrl-")
    assert lent.offered().seq == 4
    assert lent.page.position == (4, 14)


def test_output_that_crosses_the_offer_is_shown_once_if_it_is_taken(lent: Lent) -> None:
    lent.start()
    lent.send(wire.Output(2, b"crossed"))
    assert lent.silent(), "it may be on its way to the terminal"
    lent.send(wire.Lent(2))
    lent.write(b"crossed, taken")
    lent.sees(b"crossed, taken")
    lent.send(wire.Returned(16, 0), wire.Output(16, b" and returned"))
    assert lent.sees(b"returned") == b" and "


def test_output_that_crosses_the_offer_is_shown_if_it_is_refused(lent: Lent) -> None:
    lent.start()
    lent.send(wire.Output(2, b"crossed"), wire.Gap(9, 20), wire.Output(20, b"on"), wire.Returned(2, 0))
    assert lent.sees(b"]\r\non") == b"crossed\r\n[11 bytes of output are no longer held"
    lent.type(b"x")
    assert lent.receive(wire.Input) == wire.Input(0, b"x")
    lent.send(wire.InputAck(1))
    assert lent.silent(), "it has just been refused"


def test_the_end_of_a_session_that_has_not_seen_the_offer(lent: Lent) -> None:
    lent.start()
    lent.send(wire.Output(2, b"last words"), wire.Ended(12, "exited", 3))
    assert b"last words\r\n[work exited with status 3]" in lent.ends(3)


def test_a_terminal_that_comes_back_unused_is_not_offered_at_once(lent: Lent) -> None:
    lent.lend()
    lent.send(wire.Returned(2, 0))
    assert lent.silent()
    lent.type(b"x")
    assert lent.receive(wire.Input) == wire.Input(0, b"x")


# --- lent -----------------------------------------------------------------------------------------------


def test_neither_read_nor_written_while_it_is_lent(lent: Lent) -> None:
    lent.lend()
    lent.write(b"written")
    lent.sees(b"written")
    lent.type(b"typed")
    assert lent.read(5) == b"typed"
    assert lent.silent()


def test_the_client_looks_at_what_was_shown_when_it_is_asked_to(lent: Lent) -> None:
    lent.lend()
    lent.write(b"\x1b[?2004h\x1b[?1049h")
    lent.send(wire.Live(18))
    assert lent.receive(wire.Seen) == wire.Seen(18)
    lent.write(b"\x1b[?1000h")
    lent.send(wire.Returned(26, 0), wire.Detached("requested"))
    assert b"\x1b[?1000l\x1b[?2004l\x1b[?1049l" in lent.ends(0)


def test_what_was_switched_on_meanwhile_is_switched_off(lent: Lent) -> None:
    lent.lend()
    lent.write(b"\x1b[?1000h\x1b[31mred")
    lent.sees(b"red")
    lent.type(b"\x1c")
    assert lent.read(1) == b"\x1c"
    lent.send(wire.Returned(16, 0, b"", b"\x1c"))
    lent.type(b"d")
    lent.receive(wire.Detach)
    lent.send(wire.Detached("client"))
    assert lent.ends(0).startswith(b"\x1b[?1000l\x1b[m")


def test_what_nobody_knows_any_more_is_switched_off_as_well(lent: Lent) -> None:
    lent.lend()
    lent.write(b"\x1b[?1000h")
    lent.log.close()
    for path in lent.folder.iterdir():
        path.unlink()
    lent.send(wire.Returned(10, 0), wire.Detached("requested"))
    end = lent.ends(0)
    assert b"\x1b[?1000l" in end and b"\x1b[?1047l" in end and end.endswith(b"[detached from work]\r\n")


#: Each prefix of a chord, and how much of it a session can have taken before it knew.
BEGUN = [
    (prefix, begun)
    for prefix in PREFIXES
    for begun in range(5)
    if any(prefix.startswith(stop) and begun < len(stop) for stop in Chords().stops)
]


@pytest.mark.parametrize(("prefix", "begun"), BEGUN)
def test_a_chord_that_the_session_stopped_at(lent: Lent, prefix: bytes, begun: int) -> None:
    lent.lend()
    lent.type(b"x" + prefix)
    lent.read(1 + len(prefix))
    lent.page.position = (2, 1 + begun)
    lent.send(wire.Returned(2, 1 + begun, prefix[:begun], prefix[begun:]))
    lent.type(b"d")
    if begun:  # the program sees the whole key
        assert lent.receive_input(len(prefix) - begun) == prefix[begun:]
    lent.receive(wire.Detach)
    lent.send(wire.Detached("client"))
    assert b"[detached from work]" in lent.ends(0)


def test_a_key_that_only_begins_like_a_chord_goes_on_its_way(lent: Lent) -> None:
    lent.lend()
    lent.type(b"\x1b[92u")
    lent.read(5)
    lent.send(wire.Returned(2, 1, b"\x1b", b"[92u"))
    assert lent.receive(wire.Input) == wire.Input(1, b"[92u")
    lent.send(wire.InputAck(5))
    assert lent.offered().seq == 2
    assert lent.page.position == (2, 5)


def test_a_paste_is_typed_over_the_connection(lent: Lent) -> None:
    paste = b"\x1b[200~" + b"\x1cd" * 30_000 + b"\x1b[201~"
    lent.lend()
    lent.page.position = (2, 0)
    lent.send(wire.Returned(2, 0, b"", paste[:4096]))
    lent.type(paste[4096:] + b"\r")
    received = b""
    while len(received) <= len(paste):
        data = lent.receive(wire.Input).data
        received += data
        lent.send(wire.InputAck(len(received)))
    assert received == paste + b"\r"
    lent.offered()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_takes_it_back_at_once(lent: Lent, number: signal.Signals) -> None:
    lent.lend()
    lent.write(b"\x1b[?1000hshown")
    lent.sees(b"shown")
    lent.process.send_signal(number)
    lent.receive(wire.Recall)
    lent.receive(wire.Detach)
    assert lent.ends(128 + number).startswith(b"\x1b[?1000l")
    assert lent.page.revoked


def test_a_session_that_died_with_the_terminal_in_its_hand_keeps_nobody(lent: Lent) -> None:
    lent.lend()
    lent.page.busy = True
    lent.process.send_signal(signal.SIGTERM)
    lent.ends(128 + signal.SIGTERM)


# --- a session that hangs -------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [False, True])
def test_the_chord_works_with_a_session_that_hangs(lent: Lent, taken: bool) -> None:
    lent.start()
    if taken:
        lent.send(wire.Lent(2))
    lent.type(b"\x1cd")
    lent.receive(wire.Recall)
    lent.receive(wire.Detach)
    lent.session.shutdown(socket.SHUT_RDWR)
    assert lent.ends(0).endswith(b"[detached from work]\r\n")


def test_keys_that_are_read_are_no_reason_to_take_it_back(lent: Lent) -> None:
    lent.lend()
    for _ in range(6):
        lent.type(b"x")
        lent.read(1)
        select.select([], [], [], 0.15)
    assert lent.silent()


def test_what_is_typed_to_one_that_hangs_waits_for_where_input_goes_on(lent: Lent) -> None:
    """It had read more than it had time to note, and what it writes is not on the page either."""
    lent.lend()
    lent.type(b"abc")
    lent.read(3)
    lent.page.position = (2, 1)
    lent.type(b"more")
    lent.receive(wire.Recall)
    assert lent.silent()
    assert lent.page.revoked
    os.write(lent.tty_fd, b"shown")
    lent.log.append(b"shown on")
    lent.send(wire.Live(2), wire.Returned(7, 3), wire.Output(7, b" on"))
    assert lent.receive(wire.Input) == wire.Input(3, b"more")
    assert lent.sees(b" on") == b"shown"
    lent.send(wire.InputAck(7))
    assert lent.offered().seq == 10
    assert lent.page.position == (10, 7)


def test_what_comes_back_too_late_is_not_typed_but_told(lent: Lent) -> None:
    lent.lend()
    lent.type(b"\x1cd")
    lent.read(2)
    lent.page.position = (2, 0)
    lent.type(b"more")
    lent.receive(wire.Recall)
    wait_until(lambda: not any(fcntl.ioctl(lent.tty, termios.FIONREAD, bytes(4))))
    lent.send(wire.Returned(2, 0, b"", b"\x1cd"))
    assert lent.receive(wire.Input) == wire.Input(0, b"more")
    assert b"discarded 2 bytes of input" in lent.sees(b"hung]")


def test_what_comes_back_before_anything_else_is_typed_is_taken(lent: Lent) -> None:
    """The keys that made the client look are those that the session then reads after all."""
    lent.lend()
    lent.type(b"\x1b[92")
    lent.receive(wire.Recall)
    lent.send(wire.Returned(2, 0))
    lent.type(b";5ud")
    lent.receive(wire.Detach)
    lent.send(wire.Detached("client"))
    lent.ends(0)


def test_an_offer_that_was_withdrawn_and_is_taken_all_the_same(lent: Lent) -> None:
    lent.start()
    lent.send(wire.Output(2, b"sent"))
    lent.type(b"x")
    lent.receive(wire.Recall)
    lent.send(wire.Lent(2), wire.Returned(2, 0), wire.Output(2, b"sent again"))
    assert lent.sees(b"again") == b"sent "
    assert lent.receive(wire.Input) == wire.Input(0, b"x")


def test_an_offer_that_was_used_before_it_was_withdrawn(lent: Lent) -> None:
    """`Lent` is still on its way when the client takes the terminal back."""
    lent.start()
    lent.send(wire.Output(2, b"used"))
    lent.write(b"used")
    assert lent.sees(b"used") == b""
    lent.type(b"x")
    lent.receive(wire.Recall)
    lent.send(wire.Lent(2), wire.Returned(6, 0), wire.Output(6, b" once"))
    assert lent.sees(b"once") == b" "
    assert lent.receive(wire.Input) == wire.Input(0, b"x")


def test_an_offer_that_was_withdrawn_and_refused(lent: Lent) -> None:
    lent.start()
    lent.send(wire.Output(2, b"sent"))
    lent.type(b"x")
    lent.receive(wire.Recall)
    lent.send(wire.Returned(2, 0), wire.Output(6, b" on"))
    assert lent.sees(b" on") == b"sent"
    assert lent.receive(wire.Input) == wire.Input(0, b"x")


def test_a_return_that_nobody_asked_for_types_nothing(lent: Lent) -> None:
    lent.attach(live=2)
    lent.send(
        wire.Output(0, b"$ "), wire.Live(2), wire.Returned(2, 5, b"", b"\x1cd"), wire.Lent(2), wire.Ping(1)
    )
    lent.receive(wire.Pong)
    lent.type(b"x")
    assert lent.receive(wire.Input) == wire.Input(0, b"x")


def test_a_session_that_ends_without_giving_it_back(lent: Lent) -> None:
    lent.lend()
    lent.write(b"\x1b[?1000hshown")
    lent.send(wire.Ended(15, "exited", 4))
    assert b"\x1b[?1000l" in lent.ends(4)


# --- its parts ------------------------------------------------------------------------------------------


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
