"""Bytes to messages and back: what is promised for good peers, newer peers and hostile ones."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.samples import MAPS, any_message
from toowld.errors import LocalProtocolError, RemoteProtocolError
from toowld.wire import (
    MAX_FRAME,
    VERSION_MAX,
    Detach,
    Encoded,
    Ended,
    Failure,
    FrameDecoder,
    Hello,
    Message,
    Output,
    Ping,
    Request,
    Unknown,
    decode_body,
    encode,
    negotiate,
)
from toowld.wire.codec import MAX_TEXT


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def decoded(data: bytes) -> list[Message]:
    decoder = FrameDecoder()
    decoder.feed(data)
    return list(decoder.messages())


# -- round trip ------------------------------------------------------------------------------------------


@given(any_message)
def test_round_trip(message: Message) -> None:
    assert decoded(encode(message)) == [message]


@given(st.lists(any_message, max_size=6), st.data())
def test_arbitrary_chunking_changes_nothing(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(encode(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = FrameDecoder()
    got: list[Message] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        decoder.feed(stream[start:end])
        got += decoder.messages()
    assert got == messages
    assert decoder.pending == 0


def test_a_byte_at_a_time_with_the_next_frame_behind() -> None:
    first, second = Output(7, b"he\xffllo"), Ping(1)
    stream = encode(first) + encode(second)
    decoder = FrameDecoder()
    got: list[Message] = []
    for byte in stream + b"\0\0":
        decoder.feed(bytes([byte]))
        got += decoder.messages()
    assert got == [first, second]
    assert decoder.pending == 2


@given(st.lists(any_message, max_size=4), st.binary(max_size=3))
def test_a_stream_can_be_handed_over(messages: list[Message], torn: bytes) -> None:
    """What one process had read and not decoded, another one decodes."""
    rest = b"".join(encode(message) for message in messages) + torn
    decoder = FrameDecoder()
    decoder.feed(encode(Detach()) + rest)
    assert decoder.next_message() == Detach()
    assert decoder.take_unread() == rest
    assert decoder.pending == 0
    other = FrameDecoder()
    other.feed(rest)
    assert list(other.messages()) == messages
    assert other.take_unread() == torn


# -- newer peers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [22, 99, 1000, -5])
def test_an_unknown_tag_is_given_as_unknown(tag: int) -> None:
    assert decode_body(cbor2.dumps([tag, "anything", {"at": "all"}])) == Unknown(tag)


def test_fields_that_we_do_not_know_are_ignored() -> None:
    assert decode_body(cbor2.dumps([11, 5, "new", {"er": 1}])) == Ping(5)


def test_fields_with_a_default_may_be_missing() -> None:
    assert decode_body(cbor2.dumps([8, 100, "exited"])) == Ended(100, "exited")
    assert decode_body(cbor2.dumps([0])) == Hello()
    assert decode_body(cbor2.dumps([16, 1, "list"])) == Request(1, "list")


@pytest.mark.parametrize(("low", "high", "version"), [(1, 1, 1), (1, 9, VERSION_MAX), (-3, 1, 1)])
def test_the_highest_common_version_is_spoken(low: int, high: int, version: int) -> None:
    assert negotiate(Hello(low, high)) == version


@pytest.mark.parametrize(("low", "high"), [(VERSION_MAX + 1, VERSION_MAX + 3), (-2, 0), (5, 1)])
def test_no_common_version_says_who_is_older(low: int, high: int) -> None:
    with pytest.raises(RemoteProtocolError, match="upgrade the older side"):
        negotiate(Hello(low, high))


# -- hostile and broken peers ----------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_length_is_refused_before_anything_is_waited_for(length: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"frame of {length} bytes"):
        decoded(struct.pack(">I", length))


def test_the_largest_frame_passes() -> None:
    room = MAX_FRAME - len(cbor2.dumps([1, 0, b""])) - 4  # a long byte string has a 5-byte head
    message = Output(0, bytes(room))
    assert len(encode(message)) == MAX_FRAME + 4
    assert decoded(encode(message)) == [message]
    with pytest.raises(LocalProtocolError, match="Output of"):
        encode(Output(0, bytes(room + 1)))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xff", id="break without a start"),
        pytest.param(b"\x82\x01", id="array cut short"),
        pytest.param(b"\x9f\x0b\x01\xff", id="indefinite array"),
        pytest.param(bytes.fromhex("83 01 00 5f 41 61 ff"), id="indefinite bytes"),
        pytest.param(b"\x9b\x00\x00\x01\x00\x00\x00\x00\x00\x0b", id="array said to hold 2^40 items"),
        pytest.param(b"\x83\x01\x00\x5b\x00\x00\x01\x00\x00\x00\x00\x00", id="bytes said to be 2^40 long"),
        pytest.param(b"\x81" * 100_000, id="100 000 arrays in each other"),
        pytest.param(b"\x82\x00\xa2\x61a\x01\x61a\x02", id="the same key twice"),
        pytest.param(b"\xd8\x23\x61(", id="a broken regular expression"),
        pytest.param(b"\xc0\x61x", id="a broken date"),
        pytest.param(b"\xd8\x1d\x00", id="a reference to nothing"),
        pytest.param(b"\x83\x01\x00\x62\xff\xfe", id="text that is not UTF-8"),
        pytest.param(cbor2.dumps({}), id="a map"),
        pytest.param(cbor2.dumps([]), id="no tag"),
        pytest.param(cbor2.dumps(["1", 0, b""]), id="tag as text"),
        pytest.param(cbor2.dumps([True, 0, b""]), id="tag as bool"),
        pytest.param(cbor2.dumps([1.0, 0, b""]), id="tag as float"),
        pytest.param(cbor2.dumps([1 << 70]), id="a tag beyond 64 bits"),
        pytest.param(cbor2.dumps([1, 0]), id="a field missing"),
        pytest.param(cbor2.dumps([1, "0", b""]), id="text for an int"),
        pytest.param(cbor2.dumps([1, True, b""]), id="bool for an int"),
        pytest.param(cbor2.dumps([1, 1 << 63, b""]), id="an int beyond 63 bits"),
        pytest.param(cbor2.dumps([1, None, b""]), id="null for an int"),
        pytest.param(cbor2.dumps([1, 0, "text"]), id="text for bytes"),
        pytest.param(cbor2.dumps([16, 1, b"list", {}]), id="bytes for text"),
        pytest.param(cbor2.dumps([16, 1, "list", []]), id="an array for a map"),
        pytest.param(cbor2.dumps([16, 1, "list", {1: 2}]), id="a map with a key that is no text"),
        pytest.param(cbor2.dumps([16, 1, "x", {"env": {1: 2}}]), id="a map further in with such a key"),
        pytest.param(cbor2.dumps([16, 1, "x", {"seq": 1 << 64}]), id="a number beyond 64 bits"),
        pytest.param(
            cbor2.dumps([16, 1, "x", {"a": cbor2.CBORTag(28, [cbor2.CBORTag(29, 0)])}]), id="a list in itself"
        ),
        pytest.param(cbor2.dumps([16, 1, "x", {"a": cbor2.CBORTag(4, [1 << 31, 1])}]), id="10^2147483648"),
        pytest.param(cbor2.dumps([16, 1, "x", {"a": cbor2.CBORTag(258, [1])}]), id="a set"),
        pytest.param(cbor2.dumps([16, 1, "x", {"a": cbor2.CBORTag(4711, 1)}]), id="a tag that nobody knows"),
        pytest.param(cbor2.dumps(cbor2.CBORTag(55799, [0])), id="marked as CBOR"),
        pytest.param(cbor2.dumps([8, 0, "exited", "7"]), id="text for an optional int"),
    ],
)
def test_a_bad_frame_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_body(body)


@given(any_message, st.binary(min_size=1, max_size=300))
def test_what_follows_the_message_in_its_frame_is_refused(message: Message, more: bytes) -> None:
    """Also where it is a whole item itself, and however much of it there is."""
    body = encode(message)[4:]
    for rest in (more, body, more * 1000):
        with pytest.raises(RemoteProtocolError, match="goes on after its message"):
            decode_body(body + rest)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"in": value}
    return value


def test_depth_is_bounded_but_enough() -> None:
    assert decode_body(cbor2.dumps([16, 1, "x", nested(6)])) == Request(1, "x", nested(6))
    with pytest.raises(RemoteProtocolError):
        decode_body(cbor2.dumps([16, 1, "x", nested(9)]))


@given(st.binary(min_size=1, max_size=256))
def test_random_bytes_are_a_message_or_an_error(body: bytes) -> None:
    try:
        assert isinstance(decode_body(body), Message)
    except RemoteProtocolError as error:
        assert "\n" not in str(error)


@given(any_message, st.data())
def test_a_mutated_frame_is_a_message_or_an_error(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(4, len(frame) - 1))
        frame[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):  # refused is as good as understood; anything else is not
        assert all(isinstance(got, Message) for got in decoded(bytes(frame)))


def test_an_error_leaves_what_came_before_it() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode(Ping(1)) + framed(b"\xff") + encode(Ping(2)))
    assert decoder.next_message() == Ping(1)
    with pytest.raises(RemoteProtocolError):
        decoder.next_message()


# -- our own mistakes ------------------------------------------------------------------------------------


def test_an_error_that_quotes_a_peer_can_always_be_sent() -> None:
    (quoted,) = decoded(encode(Failure(1, "refused", 'no folder "\udcff\n"')))
    assert quoted == Failure(1, "refused", 'no folder "\\udcff\n"')
    (cut,) = decoded(encode(Failure(1, "refused", "x" * 2 * MAX_FRAME)))
    assert isinstance(cut, Failure)
    assert len(cut.text) == MAX_TEXT
    assert cut.text.endswith("x…")


def test_what_cbor_can_not_carry_is_our_error() -> None:
    with pytest.raises(LocalProtocolError, match="can't send Request"):
        encode(Request(1, "x", {"a": object()}))
    with pytest.raises(LocalProtocolError, match="can't send list"):
        Encoded([object()])


@given(MAPS)
def test_what_was_encoded_before_makes_no_difference(params: dict[str, Any]) -> None:
    parts = {key: Encoded(value) for key, value in params.items()}
    plain = encode(Request(1, "x", {"all": [params, params]}))
    assert encode(Request(1, "x", {"all": [parts, Encoded(params)]})) == plain
