"""Hostile peers on a real daemon's and a real custodian's socket: nobody else notices, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.fuzzing import (
    COUNTER,
    HELLO,
    Frames,
    Talk,
    Watcher,
    attach,
    connect,
    messages_until_end,
    pour,
    request,
    send_with_fds,
)  # fmt: skip
from tests.daemon.steps import listed, open_files
from tests.harness import Sandbox, wait_for
from toowld.errors import RefusedError, SessionNotFound
from toowld.wire import (
    MAX_FRAME,
    Attached,
    Detached,
    Ended,
    Failure,
    Hello,
    Input,
    InputAck,
    Live,
    Output,
    Ping,
    Pong,
    Resize,
    Response,
    encode,
)  # fmt: skip

#: Frames per fuzzed socket and round. The first one that is no message ends a conversation, so more are made than
#: the 10 000 that are to be looked at.
FRAMES = 4000

#: What a process may keep after all: arenas of the allocator that one still used block holds, modules that were
#: loaded late: 22 to 25 MiB were measured for the daemon. Ten thousand leaked frames, sockets or tasks would be far
#: more.
RSS_BOUND = 32 << 20

#: Nothing, or half a frame.
SILENT = (b"", b"\0", HELLO[:-1], b"\0\x3f\xff\xff" + b"x" * 5000)

SEED = int(os.environ.get("TOOWL_FUZZ_SEED", "0")) or random.randrange(1, 1 << 32)


def held(process: psutil.Process) -> int:
    """How many descriptors it has, but for inotify's: one that got none, as others have them all, does later."""
    return sum(link != "anon_inode:inotify" for link in open_files(process.pid).values())


