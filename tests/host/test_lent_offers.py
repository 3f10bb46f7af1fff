"""Terminals that a session can't or must not take: the client keeps its own, or is the only one who is dropped."""

from __future__ import annotations

import fcntl
import os
import socket

import pytest

from tests.host.lender import RAW, Lender, User, attach, gone, ready
from tests.host.rig import Rig, open_fds
from toowld.wire import Detached, Input, Lend, Ping, Pong, Returned, encode


def test_a_connection_that_passes_no_descriptors_stays_as_it_is(rig: Rig, lender: Lender) -> None:
    lender.send(Lend(lender.end, {"stops": [], "settings": b""}))
    assert lender.expect_returned() == Returned(5, 0)
    lender.enter(b"on")
    lender.expect_output(b"on")


def test_a_viewer_keeps_its_terminal(rig: Rig, user: User) -> None:
    rig.shell(f"{RAW} exec cat")
    viewer = ready(attach(rig, user, read_only=True))
    viewer.offer()
    assert viewer.expect_returned() == Returned(5, 0)
    assert gone(viewer)


BAD = [
    "no terminal",
    "blocking",
    "one",
    "three",
    "no page",
    "unsealed",
    "short",
    "twice",
    "not given yet",
    "no stops",
]


@pytest.mark.parametrize("what", BAD)
def test_what_can_not_be_used_ends_that_client_only(rig: Rig, lender: Lender, what: str) -> None:
    other = rig.attach("c2")
    other.expect_output(b"ready")
    before = open_fds()
    user = lender.user
    with open("/dev/null", "r+b", buffering=0) as null, socket.socket() as sock:
        match what:
            case "no terminal":
                lender.offer(sock.fileno(), -1)
            case "blocking":
                os.set_blocking(user.tty, True)
                lender.offer()
            case "one":
                lender.offer(user.tty)
            case "three":
                lender.offer(user.tty, -1, null.fileno())
            case "no page":
                lender.offer(user.tty, null.fileno())
            case "unsealed":
                lender.offer(seal=fcntl.F_SEAL_GROW)
            case "short":
                short = os.memfd_create("short", os.MFD_ALLOW_SEALING)
                fcntl.fcntl(short, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
                lender.offer(user.tty, short)
                os.close(short)
            case "twice":
                lender.lend()
                lender.offer()
            case "not given yet":
                lender.offer(seq=rig.session.seq + 1)
            case "no stops":
                lender.offer(stops=[b""])
        text = lender.expect(Detached).reason
    assert text.startswith("protocol error: ")
    rig.until(lambda: lender.eof)
    lender.forget_page()
    assert gone(lender)
    assert len(open_fds()) == len(before) - 1  # the session's end of its connection
    other.enter(b"still here")
    other.expect_output(b"still here")


def test_descriptors_with_any_other_message_are_closed(rig: Rig, lender: Lender) -> None:
    socket.send_fds(lender.sock, [encode(Ping(1))], [lender.user.tty])
    lender.expect(Pong)
    assert gone(lender)


def test_a_client_that_lends_and_breaks_the_rules_has_its_terminal_back(rig: Rig, lender: Lender) -> None:
    lender.lend()
    lender.user.type(b"seen")
    lender.user.expect(b"seen")
    lender.send(Input(100, b"x"))
    lender.expect(Detached)
    assert [type(m) for m in lender.messages[-2:]] == [Returned, Detached]
    assert lender.output == b"readyseen"
    assert gone(lender)
