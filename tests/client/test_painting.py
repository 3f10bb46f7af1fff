"""The picture is on the terminal before what moves bytes is loaded; and whatever happens then, it is given back."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.world import World, wait_until
from toowl import attach
from toowl.modes import _NORMALLY_OFF, Modes
from toowld import wire

#: On the other screen, with reports of the mouse.
PICTURE = b"\x1b[?1049h\x1b[?1000hthe picture"
CHORD = b"\x1cd"


def paint(world: World, data: bytes = PICTURE) -> None:
    """Play a session whose picture this is, until it is attached."""
    world.receive(wire.Hello)
    world.send(wire.Hello(about={"role": "daemon", "features": ["Screen"]}))
    asked = world.receive(wire.Request)
    assert asked.method == "screen"
    made = {"seq": 5, "data": data, "unfinished": b"", "fresh_line": False}
    world.send(wire.Response(asked.id, made))
    request = world.receive(wire.Request)
    assert (request.method, request.params["from_seq"]) == ("attach", 5)
    world.send(wire.Attached(5, 5, 0, {"name": "work"}))


def stopped(world: World) -> bool:
    status = Path(f"/proc/{world.process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


def go_on(world: World) -> None:
    os.kill(world.process.pid, signal.SIGCONT)


@pytest.fixture
def world() -> Iterator[World]:
    """Stops where the rest is to be loaded."""
    made = World("stops")
    yield made
    made.close()


def test_what_is_typed_meanwhile_arrives(world: World) -> None:
    paint(world)
    assert world.sees(b"the picture") == PICTURE.removesuffix(b"the picture")
    wait_until(lambda: stopped(world))
    world.type(b"typed early")
    world.send(wire.Live(5), wire.Output(5, b", and on"))
    go_on(world)
    assert world.receive_input(11) == b"typed early"
    assert world.sees(b", and on") == b"", "the picture is not painted again"
    world.type(CHORD)
    while not isinstance(message := next_message(world), wire.Detach):
        assert isinstance(message, wire.InputAck | wire.Resize | wire.Input), message
    world.send(wire.Detached("client"))
    shown = world.ends(0)
    assert b"\x1b[?1049l" in shown and b"\x1b[?1000l" in shown, "known from the picture"


def next_message(world: World) -> wire.Message:
    while (message := world.decoder.next_message()) is None:
        world.decoder.feed(world.session.recv(65536))
    return message


def test_a_slow_terminal_gets_all_of_it_once(world: World) -> None:
    lines = b"".join(b"line %d of many that are painted\r\n" % number for number in range(10_000))
    paint(world, lines)
    wait_until(lambda: stopped(world))  # although nobody takes all of that
    go_on(world)
    world.send(wire.Live(5), wire.Output(5, b"the tail"))
    assert world.sees(b"the tail") == lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_meanwhile(world: World, number: signal.Signals) -> None:
    paint(world)
    wait_until(lambda: stopped(world))
    os.kill(world.process.pid, number)
    go_on(world)
    shown = world.ends(128 + number)
    assert b"\x1b[?1049l" in shown and b"\x1b[?1000l" in shown


def test_the_terminal_goes_away_meanwhile(world: World) -> None:
    paint(world)
    wait_until(lambda: stopped(world))
    os.close(world.user)
    world.user = os.dup(world.tty)
    assert world.process.wait(20) == 128 + signal.SIGHUP


def test_the_rest_cannot_be_loaded() -> None:
    world = World("breaks")
    try:
        paint(world)
        shown = world.ends(1)
    finally:
        world.close()
    assert b"\x1b[?1049l" in shown
    assert b"ImportError: injected" in shown


def test_without_the_rest_as_much_is_switched_off() -> None:
    modes = Modes()
    on = (*_NORMALLY_OFF, 1049)
    modes.feed(b"".join(b"\x1b[?%dh" % mode for mode in on) + b"\x1b[?25l\x1b[?7l\x1b[4h\x1b[2;5r\x1b[1;31m")
    assert modes.alternate_screen and modes.reporting
    modes.feed(attach._PLAIN)
    assert modes.reset() == b""


def test_little_is_loaded_before_it() -> None:
    code = "import sys, toowl.commands.attach, toowl.commands._attaching, toowl.attach; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {
        "argparse",
        "contextlib",
        "enum",
        "functools",
        "pathlib",
        "re",
        "signal",
        "socket",
        "toowl.attachment",
        "toowl.keys",
        "toowl.loop",
        "toowl.modes",
        "typing",
    }
    assert not heavy & set(loaded.split())


def test_a_refused_attach_paints_nothing(world: World) -> None:
    world.receive(wire.Hello)
    world.send(wire.Hello(about={"role": "daemon", "features": ["Screen"]}))
    asked = world.receive(wire.Request)
    world.send(wire.Response(asked.id, {"seq": 5, "data": PICTURE, "unfinished": b"", "fresh_line": False}))
    request = world.receive(wire.Request)
    assert termios.tcgetattr(world.tty) == world.before
    world.send(wire.Failure(request.id, "attach-refused", "not now"))
    assert world.ends(4) == b"toowl: not now\r\n"
    assert not select.select([world.user], [], [], 0)[0]