class World:
    """A daemon with a session that counts, one that echoes and one that has ended, and what they cost at rest."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        box.up()
        self.counter = box.new(sys.executable, "-c", COUNTER, name="counter")
        self.standard = box.new("/bin/cat", name="standard", persistent=False)
        self.other = box.new("/bin/cat", name="other")
        ended = box.new("/bin/true", name="ended")
        wait_for(lambda: box.info(ended["id"])["state"] == "ended")
        self.custodian_socket = box.paths.custodian_socket(self.counter["id"])
        self.daemon = psutil.Process(box.daemon_pid)
        self.custodian = psutil.Process(self.counter["custodian_pid"])
        self.watcher = Watcher(box.client(), "counter")
        self.watcher.check()
        self._fds = {process: self._settled(process) for process in (self.daemon, self.custodian)}
        self._rss = {process: process.memory_info().rss for process in (self.daemon, self.custodian)}
        self.silent = 0  # connections to each of the two that are meant to be still there
        self._ours = self._sessions()

    def _sessions(self) -> set[str]:
        return {item["id"] for item in listed(self.box).values()}

    def _forget_guests(self) -> None:
        """A mutated ``new`` may be a good one, for a login shell say. Its session is no leak, but it has a link."""
        with self.box.client() as client:
            for guest in self._sessions() - self._ours:
                with contextlib.suppress(RefusedError, SessionNotFound):  # it has ended, or was removed
                    client.request("kill", session=guest, force=True)
                with contextlib.suppress(SessionNotFound):
                    client.request("remove", session=guest)

    @staticmethod
    def _settled(process: psutil.Process) -> int:
        """How many descriptors it holds, once no client comes or goes."""
        seen: list[int] = []

        def same() -> bool:
            seen.append(held(process))
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        wait_for(same)
        return seen[-1]

    @staticmethod
    def _await_fds(process: psutil.Process, most: int) -> None:
        wait_for(lambda: held(process) <= most, what=f"{process} to close descriptors")

    def check(self) -> None:
        """Nobody noticed, and nothing is left."""
        self.watcher.check()
        assert self.daemon.is_running() and self.custodian.is_running()
        assert self.box.custodians()[self.counter["id"]] == self.custodian.pid
        self._forget_guests()
        for process, before in self._fds.items():
            self._await_fds(process, before + self.silent)
        text = self.box.daemon_text()
        assert "Traceback" not in text and "failed unexpectedly" not in text, text[-4000:]
        logs = list(self.box.paths.sessions.glob("*/custodian.log"))
        assert not logs, logs[0].read_text()[-4000:]

    def check_memory(self) -> None:
        for process, before in self._rss.items():
            grown = process.memory_info().rss - before
            assert grown < RSS_BOUND, f"{process} grew by {grown >> 20} MiB"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with Sandbox(forks=False) as box:  # its memory is measured, and a fork begins with less of it
        world = World(box)
        yield world
        world.watcher.close()


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    yield shared
    shared.check()


@pytest.fixture(params=["daemon", "custodian"])
def path(request: pytest.FixtureRequest, world: World) -> Path:
    """The socket to attack."""
    return world.box.paths.daemon_socket if request.param == "daemon" else world.custodian_socket


@pytest.fixture(scope="module")
def silent(shared: World) -> Iterator[list[socket.socket]]:
    """Connections that say nothing, or not enough. Made first, so that their time runs while others are tested."""
    paths = (shared.box.paths.daemon_socket, shared.custodian_socket)
    with contextlib.ExitStack() as stack:
        sockets = []
        for path in paths:
            for words in SILENT:
                sock = stack.enter_context(connect(path))
                sock.sendall(words)
                sockets.append(sock)
        shared.silent = len(SILENT)
        yield sockets


# -- ten thousand frames ---------------------------------------------------------------------------------


def good_messages(custodian: bool) -> list[list[Any]]:
    """What is mutated. Nothing that ends a session, types into the counting one or dismisses its watcher."""
    asks: list[tuple[str, dict[str, Any]]] = [
        ("status", {}), ("list", {}), ("doctor", {}), ("reload", {}), ("nonsense", {}), ("subscribe", {}),
        ("info", {"session": "counter"}), ("rename", {"session": "other", "name": "other"}), ("shutdown", {}),
        ("resize", {"session": "standard", "rows": 30, "cols": 90}), ("send", {"session": "other", "data": b"hi\r"}),
        ("read_log", {"session": "counter", "seq": 0, "limit": 1000}), ("remove", {"session": "counter"}),
        ("read_log", {"session": "ended", "seq": 0, "limit": 1}), ("set_name", {"name": "renamed"}),
        ("start", {"record": {"id": "00000000"}, "argv": ["true"], "env": {}}),
        ("handover", {"attach": {"client_id": "x", "rows": 3, "cols": 3}, "unread": b"\0\0", "request_id": 3}),
        ("new", {"argv": ["/nonexistent"], "name": "n", "cwd": "/", "env": {"A": "b"}, "rows": 24, "cols": 80}),
    ]  # fmt: skip
    if not custodian:  # which takes them for its own session, whatever they name
        asks += [
            ("kill", {"session": "nobody", "force": False}),
            ("restart", {"session": "nobody", "persistent": None, "force": True}),
            ("reconnect", {"session": "other"}),
            ("detach", {"session": "other", "client": 1}),
        ]
    attaches = [
        {
            "session": name,
            "client_id": "c",
            "rows": 24,
            "cols": 80,
            "from_seq": None,
            "replay": True,
            "respawn": False,
        }
        for name in ("counter", "standard", "other", "ended")
    ]
    attaches += [{**attaches[0], "from_seq": seq, "pid": 1, "tty": "/dev/pts/1"} for seq in (0, 1 << 40, -1)]
    return [
        *([16, number, method, params] for number, (method, params) in enumerate(asks)),
        *([16, 5, "attach", params] for params in attaches),
        [0, 1, 1, {"role": "client"}], [0, 2, 9, {}], [0, 5, 1, {}], [1, 0, b"output"], [3, 0], [4, 24, 80],
        [4, 0, 70_000], [5, 0, 0, 0, {}], [6, 0, 1], [7, 0], [8, 0, "exited", 0, None], [10, "x"], [11, 4711],
        [12, 1], [2, 0, b"typed"], [2, -1, b""], [2, 1 << 62, b"x"], [2, 0, b"x" * 70_000], [9],
        [17, 1, {}], [18, 1, "error", "x"], [19, "changed", {"state": "ended"}],
    ]  # fmt: skip


@pytest.mark.parametrize("part", [1, 2])
def test_ten_thousand_frames(world: World, silent: list[socket.socket], path: Path, part: int) -> None:
    print(f"TOOWL_FUZZ_SEED={SEED}")  # pytest shows it when this fails
    frames = Frames(SEED + part, good_messages(path == world.custodian_socket))
    todo = FRAMES
    while todo > 0:
        with connect(path) as sock:
            talk = frames.random.randint(1, 6)
            todo -= talk
            opening = HELLO if frames.random.random() < 0.95 else b""
            if frames.random.random() < 0.3:  # most of what a client says counts only when it is attached
                session = frames.random.choice(("counter", "standard", "other", "ended"))
                opening += attach(session, f"f{todo}", replay=frames.random.random() < 0.05)
            alive = pour(sock, opening + b"".join(frames.next() for _ in range(talk)))
            if alive and frames.random.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(20)
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(1 << 16):
                        pass
    world.check()
    world.check_memory()


# -- by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (request("list"), "a request before Hello"),
        (encode(Hello(2, 9)), "only newer versions"),
        (encode(Hello(5, 1)), "a range upside down"),
        (HELLO + encode(Hello(0, 0)), "a second Hello that takes it back"),
        (HELLO + b"\0\0\0\0", "an empty frame"),
        (HELLO + b"\xff\xff\xff\xff", "a frame of 4 GiB"),
        (b"GET / HTTP/1.1\r\nHost: toowld\r\n\r\n", "another protocol"),
    ],
)
def test_who_breaks_the_rules_is_hung_up_on(world: World, path: Path, words: bytes, why: str) -> None:
    with connect(path) as sock:
        sock.sendall(words)
        if words == request("list"):
            sock.shutdown(
                socket.SHUT_WR
            )  # a custodian waits for the Hello; nobody else answers one way or the other
        (first, *rest) = messages_until_end(sock)
        assert isinstance(first, Hello)
        assert not rest, why


def test_what_follows_an_attach_is_for_the_session(world: World) -> None:
    """Also when an answer to something asked before comes while the attach is under way."""
    with Talk(world.box.paths.daemon_socket) as talk:
        talk.send(
            HELLO,
            request("list", 1),
            request("info", 2, session="counter"),
            attach("standard", "early bird"),
            encode(Input(0, b"first words\r")),
            encode(Ping(4711)),
        )
        answers = {talk.until(Response).id, talk.until(Response).id}
        assert answers == {1, 2}
        assert isinstance(talk.next(), Attached)
        assert talk.until(Pong).token == 4711


@pytest.mark.parametrize("session", ["counter", "standard"])
def test_an_attached_client_that_asks_or_attaches_again(world: World, session: str) -> None:
    with Talk(world.box.paths.daemon_socket) as talk:
        talk.send(
            HELLO, attach(session, "twice"), attach("other", "twice"), request("m" * 4_000_000, 8), HELLO
        )
        assert isinstance(talk.until(Attached), Attached)
        assert talk.until(Failure).id == 9
        assert talk.until(Failure).id == 8
        talk.send(encode(Ping(1)))
        assert talk.until(Pong).token == 1


@pytest.mark.parametrize("session", ["counter", "standard"])
@pytest.mark.parametrize(
    "words",
    [
        encode(Input(1, b"x")),
        encode(Input(-1, b"x")),
        encode(Input(1 << 62, b"x")),
        encode(Input(0, b"x" * ((1 << 20) + 1))),
        encode(Resize(0, 80)),
        encode(Resize(24, 70_000)),
        encode(Resize(-1, -1)),
        encode(Output(0, b"x")),
        encode(Ended(0, "exited", 0)),
        encode(Attached(0, 0, 0)),
        encode(Live(0)),
        encode(InputAck(1 << 40)),
    ],
)
def test_an_attached_client_that_breaks_the_rules(world: World, session: str, words: bytes) -> None:
    with connect(world.box.paths.daemon_socket) as sock:
        sock.sendall(HELLO + attach(session, "rude") + words)
        last = messages_until_end(sock)[-1]
        assert isinstance(last, Detached)
        assert last.reason.startswith("protocol error: ")
    with connect(world.box.paths.daemon_socket) as sock:  # the same, and gone before it can be told
        sock.sendall(HELLO + attach(session, "rude") + words)


@pytest.mark.parametrize("session", ["counter", "standard", "ended"])
@pytest.mark.parametrize(
    "params",
    [
        {"from_seq": -1},
        {"from_seq": (1 << 64) - 1},
        {"rows": 0, "cols": 0},
        {"rows": 70_000, "cols": 80},
        {"rows": 24},
        {"client_id": ""},
        {"client_id": "x" * 65},
        {"client_id": b"\xff" * 64, "tty": b"\xff" * 257},
        {"tty": "a\0b"},
        {"pid": "one"},
        {"rows": 24, "cols": 80, "read_only": 1},
    ],
)
def test_an_impossible_attach(world: World, session: str, params: dict[str, Any]) -> None:
    with connect(world.box.paths.daemon_socket) as sock:
        pour(sock, HELLO + attach(session, **params) + request("status", 8))
        sock.shutdown(socket.SHUT_WR)
        failures = [m for m in messages_until_end(sock) if isinstance(m, Failure)]
        assert failures[0].id == 9


def test_texts_that_no_frame_and_no_program_can_hold(world: World) -> None:
    with Talk(world.box.paths.daemon_socket) as talk:
        talk.send(HELLO)
        attaching: dict[str, Any] = {"session": "counter", "client_id": "x"}
        room = MAX_FRAME - len(
            request("attach", **attaching, filler=b"")
        )  # the daemon can't wrap it once more
        good: dict[str, Any] = {
            "argv": ["/bin/true"],
            "name": None,
            "cwd": "/",
            "env": {},
            "rows": 24,
            "cols": 80,
        }
        asks: list[tuple[str, dict[str, Any]]] = [
            ("info", {"session": b"\xff\xfe"}),
            ("info", {"session": "x" * 4_000_000}),
            ("y" * 4_000_000, {}),
            ("rename", {"session": "other", "name": b"\xff"}),
            ("new", {**good, "cwd": b"/\xff"}),
            ("new", {**good, "cwd": "/\0"}),
            ("new", {**good, "argv": ["/bin/true", "a\0b"]}),
            ("new", {**good, "argv": [b"/\xff"]}),
            ("new", {**good, "argv": [b"/\xff"], "persistent": False}),
            ("new", {**good, "cwd": b"/\xff", "persistent": False}),
            ("new", {**good, "argv": [""]}),
            ("new", {**good, "argv": [], "cwd": ""}),
            ("new", {**good, "env": {"A=B": "c"}}),
            ("new", {**good, "argv": ["/bin/true", "x" * 3_000_000]}),
            ("attach", {**attaching, "filler": b"x" * room}),
            ("send", {"session": "other", "data": b"x" * 2_000_000}),
            ("resize", {"session": "other", "rows": 0, "cols": -1}),
            ("read_log", {"session": "counter", "seq": "0"}),
        ]
        for number, (method, params) in enumerate(asks):
            talk.send(request(method, number + 1, **params))
            failure = talk.until(Failure)
            assert failure.id == number + 1


@pytest.mark.parametrize("seq", [-(1 << 63), -1, 0, 1 << 40, (1 << 64) - 1])
def test_a_log_is_read_from_anywhere(world: World, seq: int) -> None:
    with Talk(world.box.paths.daemon_socket) as talk:
        talk.send(HELLO)
        for limit in (-1, 0, 1, 1 << 63):
            talk.send(request("read_log", session="counter", seq=seq, limit=limit))
            assert isinstance(talk.until(Response), Response)


def hand_over(unread: bytes) -> bytes:
    return request("handover", attach={"client_id": "given", "rows": None}, unread=unread, request_id=3)


def test_descriptors_that_nobody_asked_for(world: World, path: Path) -> None:
    """Each kind of frame with some, one in pieces, and handovers that bring too few, too many and the wrong ones."""
    ours, its = socket.socketpair()
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, its, datagram, Path("/dev/null").open("rb") as null:
        params: dict[str, Any] = {
            "attach": {"client_id": "given", "rows": None},
            "unread": b"\0\0\0\1\0",
            "request_id": 3,
        }
        handover = request("handover", **params)
        for words in (
            HELLO,
            encode(Hello(9, 9)),
            request("status"),
            request("nonsense"),
            attach("counter", "with fds"),
            attach("counter", "with fds") + encode(Ping(1)) + encode(Input(5, b"x")),
            handover,
            b"\xff\xff",
        ):
            for fds in (
                [null.fileno()],
                [null.fileno(), its.fileno()],
                [null.fileno()] * 4,
                [null.fileno()] * 50,
            ):
                with connect(path) as sock:
                    if words != HELLO:
                        sock.sendall(HELLO)
                    for start in range(0, len(words), 1000):
                        send_with_fds(sock, words[start : start + 1000], fds)
        for fds in (
            [null.fileno()],
            [datagram.fileno()],
            [path_socket.fileno() for path_socket in (ours, its)],
        ):
            with Talk(path) as talk:
                talk.send(HELLO)
                send_with_fds(talk.sock, handover, fds)
                talk.send(request("nonsense", 8))
                assert talk.until(Failure).id in (7, 8)
        with Talk(path) as talk:
            talk.send(HELLO)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for _ in range(200):  # a frame that never ends, each byte with descriptors
                    send_with_fds(talk.sock, b"\0", [null.fileno()] * 4)


def test_a_session_can_be_handed_garbage(world: World) -> None:
    for unread in (b"", b"\0\0\0\0", b"\xff" * 10, encode(Input(7, b"x")), b"\0\0\0\5\x9f"):
        ours, its = socket.socketpair()
        with Talk(world.custodian_socket) as talk, ours:
            with its:
                talk.send(HELLO)
                send_with_fds(talk.sock, hand_over(unread), [its.fileno()])
            assert talk.until(Response).id == 7
            ours.shutdown(socket.SHUT_WR)
            assert isinstance(messages_until_end(ours)[0], Attached)


# -- slow, greedy and many -------------------------------------------------------------------------------


def test_byte_by_byte(world: World, path: Path) -> None:
    with Talk(path) as talk:
        for byte in HELLO + request("info", session="counter") + attach("counter", "slow", replay=False):
            talk.send(bytes([byte]))
        assert talk.until(Response).id == 7
        begin = talk.until(Attached).input_seq
        for byte in encode(Input(begin, b"abc")):
            talk.send(bytes([byte]))
        while talk.until(InputAck).seq < begin + 3:
            pass


@pytest.mark.parametrize("attached", [False, True])
def test_who_asks_for_ever_and_never_reads(world: World, path: Path, attached: bool) -> None:
    """It is not read from any more after a while, so it costs nobody more than that."""
    process = world.daemon if path == world.box.paths.daemon_socket else world.custodian
    before = process.memory_info().rss
    with connect(path) as sock:
        opening, words = HELLO, request("list") if process is world.daemon else request("info")
        if attached:
            opening, words = HELLO + attach("counter", "greedy", replay=False), encode(Ping(1))
        sock.sendall(opening)
        sock.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            while sent < 64 << 20:
                sent += sock.send(words * 1000)
        assert sent < 64 << 20
        world.watcher.check()
        assert process.memory_info().rss - before < RSS_BOUND


def test_an_attached_client_that_never_reads_a_flood(world: World) -> None:
    box = world.box
    with connect(box.paths.daemon_socket) as stuck, Talk(box.paths.daemon_socket) as good:
        flood = box.new("/bin/sh", "-c", "read x; seq 1000000; read x; exit 7", name="flood")
        stuck.sendall(HELLO + attach("flood", "stuck"))
        good.send(HELLO, attach("flood", "good"))
        good.until(Live)
        good.send(encode(Input(0, b"\r")))
        tail = b""
        while not tail.endswith(b"1000000\r\n"):
            tail = (tail + good.until(Output).data)[-20:]
        world.watcher.check()
        good.send(encode(Input(1, b"\r")))
        assert good.until(Ended).code == 7
    wait_for(lambda: box.info(flood["id"])["state"] == "ended")


def test_three_hundred_at_once(world: World, path: Path) -> None:
    chance = random.Random(SEED)
    openings = (
        b"",
        HELLO,
        HELLO + request("info", session="counter"),
        HELLO + attach("counter", replay=False),
    )
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(path)) for _ in range(300)]
        for sock in sockets:
            sock.sendall(chance.choice(openings))
        world.watcher.check()
        chance.shuffle(sockets)
        for sock in sockets:
            sock.close()
    with Talk(path) as talk:
        talk.send(HELLO, request("info", session="counter"))
        assert talk.until(Response).result["pid"] == world.counter["pid"]


# -- at the end ------------------------------------------------------------------------------------------


def test_who_says_nothing_is_dropped(world: World, silent: list[socket.socket]) -> None:
    for sock in silent:
        (greeting,) = messages_until_end(sock)
        assert isinstance(greeting, Hello)
    world.silent = 0


def test_memory_comes_back(world: World) -> None:
    world.check()
    world.check_memory()
