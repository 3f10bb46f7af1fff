"""What toowl does not understand, and need not: it goes to the terminal that is attached, and comes back, unchanged.

Both ways: with the terminal lent to the session, and in frames, as over a line that passes no terminal on.
"""

from __future__ import annotations

import base64
import contextlib
import random
from collections.abc import Callable, Iterator

import pytest

from tests.client.cutter import Cutter
from tests.client.test_lending_live import RAW, Lent, shown
from tests.harness import Sandbox, Terminal

_NOISE = random.Random(6).randbytes(150_000)
_TEXT = base64.b64encode(_NOISE)


def _kitty(data: bytes) -> bytes:
    """A picture as kitty gets it: in chunks."""
    chunks = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    first = b"a=T,f=100,q=2,"
    last = len(chunks) - 1
    return b"".join(
        b"\x1b_G%sm=%d;%s\x1b\\" % (b"" if n else first, n < last, chunk) for n, chunk in enumerate(chunks)
    )


_SIXEL = b"".join(b"#%d!%d%c$" % (n % 256, n % 90, 63 + n % 64) for n in range(20_000))

OUTPUT = {
    "clipboard (OSC 52)": b"\x1b]52;c;" + _TEXT + b"\x07",
    "sixel": b'\x1bP0;1;8q"1;1;640;480' + _SIXEL + b"\x1b\\",
    "picture of kitty's": _kitty(_TEXT),
    "picture of iTerm2's": b"\x1b]1337;File=inline=1;size=150000:" + _TEXT + b"\x07",
    "keyboard of kitty's": b"\x1b[>1u\x1b[=15;1u\x1b[?u\x1b[<u\x1b[>31u",
    "keyboard of xterm's": b"\x1b[>4;2m\x1b[>4;1m\x1b[?4m\x1b[>4m\x1b[>1;3f",
    "whatever": b"\x1b]133;A\x07\x1b]9;4;1;50\x07\x1b]99;i=1;hi\x1b\\\x1b]22;pointer\x07\x1b_x\x1b\\",
    "no UTF-8": bytes(range(256)) * 40,
}
INPUT = {
    "keys of kitty's": b"\x1b[97;5u\x1b[57441;2:1u\x1b[97:65;2;65u\x1b[57441;1:3u\x1b[27u\x1b[1;1:2A",
    "keys of xterm's": b"\x1b[27;5;97~\x1b[27;6;13~",
    "clipboard": b"\x1b]52;c;" + _TEXT + b"\x07",
    "answers": b"\x1b[?62;4;22c\x1bP>|XTerm(390)\x1b\\\x1b_Gi=31;OK\x1b\\\x1b[?31u\x1b]11;rgb:0/0/0\x07\x1b[5;5R",
    "mouse": b"\x1b[<0;12;30M\x1b[<0;12;30m\x1b[M !!",
    "no UTF-8": bytes(byte for byte in range(256) if byte != 0x1C) * 40,
}


@pytest.fixture(params=["lent", "framed"])
def attach(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Callable[[str], Terminal]]:
    """Makes a session of a script, and attaches a terminal to it."""
    sandbox.up()
    kept = Lent(sandbox, True)
    with contextlib.ExitStack() as stack:

        def attached(script: str) -> Terminal:
            if request.param == "lent":
                return kept.lent(script)
            kept.start(script)
            return shown(stack.enter_context(Cutter(sandbox, kept.id)).attach(kept.id))

        yield attached


def test_output_arrives_as_it_is(sandbox: Sandbox, attach: Callable[[str], Terminal]) -> None:
    terminal = attach(f"{RAW} while read -r line; do cat printed; printf '<E''ND>'; done")
    for what, output in OUTPUT.items():
        (sandbox.home / "printed").write_bytes(output)
        terminal.forget()
        terminal.send("\n")
        terminal.expect("<END>")
        assert terminal.output == output + b"<END>", what


def test_input_arrives_as_it_is(sandbox: Sandbox, attach: Callable[[str], Terminal]) -> None:
    terminal = attach(f"{RAW} while read -r size; do head -c $size > typed; printf '<E''ND>'; done")
    for what, typed in INPUT.items():
        terminal.forget()
        terminal.send(
            b"%d\n" % len(typed) + typed
        )  # the shell reads no byte more than its line from a terminal
        terminal.expect("<END>")
        assert (sandbox.home / "typed").read_bytes() == typed, what
