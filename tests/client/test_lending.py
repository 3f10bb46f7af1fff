"""Lending the user's terminal: what the client says and does, with a scripted session that takes it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.client.lent import Lent
from tests.client.test_keys import PREFIXES
from toowl.keys import Chords
from toowld import wire

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
