"""Terminals that change hands at any moment, whatever else happens: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import os
import random

import pytest

from tests.host.lender import Lender, User, attach, ready, taken
from tests.host.rig import Rig, logged
from toowld.session import events as ev
from toowld.wire import Gap, Input, Lent, Recall

CHILD = """
import os, tty
tty.setraw(0)
os.write(1, b"ready")
while data := os.read(0, 65536):
    data = data.replace(b".", b"x" * 3000)
    while data:
        data = data[os.write(1, data):]
"""

#: What is typed: its period is prime to every piece, and it has the beginnings of stops, and stops.
PERIOD = b"abcdefghijklmno\x1cpqr\x1b[92;5ustu\x1b[9vw\x1b[27;xyz\x1b\x1b[20ABCD\x1b[200~EFGHIJKLM"


class Typist:
    """Types at a terminal whoever reads it, and is the client that reads it while nobody else does."""

    def __init__(self, lender: Lender) -> None:
        self.lender = lender
        self.typed = b""
        self.passed_on = 0
        self.returned = 0
        self.waiting = b""

    def type(self, count: int) -> None:
        data = bytes(PERIOD[(len(self.typed) + at) % len(PERIOD)] for at in range(count))
        self.typed += data
        self.lender.user.type(data)

    def through(self, taken: int) -> bool:
        """Whether the session has taken all."""
        self.turn()
        return taken == len(self.typed)

    def turn(self) -> None:
        """Pass on what is the client's."""
        lender = self.lender
        if lender.returned > self.returned:
            self.returned += 1
            assert lender.returned == self.returned
            self.waiting += lender.last_returned.typed
            self.passed_on = lender.last_returned.input_seq
        if lender.loan is None and not lender.offered:
            if lender.user.unread:
                self.waiting += os.read(lender.user.tty, 4096)
            if self.waiting:
                lender.send(Input(self.passed_on, self.waiting))
                self.passed_on += len(self.waiting)
                self.waiting = b""


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_whenever_the_terminal_changes_hands(rig: Rig, user: User, seed: int) -> None:
    chance = random.Random(seed)
    rig.start("python3", "-c", CHILD)
    lender = ready(attach(rig, user))
    typist = Typist(lender)
    for _ in range(150):
        match chance.choice(
            ["lend", "lend", "take back", "type", "type", "type", "flood", "read", "stop", "turn"]
        ):
            case "lend" if lender.loan is None and not lender.offered and not typist.waiting:
                if lender.acked == typist.passed_on:
                    lender.offer()
            case "take back" if lender.loan is not None:
                lender.page.revoke()
                if chance.random() < 0.7:
                    lender.send(Recall())
            case "type" if len(typist.typed) - taken(rig) < 1000:
                typist.type(chance.randint(1, 120))
            case "flood":
                rig.host.tell(ev.Injected(b"." * chance.randint(1, 30)))
            case "read":
                user.read()
                lender.read()
            case "stop":
                (user if chance.random() < 0.6 else lender).stop_reading()
        for _ in range(chance.randint(0, 3)):
            rig.driver.turn()
            typist.turn()
    user.read()
    lender.read()
    if lender.loan is not None or lender.offered:
        lender.page.revoke()
        lender.send(Recall())
        rig.until(lambda: lender.loan is None and not lender.offered)
    rig.until(lambda: typist.through(taken(rig)), "all that was typed")
    rig.host.tell(ev.Injected(b"THE END"))
    lender.expect_output(b"THE END")
    output = logged(rig)
    assert lender.output == output
    assert not lender.skipped
    assert output.replace(b"x" * 3000, b"") == b"ready" + typist.typed + b"THE END"
    assert any(isinstance(message, Lent) for message in lender.messages)
    assert not any(isinstance(message, Gap) for message in lender.messages)
    assert user.held == 1
