"""The frozen bytes of the wire. A failure here means: a custodian of today can't be spoken to tomorrow."""

from __future__ import annotations

import pytest

from tests.wire.samples import Vector, load_vectors
from toowld.wire import FrameDecoder, Unknown, encode
from toowld.wire.messages import BY_TAG, VERSION_MAX, VERSION_MIN

VECTORS = load_vectors()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_the_released_bytes_are_still_understood(vector: Vector) -> None:
    decoder = FrameDecoder()
    decoder.feed(vector.frame)
    assert list(decoder.messages()) == [vector.message]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.sent], ids=lambda vector: vector.name)
def test_the_released_bytes_are_still_sent(vector: Vector) -> None:
    assert encode(vector.message).hex() == vector.frame.hex()


def test_every_message_has_a_vector_that_is_sent() -> None:
    assert {type(vector.message) for vector in VECTORS if vector.sent} == set(BY_TAG.values())


def test_tags_are_frozen() -> None:
    assert {cls.__name__: tag for tag, cls in BY_TAG.items()} == {
        "Hello": 0, "Output": 1, "Input": 2, "InputAck": 3, "Resize": 4, "Attached": 5, "Gap": 6, "Live": 7,
        "Ended": 8, "Detach": 9, "Detached": 10, "Ping": 11, "Pong": 12, "Lend": 13, "Lent": 14, "Returned": 15,
        "Request": 16, "Response": 17, "Failure": 18, "Event": 19, "Recall": 20, "Seen": 21,
    }  # fmt: skip


def test_version_1_stays_spoken() -> None:
    assert VERSION_MIN == 1 <= VERSION_MAX


def test_forms_of_a_newer_peer_are_among_them() -> None:
    assert any(isinstance(vector.message, Unknown) for vector in VECTORS)
