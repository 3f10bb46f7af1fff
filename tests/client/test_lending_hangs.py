"""A terminal that was lent to a session that hangs: the user has it back, and nothing is typed twice or in secret."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import termios

import pytest

from tests.client.lent import Lent
from tests.client.world import wait_until
from toowld import wire


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
