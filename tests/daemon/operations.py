"""A user who can't make up his mind: random operations on a few sessions, as a process of its own.

``python -m tests.daemon.operations SEED COUNT`` works on the namespace that its environment names, and prints two
lines of JSON: how the operations went, once they are done, and (after a line on stdin) the attachments that it still
has, by session. It ends at the end of its stdin.

Many of these beside each other are what `tests.daemon.test_concurrency` and the soak compare with the truth.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections import Counter
from typing import Any

from toowld import paths, wire
from toowld.client import Client
from toowld.errors import AttachRefused, RefusedError, SessionNotFound, ToowlError, from_wire

#: More sessions than this are not made: each is two processes.
MAX_SESSIONS = 20

#: Attachments that one of us keeps at a time.
MAX_ATTACHED = 3

#: Few, so that they are fought over.
NAMES = [f"name{number}" for number in range(12)]

COMMANDS = [
    ["sleep", "1000"],
    ["cat"],
    ["sh", "-c", "exit 3"],
    ["sh", "-c", "printf 'some output\\n'; sleep 0.2"],
]

#: What others may have done in the meantime. Everything else is a bug.
EXPECTED = (SessionNotFound, RefusedError, AttachRefused)

#: How often each is drawn.
WEIGHTS = {
    "new": 14,
    "attach": 22,
    "detach": 18,
    "rename": 14,
    "kill": 8,
    "remove": 10,
    "restart": 6,
    "ls": 8,
}


class Attached:
    """An attachment, looked after only as much as is needed to know whether it still stands."""

    def __init__(self, client: Client, session: str) -> None:
        self.client = client
        self.session = session

    def stands(self) -> bool:
        """Take in what came, and tell whether the end was among it."""
        self.client.socket.settimeout(0)
        while True:
            try:
                data = self.client.socket.recv(1 << 16)
            except BlockingIOError:
                return True
            except ConnectionError:
                data = b""
            self.client.decoder.feed(data)
            for message in self.client.decoder.messages():
                if isinstance(message, wire.Detached | wire.Ended):
                    return False
            if not data:
                return False


class User:
    """One process's worth of operations."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._paths = paths.resolve()
        self._client = Client.connect(self._paths)
        self._sessions: list[dict[str, Any]] = []
        self._attached: list[Attached] = []
        self._clients = 0
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.slowest = 0.0

    def step(self) -> None:
        """One operation."""
        self._drop_ended()
        operation = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if operation == "new" and len(self._sessions) >= MAX_SESSIONS:
            operation = "remove"
        if operation != "new" and not self._sessions:
            operation = "ls"
        begun = time.monotonic()
        try:
            getattr(self, f"_{operation}")()
            self.done[operation] += 1
        except EXPECTED:
            self.refused[operation] += 1
        except ToowlError as error:
            self.unexpected.append(f"{operation}: {type(error).__name__}: {error}")
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def _any(self) -> str:
        session = self._random.choice(self._sessions)
        return str(self._random.choice([session["id"], session["name"] or session["id"]]))

    def _new(self) -> None:
        info = self._client.request(
            "new",
            argv=self._random.choice(COMMANDS),
            name=self._random.choice([None, *NAMES]),
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            rows=24,
            cols=80,
            persistent=self._random.random() < 0.75,
        )
        self._sessions.append(info)

    def _ls(self) -> None:
        self._sessions = self._client.request("list")["sessions"]

    def _attach(self) -> None:
        if len(self._attached) >= MAX_ATTACHED:
            self._attached.pop(self._random.randrange(MAX_ATTACHED)).client.close()
        client = Client.connect(self._paths)
        try:
            self._clients += 1
            client.post(
                "attach",
                {
                    "session": self._any(),
                    "client_id": f"{id(self):x}-{self._random.getrandbits(32):x}-{self._clients}",
                    "rows": self._random.randint(10, 50),
                    "cols": self._random.randint(40, 160),
                    "from_seq": self._random.choice([None, 0]),
                    "respawn": self._random.random() < 0.5,
                },
            )
            message = client.receive(timeout=15)
            if isinstance(message, wire.Failure):
                raise from_wire(message.code, message.text)
            assert isinstance(message, wire.Attached), message
            self._attached.append(Attached(client, str(message.about["id"])))
        except BaseException:
            client.close()
            raise

    def _detach(self) -> None:
        if self._attached and self._random.random() < 0.5:
            attached = self._attached.pop(self._random.randrange(len(self._attached)))
            with contextlib.suppress(ToowlError):  # it may be over already
                attached.client._send(wire.Detach(), time.monotonic() + 5)
            attached.client.close()
        else:
            self._client.request("detach", session=self._any(), all=True)

    def _rename(self) -> None:
        self._client.request("rename", session=self._any(), name=self._random.choice(["", *NAMES]))

    def _kill(self) -> None:
        self._client.request("kill", session=self._any(), force=self._random.random() < 0.3)

    def _remove(self) -> None:
        wanted = self._any()
        self._client.request("remove", session=wanted)
        self._sessions = [one for one in self._sessions if wanted not in (one["id"], one["name"])]

    def _restart(self) -> None:
        self._client.request(
            "restart", session=self._any(), persistent=self._random.choice([None, True, False])
        )

    def _drop_ended(self) -> None:
        for attached in list(self._attached):
            if not attached.stands():
                attached.client.close()
                self._attached.remove(attached)

    def standing(self) -> dict[str, int]:
        """Attachments that we still have, by session."""
        self._drop_ended()
        return Counter(attached.session for attached in self._attached)


def main() -> None:
    """See the module's docstring."""
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    user = User(seed)
    begun = time.monotonic()
    for _ in range(count):
        user.step()
    report = {
        "done": user.done,
        "refused": user.refused,
        "unexpected": user.unexpected,
        "slowest": user.slowest,
        "seconds": time.monotonic() - begun,
    }
    print(json.dumps(report), flush=True)
    for _ in sys.stdin:
        print(json.dumps(user.standing()), flush=True)


if __name__ == "__main__":
    main()
