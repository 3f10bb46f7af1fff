"""Text that is not UTF-8 comes through the wire as the bytes that it was."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toowld.errors import LocalProtocolError
from toowld.wire import FrameDecoder, Request, encode
from toowld.wire.text import pack_text, unpack_text

#: What the kernel may hand us as an argument, a variable or a path: any bytes but NUL.
KERNEL_TEXT = st.binary(max_size=64).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)


def sent(params: dict[str, Any]) -> Any:
    decoder = FrameDecoder()
    decoder.feed(encode(Request(1, "new", params)))
    message = decoder.next_message()
    assert isinstance(message, Request)
    return message.params


@given(st.lists(KERNEL_TEXT), st.dictionaries(KERNEL_TEXT, KERNEL_TEXT))
def test_any_text_of_the_kernel_comes_through(argv: list[str], env: dict[str, str]) -> None:
    given_params = {"argv": argv, "env": env}
    assert unpack_text(sent({name: pack_text(value) for name, value in given_params.items()})) == given_params


def test_plain_text_stays_text() -> None:
    assert pack_text({"a": ["b", 1, None, True]}) == {"a": ["b", 1, None, True]}
    assert unpack_text({"a": ["b", 1, None, True]}) == {"a": ["b", 1, None, True]}


def test_only_what_is_not_utf8_becomes_bytes() -> None:
    assert pack_text(["caf\u00e9", os.fsdecode(b"caf\xe9")]) == ["caf\u00e9", b"caf\xe9"]


def test_unpacked_it_is_refused_here_not_there() -> None:
    with pytest.raises(LocalProtocolError, match="can't send Request"):
        encode(Request(1, "new", {"cwd": os.fsdecode(b"\xff")}))
