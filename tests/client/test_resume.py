"""An attachment over many connections, without any I/O: output and input stay whole."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowl.attachment import AWAY_LIMIT, Attachment, Lost, Notice, Phase
from toowld import wire
from toowld.session.inputs import InputQueue


def about(child_seq: int | None = 0, pid: int = 10, **more: Any) -> dict[str, Any]:
    known = {} if child_seq is None else {"child_seq": child_seq}
    return {"id": "2f3a9c1b", "name": "work", "pid": pid, **known, **more}


def make(**more: Any) -> Attachment:
    return Attachment(wire.Attached(0, 0, 0, about(**more)), session="work")


def sent(attachment: Attachment) -> list[wire.Message]:
    decoder = wire.FrameDecoder()
    decoder.feed(bytes(attachment.outbox))
    attachment.outbox.clear()
    return list(decoder.messages())


def notices(attachment: Attachment) -> list[str]:
    return [item.text for item in attachment.screen if isinstance(item, Notice)]


@given(st.integers(0, 1 << 32))
def test_input_is_taken_once_and_in_order_whatever_is_cut(seed: int) -> None:
    """Against the real queue of the custodian; any part of what is under way may be lost with a connection."""
    chance = random.Random(seed)
    attachment, queue = make(), InputQueue()
    typed, taken = b"", b""
    for _ in range(chance.randint(1, 25)):
        match chance.choice(["type", "type", "cut", "work"]):
            case "type":
                data = chance.randbytes(chance.randint(1, 20_000))
                assert attachment.type(data)
                typed += data
            case "cut":
                for message in sent(attachment)[: chance.randint(0, 6)]:
                    assert isinstance(message, wire.Input)
                    taken += queue.accept("me", message.seq, message.data)
                if queue.pending and chance.random() < 0.5:
                    queue.wrote(chance.randint(0, queue.pending))  # the acknowledgement is lost
                attachment.hung_up(may_return=True)
                for _ in range(chance.randint(0, 2)):
                    data = chance.randbytes(chance.randint(1, 3000))
                    assert attachment.type(data)
                    typed += data
                assert sent(attachment) == []
                attachment.resume(wire.Attached(0, 0, queue.taken("me"), about()))
            case _:
                for message in sent(attachment):
                    assert isinstance(message, wire.Input)
                    taken += queue.accept("me", message.seq, message.data)
                    if not message.data:
                        attachment.receive(wire.InputAck(queue.written("me")))
                acks = queue.wrote(chance.randint(0, queue.pending))
                attachment.receive(wire.InputAck(acks.get("me", 0)))
        assert typed.startswith(taken)
    while attachment.pending:
        for message in sent(attachment):
            assert isinstance(message, wire.Input)
            taken += queue.accept("me", message.seq, message.data)
            attachment.receive(wire.InputAck(queue.written("me")))
        attachment.receive(wire.InputAck(queue.wrote(queue.pending).get("me", 0)))
    assert taken == typed
    assert not notices(attachment)


@given(st.integers(0, 1 << 32))
def test_output_goes_on_where_it_broke_off(seed: int) -> None:
    chance = random.Random(seed)
    output = bytes(range(0x20, 0x7F)) * 20
    attachment = make()
    shown = 0
    while shown < len(output):
        if chance.random() < 0.3:
            attachment.hung_up(may_return=True)
            assert attachment.phase is Phase.AWAY
            attachment.resume(wire.Attached(attachment.seq, shown, 0, about()), brief=chance.random() < 0.5)
        end = shown + chance.randint(1, 300)
        attachment.receive(wire.Output(shown, output[shown:end]))
        shown = min(end, len(output))
    assert b"".join(item for item in attachment.screen if isinstance(item, bytes)) == output


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (about(0, 10), about(0, 10), True),
        (about(0, 10), about(0, 11), False),  # the first one printed nothing
        (about(0, 10), about(50, 10), False),  # the pid came round again
        (about(None, 10), about(None, 10), True),  # custodians from before child_seq
        (about(None, 10), about(0, 11), False),
        (about(0, 10), {"id": "2f3a9c1b", "name": "work", "pid": None}, False),  # nobody runs any more
    ],
)
def test_input_is_for_one_child_only(before: dict[str, Any], after: dict[str, Any], same: bool) -> None:
    attachment = Attachment(wire.Attached(60, 60, 0, before), session="work")
    attachment.type(b"one\r")
    attachment.hung_up(may_return=True)
    attachment.type(b"two\r")
    attachment.resume(wire.Attached(60, 60, 0, after))
    attachment.receive(wire.Live(60))
    if same:
        assert b"".join(m.data for m in sent(attachment) if isinstance(m, wire.Input)) == b"one\rtwo\r"
        assert not notices(attachment)
    else:
        assert sent(attachment) == []
        assert notices(attachment) == [
            "discarded 8 bytes of input: typed for the program that ran here before"
        ]
        assert attachment.pending == 0


def test_a_custodian_that_forgot_us_gets_nothing_that_it_may_have_had() -> None:
    attachment = make()
    attachment.type(b"abc")
    attachment.receive(wire.InputAck(2))
    attachment.hung_up(may_return=True)
    sent(attachment)
    attachment.resume(wire.Attached(0, 0, 0, about()))
    attachment.receive(wire.Live(0))
    assert sent(attachment) == []
    assert notices(attachment) == [
        "discarded 1 byte of input: the session does not know any more what it got of it"
    ]
    attachment.type(b"new")
    assert sent(attachment) == [wire.Input(0, b"new")]


def test_what_is_over_the_bound_is_refused_with_the_line_or_paste_that_it_belongs_to() -> None:
    attachment = make()
    attachment.hung_up(may_return=True)
    assert attachment.type(b"whole line\r" + b"half" * 1000)
    assert attachment.room == AWAY_LIMIT - 4011
    assert not attachment.type(bytes(AWAY_LIMIT))
    assert attachment.refused == AWAY_LIMIT + 4000
    assert attachment.pending == 11
    assert not attachment.type(b"rest of it\r")  # and so is all that follows
    attachment.resume(wire.Attached(0, 0, 0, about()))
    assert not attachment.type(b"still the rest\r")
    assert sent(attachment) == [wire.Input(0, b"whole line\r")]
    attachment.take_again()
    assert len(notices(attachment)) == 1
    assert attachment.type(b"new\r")

    attachment = make()
    attachment.hung_up(may_return=True)
    attachment.type(b"ls\r\x1b[200~line\rline\r")
    assert not attachment.type(bytes(AWAY_LIMIT))
    assert attachment.pending == 3


def test_numbers_that_went_back_are_told() -> None:
    """The log lost its end with the custodian, because the disk was full."""
    attachment = make()
    attachment.receive(wire.Output(0, b"x" * 100))
    attachment.screen.clear()
    attachment.hung_up(may_return=True)
    attachment.resume(wire.Attached(100, 130, 0, about(60, 11)))
    assert list(attachment.screen) == [Lost(40)]
    attachment.hung_up(may_return=True)
    attachment.resume(wire.Attached(20, 27, 0, about(20, 12)), brief=True)
    attachment.receive(wire.Output(20, b"\x1b[6nnew"))
    assert notices(attachment) == ["the session lost some of its scrollback; it goes on here"]
    assert attachment.screen[-1] == b"new"


def test_questions_asked_while_away_are_not_answered_late() -> None:
    attachment = make()
    attachment.hung_up(may_return=True)
    attachment.resume(wire.Attached(0, 5, 0, about()))
    attachment.receive(wire.Output(0, b"a\x1b[6n"))
    assert list(attachment.screen) == [b"a"]
    attachment.hung_up(may_return=True)
    attachment.resume(wire.Attached(5, 10, 0, about()), brief=True)  # who asked still waits
    attachment.receive(wire.Output(5, b"b\x1b[6n"))
    assert list(attachment.screen) == [b"a", b"b\x1b[6n"]


def test_questions_that_the_session_has_answered_are_not_answered_again() -> None:
    """While nobody was there it answers itself, from the byte on at which the last terminal left."""
    attachment = make()
    attachment.hung_up(may_return=True)
    attachment.resume(wire.Attached(0, 12, 0, about() | {"answered": 5}), brief=True)
    attachment.receive(wire.Output(0, b"a\x1b[6nb\x1b[6nc\x1b[6nd"))
    shown = [piece for piece in attachment.screen if isinstance(piece, bytes)]
    assert b"".join(shown) == b"a\x1b[6nbc\x1b[6nd"
