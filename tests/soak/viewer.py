"""A client over the wire: follows a session through every cut, checks each byte, and types what must arrive once."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time
from typing import Any

from tests.soak.lines import Tracker
from tests.soak.world import Place, World
from toowld import wire
from toowld.client import Client
from toowld.errors import ToowlError

TOKEN = 12
#: Unacknowledged input in flight, as the protocol allows.
WINDOW = 256 << 10
PIECE = 64 << 10


def typed(start: int, end: int, high: bool) -> bytes:
    """The part of a typist's text: numbered tokens, so that each byte has its place. ``high``: with bit 7 set."""
    first, last = start // TOKEN, -(-end // TOKEN)
    text = b"".join(b"<%010d>" % number for number in range(first, last))[start - first * TOKEN :][
        : end - start
    ]
    return bytes(byte | 0x80 for byte in text) if high else text


class Typing:
    """What one client types into one run of the child."""

    def __init__(self, run: int, start: int) -> None:
        self.run = run
        self.offset = start  # the session's number for our first byte
        self.sent = 0
        self.acked = 0


class Viewer(threading.Thread):
    """One client.

    Args:
        types: whether it types; ``high`` keeps two typists in one session apart.
        manner: "steady", "slow" (reads little at a time), "moody" (stops reading for seconds), "forgetful" (begins
            anew after a cut).
    """

    def __init__(
        self, world: World, place: Place, seed: int, manner: str, *, types: bool = False, high: bool = False
    ) -> None:
        super().__init__(name=f"{place.name}/{manner}{'/types' if types else ''}", daemon=True)
        self.world = world
        self.place = place
        self.manner = manner
        self.types = types
        self.high = high
        self.tracker = Tracker(place.truth, self.name)
        self.typing: Typing | None = None
        self.finished: list[Typing] = []
        self.quiet = threading.Event()  # type no more, cut no more
        self.leave = threading.Event()
        self._random = random.Random(seed)
        self._client_id = f"soak-{seed}"
        self._client: Client | None = None
        self._cut_at = 0.0
        self._type_at = 0.0
        self._begun = False
        self._pid = 0
        self._child_seq: int | None = None
        self._input_seq = 0

    # --- life -------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until told to leave."""
        try:
            while not self.leave.is_set():
                try:
                    if self._connect():
                        self._serve()
                except (ToowlError, OSError):
                    pass  # that is the life of a client here; what is wrong shows in what arrives
                self._hang_up()
                away = self._random.uniform(0.02, 0.2)
                if self._random.random() < 0.1 and not self.quiet.is_set():
                    away = self._random.uniform(
                        2, 10
                    )  # a train in a tunnel: what is dropped meanwhile is a gap
                self.leave.wait(away)
        except Exception as error:
            self.world.problem(f"{self.name}: {type(error).__name__}: {error}")
            raise

    @property
    def settled(self) -> bool:
        """Whether all that was typed was acknowledged."""
        return self.typing is None or self.typing.acked == self.typing.sent

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connect(self) -> bool:
        direct = self._random.random() < 0.2
        path = self.world.box.paths.custodian_socket(self.place.id)
        try:
            client = Client.connect_path(path) if direct else Client.connect(self.world.box.paths)
        except ToowlError:
            if direct:
                return False
            client = Client.connect_path(path)
        self._client = client
        anew = not self._begun or (self.manner == "forgetful" and not self.quiet.is_set())
        params: dict[str, Any] = {
            "session": self.place.id,
            "client_id": self._client_id,
            "rows": 24,
            "cols": 80,
            "from_seq": None if anew else self.tracker.seq,
            "respawn": self.place.mortal,
            "pid": os.getpid(),
            "read_only": not self.types,
        }
        client.post("attach", params)
        while True:
            message = client.receive(timeout=10)
            if isinstance(message, wire.Attached):
                break
            if isinstance(message, wire.Failure):
                if message.code == "protocol":
                    self.world.problem(f"{self.name}: attach from {params['from_seq']}: {message.text}")
                return False
        self._attached(message, anew)
        return True

    def _attached(self, message: wire.Attached, anew: bool) -> None:
        self.world.count("attaches over the wire")
        if anew:
            self.tracker.restart(message.seq)
        elif message.seq != self.tracker.seq:
            self.world.problem(f"{self.name}: asked for {self.tracker.seq}, got {message.seq}")
            self.tracker.restart(message.seq)
        self._begun = True
        self._cut_at = time.monotonic() + self._random.expovariate(1 / 4)
        if self.types:
            self._resume_typing(message)

    def _resume_typing(self, message: wire.Attached) -> None:
        pid, child_seq = int(message.about.get("pid") or 0), message.about.get("child_seq")
        if self.typing is not None and (pid, child_seq) != (self._pid, self._child_seq):
            self.finished.append(self.typing)  # another child: what is on its way to the old one is lost
            self.typing = None
        self._pid, self._child_seq, self._input_seq = pid, child_seq, message.input_seq
        if self.typing is None:
            return
        have = message.input_seq - self.typing.offset
        if not self.typing.acked <= have <= self.typing.sent:
            self.world.problem(f"{self.name}: {have} bytes were taken, of {self.typing.sent}")
            return
        # Both are allowed: from where the session goes on, or from where it last said so. Nothing is doubled.
        begin = have if self._random.random() < 0.5 else self.typing.acked
        self.world.count("bytes typed again after a cut", self.typing.sent - begin)
        if begin == self.typing.sent > self.typing.acked:
            # It has all, and its acknowledgement was lost with the connection: ask for it once more.
            assert self._client is not None
            self._client.socket.sendall(wire.encode(wire.Input(self.typing.offset + begin, b"")))
        self._send_input(begin, self.typing.sent)

    # --- attached ---------------------------------------------------------------------------------------

    def _serve(self) -> None:
        assert self._client is not None
        client = self._client
        data = b""
        while not self.leave.is_set():
            client.decoder.feed(data)  # which holds what came together with `Attached`, at first
            for message in client.decoder.messages():
                if not self._message(message):
                    return
            data = b""
            now = time.monotonic()
            if now >= self._cut_at and not self.quiet.is_set():
                self._cut()
                return
            self._mood()
            if self.types and not self.quiet.is_set() and now >= self._type_at:
                self._type()
            client.socket.settimeout(0.05)
            try:
                data = client.socket.recv(16 << 10 if self.manner == "slow" else 256 << 10)
            except TimeoutError:
                continue
            if not data:
                return

    def _message(self, message: wire.Message) -> bool:
        match message:
            case wire.Output(seq, data):
                self.tracker.output(seq, data)
            case wire.Gap(start, end):
                self.tracker.gap(start, end)
            case wire.InputAck(seq) if self.typing is not None:
                acked = seq - self.typing.offset
                if not self.typing.acked <= acked <= self.typing.sent:
                    self.world.problem(f"{self.name}: acknowledged {acked} of {self.typing.sent}")
                self.typing.acked = max(self.typing.acked, acked)
            case wire.Ended(reason=reason):
                if not self.place.mortal:
                    self.world.problem(f"{self.name}: the session ended ({reason})")
                return False
            case wire.Detached(reason):
                if reason != "replaced":
                    self.world.problem(f"{self.name}: detached: {reason}")
                return False
        return True

    def _mood(self) -> None:
        if self.quiet.is_set():
            return
        if self.manner == "slow":
            self.leave.wait(0.02)
        elif self.manner == "moody" and self._random.random() < 0.005:
            self.leave.wait(self._random.uniform(2, 8))

    def _cut(self) -> None:
        """Hang up without a word; sometimes in the middle of a frame."""
        self.world.count("connections cut")
        assert self._client is not None
        if self.typing is not None and self._random.random() < 0.5:
            end = self.typing.sent + 1000
            frame = wire.encode(
                wire.Input(self.typing.offset + self.typing.sent, typed(self.typing.sent, end, self.high))
            )
            with contextlib.suppress(OSError):
                self._client.socket.send(
                    frame[: self._random.randint(1, len(frame) - 1)], socket.MSG_DONTWAIT
                )

    # --- typing -----------------------------------------------------------------------------------------

    def _type(self) -> None:
        if self.typing is None:
            run = self.place.run_of(self._pid)
            if run is None:
                return  # it does not listen yet
            self.typing = Typing(run, self._input_seq)
        room = WINDOW - (self.typing.sent - self.typing.acked)
        size = self._random.randint(1, 30)
        self._type_at = time.monotonic() + self._random.uniform(0.02, 0.15)
        if self._random.random() < 0.01:
            size = self._random.randint(10_000, 200_000)  # a paste
        size = min(size, room)
        if size > 0:
            self.typing.sent += size
            self.world.count("bytes typed", size)
            self._send_input(self.typing.sent - size, self.typing.sent)
            if size > 1000 and self._random.random() < 0.5:
                self._cut_at = 0.0  # in the middle of it

    def _send_input(self, start: int, end: int) -> None:
        assert self._client is not None and self.typing is not None
        self._client.socket.settimeout(5)
        for at in range(start, end, PIECE):
            piece = typed(at, min(at + PIECE, end), self.high)
            self._client.socket.sendall(wire.encode(wire.Input(self.typing.offset + at, piece)))
