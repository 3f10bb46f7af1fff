"""The client's side of an attachment, without any I/O."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowl.attachment import INPUT_WINDOW, Attachment, Lost, Phase
from toowld import errors, wire


def make(seq: int = 0, live: int = 0, input_seq: int = 0, **about: object) -> Attachment:
    return Attachment(wire.Attached(seq, live, input_seq, about), session="2f3a")


def sent(attachment: Attachment) -> list[wire.Message]:
    decoder = wire.FrameDecoder()
    decoder.feed(bytes(attachment.outbox))
    attachment.outbox.clear()
    return list(decoder.messages())


def test_name_is_safe_to_show() -> None:
    assert make(name="work", id="2f3a9c1b").name == "work"
    assert make(name=None, id="2f3a9c1b").name == "2f3a9c1b"
    assert make().name == "2f3a"
    assert make(name="a\x1b]0;b").name == "a?]0;b"


@given(st.integers(0, 400), st.randoms(use_true_random=False))
def test_every_byte_is_shown_once_or_announced_as_lost(live: int, chance: random.Random) -> None:
    """Whatever pieces come, overlapping, repeated or with holes: the positions on the screen are contiguous."""
    attachment = make(live=live)
    output = bytes(range(0x20, 0x7F)) * 10
    end = 0
    for _ in range(20):
        start = max(0, end + chance.randint(-20, 10))
        piece = output[start : start + chance.randint(0, 60)]
        if chance.random() < 0.2:
            start += 30
            attachment.receive(wire.Gap(end, start))
            piece = output[start : start + 5]
        attachment.receive(wire.Output(start, piece))
        end = max(end, start + len(piece)) if piece or start > end else end
        assert attachment.seq >= start or not piece
    at = 0
    for item in attachment.screen:
        if isinstance(item, Lost):
            at += item.size
        else:
            assert isinstance(item, bytes)
            assert item == output[at : at + len(item)]
            at += len(item)
    assert at == attachment.seq


@given(st.lists(st.integers(0, 90_000), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_input_goes_once_in_order_and_within_the_window(sizes: list[int], chance: random.Random) -> None:
    attachment = make(input_seq=1000)
    typed = b""
    received = bytearray()
    acknowledged = 1000

    def take() -> None:
        for message in sent(attachment):
            assert isinstance(message, wire.Input)
            assert message.seq == 1000 + len(received)
            received.extend(message.data)
        assert 1000 + len(received) - acknowledged <= INPUT_WINDOW

    for size in sizes:
        data = chance.randbytes(size)
        typed += data
        attachment.type(data)
        take()
        if chance.random() < 0.5:
            acknowledged += chance.randint(0, 1000 + len(received) - acknowledged)
            attachment.receive(wire.InputAck(acknowledged))
            take()
        # What is not acknowledged can be sent again.
        assert b"".join(data for _, data in attachment.unacknowledged) == received[acknowledged - 1000 :]
    while acknowledged < 1000 + len(typed):
        acknowledged = 1000 + len(received)
        attachment.receive(wire.InputAck(acknowledged))
        take()
    assert received == typed
    assert not attachment.unacknowledged


def test_after_the_chord_nothing_is_shown_or_typed() -> None:
    attachment = make()
    attachment.receive(wire.Output(0, b"text"))
    attachment.detach()
    attachment.type(b"x")
    attachment.receive(wire.Output(4, b"more"))
    assert sent(attachment) == [wire.Detach()]
    assert not attachment.screen
    assert attachment.outcome is None
    attachment.receive(wire.Detached("client"))
    assert attachment.phase is Phase.OVER
    assert attachment.outcome is not None
    assert attachment.outcome.message == "[detached from 2f3a]"


def test_the_first_end_counts() -> None:
    attachment = make()
    attachment.receive(wire.Ended(0, "exited", code=3))
    attachment.receive(wire.Detached("client"))
    attachment.hung_up()
    assert attachment.outcome is not None
    assert attachment.outcome.status == 3


def test_breach_of_protocol_is_an_error() -> None:
    attachment = make()
    attachment.receive(wire.Detached("protocol error: input begins at 7, expected 3"))
    assert attachment.outcome is not None
    assert isinstance(attachment.outcome.error, errors.ProtocolError)
    with pytest.raises(errors.RefusedError):
        attachment.receive(wire.Failure(0, "refused", "no"))


def test_unfinished_query_of_the_replay_goes_on_live() -> None:
    attachment = make(live=4)
    attachment.receive(wire.Output(0, b"a\x1b[6"))
    attachment.receive(wire.Live(4))
    attachment.receive(wire.Output(4, b"n"))
    assert list(attachment.screen) == [b"a", b"\x1b[6", b"n"]


def test_a_session_that_takes_no_input_bounds_what_is_kept() -> None:
    attachment = make()
    for _ in range(20):
        attachment.type(bytes(1 << 20))
    assert not attachment.takes_input
    attachment.receive(wire.InputAck(5))
    assert attachment.phase is Phase.OPEN
