"""What keys are called for `toowl send --keys`, and which bytes each of them is."""

from __future__ import annotations

import pytest

from toowl.commands._keynames import key_bytes
from toowld import errors


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Enter", b"\r"), ("enter", b"\r"), ("Tab", b"\t"), ("Escape", b"\x1b"), ("Space", b" "),
        ("BSpace", b"\x7f"),
        ("BTab", b"\x1b[Z"), ("S-Tab", b"\x1b[Z"), ("C-c", b"\x03"), ("^C", b"\x03"), ("C-C", b"\x03"),
        ("C-[", b"\x1b"),
        ("C-\\", b"\x1c"), ("C-Space", b"\0"), ("C-@", b"\0"), ("C-?", b"\x7f"), ("C--", b"\x1f"),
        ("^", b"^"), ("-", b"-"),
        ("M-x", b"\x1bx"), ("C-M-x", b"\x1b\x18"), ("M-Enter", b"\x1b\r"), ("M--", b"\x1b-"),
        ("S-a", b"A"), ("a", b"a"),
        ("ä", "ä".encode()), ("Up", b"\x1b[A"), ("C-Up", b"\x1b[1;5A"), ("S-M-Left", b"\x1b[1;4D"),
        ("Home", b"\x1b[H"),
        ("F1", b"\x1bOP"), ("S-F1", b"\x1b[1;2P"), ("F5", b"\x1b[15~"), ("C-F12", b"\x1b[24;5~"),
        ("F20", b"\x1b[34~"),
        ("DC", b"\x1b[3~"), ("Delete", b"\x1b[3~"), ("PgUp", b"\x1b[5~"), ("NPage", b"\x1b[6~"),
        ("C-BSpace", b"\b"),
    ],
)  # fmt: skip
def test_keys(name: str, sent: bytes) -> None:
    assert key_bytes(name) == sent


@pytest.mark.parametrize(
    "name", ["", "Entr", "F0", "F21", "C-", "C-ä", "C-1", "X-a", "C-Enter", "Hyper-x", "M-"]
)
def test_no_such_key(name: str) -> None:
    with pytest.raises(errors.UsageError):
        key_bytes(name)
