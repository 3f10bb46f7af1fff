"""`FrameSocket` over real socket pairs: in parts, with descriptors, against peers that go or play foul."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.rig import Driver, open_fds
from toowld.host.sockets import FrameSocket, is_peer_us, is_socket_of_ours, listen, peer_uid_pid
from toowld.wire import FrameDecoder, Hello, Message, Output, Ping, Pong, Request, encode


class End:
    """A FrameSocket and what it told its owner; ``raw`` is the bare other end."""

    def __init__(self, driver: Driver, *, unread: bytes = b"") -> None:
        ours, self.raw = socket.socketpair()
        self.raw.setblocking(False)
        self.driver = driver
        self.messages: list[tuple[Message, list[int]]] = []
        self.closed: list[str] = []
        self.sent: list[int] = []
        self.rooms = 0
        self.frames = FrameSocket(
            ours,
            driver.loop,
            on_message=lambda message, fds: self.messages.append((message, fds)),
            on_close=self.closed.append,
            on_sent=self.sent.append,
            on_room=self._on_room,
            unread=unread,
        )

    def _on_room(self) -> None:
        self.rooms += 1

    @property
    def plain(self) -> list[Message]:
        return [message for message, _fds in self.messages]

    def read_all(self, count: int) -> bytes:
        """Read ``count`` bytes at the other end."""
        data = bytearray()

        def more() -> bool:
            with contextlib.suppress(BlockingIOError):
                data.extend(self.raw.recv(1 << 20))
            return len(data) >= count

        self.driver.until(more, f"{count} bytes")
        return bytes(data)

    def close(self) -> None:
        self.frames.close()
        self.raw.close()
        for _message, fds in self.messages:
            for fd in fds:
                os.close(fd)
        self.messages.clear()


@pytest.fixture
def end(driver: Driver) -> Iterator[End]:
    end = End(driver)
    yield end
    end.close()


def identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def big(size: int = 3 << 20) -> bytes:
    return encode(Output(0, bytes(range(256)) * (size // 256)))


# --- bytes in parts -------------------------------------------------------------------------------------


def test_byte_at_a_time_and_all_at_once_are_the_same(end: End) -> None:
    wanted = [Hello(about={"role": "client"}), Ping(1), Request(2, "info", {"a": [1, "x"]}), Output(9, b"z")]
    stream = b"".join(encode(message) for message in wanted)
    for at in range(len(stream)):
        end.raw.send(stream[at : at + 1])
        end.driver.turn()
    end.driver.until(lambda: end.plain == wanted)
    end.raw.send(stream)
    end.driver.until(lambda: end.plain == wanted * 2)


def test_a_frame_larger_than_the_kernel_takes_goes_out_in_parts(end: End) -> None:
    frame = big()
    end.frames.send(frame)
    end.frames.send(encode(Ping(5)))
    assert 0 < end.frames.queued < len(frame) + 20, "the kernel took some of it"
    data = end.read_all(len(frame) + len(encode(Ping(5))))
    assert data == frame + encode(Ping(5))
    end.driver.until(lambda: end.sent and end.sent[-1] == 0)
    assert end.frames.queued == 0
    assert end.sent == sorted(end.sent, reverse=True)


def test_what_was_read_before_is_delivered_first(driver: Driver) -> None:
    frame = encode(Ping(1))
    end = End(driver, unread=frame + frame[:3])
    try:
        assert not end.messages, "not before the owner is ready"
        end.frames.process_unread()
        assert end.plain == [Ping(1)]
        end.raw.send(frame[3:])
        driver.until(lambda: end.plain == [Ping(1), Ping(1)])
    finally:
        end.close()


def test_room_is_told_once_and_from_the_loop(end: End) -> None:
    end.frames.watch_room()
    end.frames.watch_room()
    assert end.rooms == 0, "not at once"
    end.driver.until(lambda: end.rooms)
    for _ in range(3):
        end.driver.turn()
    assert (end.rooms, end.sent) == (1, [])


def test_there_is_no_room_before_all_is_taken(end: End) -> None:
    frame = big()
    end.frames.send(frame)
    end.frames.watch_room()
    for _ in range(3):
        end.driver.turn()
    assert end.rooms == 0
    end.read_all(len(frame))
    end.driver.until(lambda: end.rooms)
    assert end.frames.queued == 0


def test_what_is_sent_while_room_is_awaited_goes_out_at_once(end: End) -> None:
    end.frames.watch_room()
    end.frames.send(encode(Ping(1)))
    assert end.frames.queued == 0
    assert end.raw.recv(100) == encode(Ping(1))


def test_who_is_told_of_room_may_send_and_ask_again(end: End) -> None:
    frame = encode(Output(0, b"x" * (64 << 10)))
    left = 50

    def more() -> None:
        nonlocal left
        end.rooms += 1
        end.frames.send(frame)
        if left := left - 1:
            end.frames.watch_room()

    end.frames.on_room = more
    end.frames.watch_room()
    end.read_all(50 * len(frame))
    assert (end.rooms, left, end.frames.queued) == (50, 0, 0)


# --- descriptors ----------------------------------------------------------------------------------------


def test_two_frames_with_descriptors_behind_a_full_socket(end: End) -> None:
    """Each arrives with its own frame, and our copies are closed once they have gone."""
    other = End(end.driver)
    pipes = [os.pipe() for _ in range(2)]
    wanted = [identity(read_end) for read_end, _ in pipes]
    try:
        fill = big()
        end.frames.send(fill)
        for number, (read_end, _) in enumerate(pipes):
            end.frames.send(encode(Request(number, "handover")), [read_end])
            end.frames.send(encode(Ping(number)))
        receiver = FrameSocket(
            end.raw.dup(),
            end.driver.loop,
            on_message=lambda message, fds: other.messages.append((message, fds)),
            on_close=other.closed.append,
        )
        end.driver.until(lambda: len(other.messages) == 5)
        receiver.close()
        fds = {type(m).__name__ + str(getattr(m, "id", "")): fds for m, fds in other.messages}
        assert [identity(fds[f"Request{n}"][0]) for n in range(2)] == wanted
        assert [len(found) for _message, found in other.messages] == [0, 1, 0, 1, 0]
        assert all(os.get_inheritable(found[0]) is False for _m, found in other.messages if found)
        opened = list(open_fds().values())
        for _, write_end in pipes:
            assert opened.count(os.readlink(f"/proc/self/fd/{write_end}")) == 2, "it, and what was received"  # noqa: PTH115
    finally:
        other.close()
        for _, write_end in pipes:
            os.close(write_end)


def test_a_descriptor_stays_with_its_frame_when_others_are_read_along(end: End) -> None:
    """The kernel gives one read bytes from before the descriptor together with it (unix(7)): whose is it?"""
    read_end, write_end = os.pipe()
    first, second = encode(Request(1, "info")), encode(Request(2, "handover"))
    end.raw.send(first)
    socket.send_fds(end.raw, [second], [read_end])
    end.driver.until(lambda: len(end.messages) == 2)
    assert [len(fds) for _message, fds in end.messages] == [0, 1]
    assert identity(end.messages[1][1][0]) == identity(read_end)
    os.close(read_end)
    os.close(write_end)


def test_a_descriptor_stays_with_a_frame_that_comes_in_parts(end: End) -> None:
    read_end, write_end = os.pipe()
    frame = big(1 << 20)
    end.raw.setblocking(True)
    end.raw.send(encode(Ping(1)))
    socket.send_fds(end.raw, [frame[:10]], [read_end])
    os.close(read_end)
    end.driver.until(lambda: len(end.messages) == 1)
    end.raw.setblocking(False)
    rest = memoryview(frame + encode(Ping(2)))[10:]

    def pushed() -> bool:
        nonlocal rest
        if rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[end.raw.send(rest) :]
        return len(end.messages) == 3

    end.driver.until(pushed)
    assert [len(fds) for _message, fds in end.messages] == [0, 1, 0]
    os.close(write_end)


def test_unclaimed_and_unsent_descriptors_are_closed(end: End) -> None:
    before = open_fds()
    pipes = [os.pipe() for _ in range(3)]
    frame = encode(Request(1, "handover"))
    socket.send_fds(end.raw, [frame[:3]], [pipes[0][0]])  # its frame never ends
    end.driver.turn()
    end.driver.turn()
    end.frames.send(big())
    end.frames.send(frame, [pipes[1][0]])  # never goes out
    end.frames.close()
    end.frames.send(frame, [pipes[2][0]])  # too late
    os.close(pipes[0][0])
    for _, write_end in pipes:
        os.close(write_end)
    left = set(open_fds()) - set(before)
    assert not left


def test_a_peer_that_heaps_up_descriptors_is_dropped(end: End) -> None:
    """A frame that never ends, with descriptors at every byte, must not use up all that we may open."""
    before = len(open_fds())
    read_end, write_end = os.pipe()
    for _ in range(100):
        try:
            socket.send_fds(end.raw, [b"\0"], [read_end])
        except OSError:
            break
        end.driver.turn()
    end.driver.until(lambda: end.closed)
    os.close(read_end)
    os.close(write_end)
    assert len(open_fds()) <= before


def test_two_end_points_pass_a_thousand_descriptors_and_keep_none(end: End) -> None:
    before = len(open_fds())
    for number in range(1000):
        read_end, write_end = os.pipe()
        os.close(write_end)
        socket.send_fds(end.raw, [encode(Request(number, "x"))], [read_end])
        os.close(read_end)
        end.driver.until(lambda: end.messages)
        for _message, fds in end.messages:
            for fd in fds:
                os.close(fd)
        end.messages.clear()
    assert len(open_fds()) == before


# --- pause, release, close ------------------------------------------------------------------------------


def test_paused_means_not_one_more_message(end: End) -> None:
    def pause_after_first(message: Message, fds: list[int]) -> None:
        end.messages.append((message, fds))
        end.frames.pause()

    end.frames.on_message = pause_after_first
    end.raw.send(encode(Ping(1)) + encode(Ping(2)))
    end.driver.until(lambda: end.plain == [Ping(1)])
    end.raw.send(encode(Ping(3)))
    for _ in range(3):
        end.driver.turn()
    assert end.plain == [Ping(1)]
    end.frames.resume()
    assert end.plain == [Ping(1), Ping(2)]
    end.frames.resume()
    end.driver.until(lambda: end.plain == [Ping(1), Ping(2), Ping(3)])


def test_release_gives_back_what_was_read_and_not_used(end: End) -> None:
    stream = encode(Request(1, "attach")) + encode(Ping(2)) + encode(Ping(3))[:4]
    taken: list[tuple[socket.socket, bytes]] = []

    def on_message(message: Message, fds: list[int]) -> None:
        taken.append(end.frames.release())

    end.frames.on_message = on_message
    end.raw.send(stream)
    end.driver.until(lambda: taken)
    sock, unread = taken[0]
    assert unread == stream[len(encode(Request(1, "attach"))) :]
    end.raw.send(b"more")
    for _ in range(3):
        end.driver.turn()
    assert sock.recv(10) == b"more", "nobody else reads it any more"
    assert not end.closed
    assert not end.frames.is_open
    sock.close()


def test_close_when_sent_sends_all_then_closes_and_ignores_what_comes(end: End) -> None:
    frame = big(1 << 20)
    end.frames.send(frame)
    end.frames.close_when_sent()
    assert not end.closed
    end.raw.send(encode(Ping(1)))
    data = end.read_all(len(frame))
    end.driver.until(lambda: end.closed == ["sent"])
    assert data == frame
    assert not end.messages
    assert end.raw.recv(10) == b""


def test_close_when_sent_with_nothing_queued_closes_at_once(end: End) -> None:
    end.frames.close_when_sent()
    assert end.closed == ["sent"]


def test_close_tells_nobody_and_may_come_twice(end: End) -> None:
    end.frames.close()
    end.frames.close()
    end.frames.send(encode(Ping(1)))
    end.driver.turn()
    assert not end.closed


# --- peers ----------------------------------------------------------------------------------------------


def test_a_peer_that_goes_is_reported_once_after_its_last_message(end: End) -> None:
    end.raw.send(encode(Ping(1)))
    end.raw.close()
    end.driver.until(lambda: end.closed)
    end.frames.send(encode(Pong(1)))
    end.driver.turn()
    assert end.plain == [Ping(1)]
    assert len(end.closed) == 1


def test_what_a_peer_said_before_it_went_is_heard_although_we_were_sending(end: End) -> None:
    """A client types "exit" and is killed: our own send fails first, but what it typed counts."""
    end.raw.send(encode(Ping(1)))
    end.raw.close()
    end.frames.send(encode(Pong(1)))  # EPIPE
    end.frames.send(encode(Pong(2)))
    end.driver.until(lambda: end.closed)
    assert end.plain == [Ping(1)]
    assert len(end.closed) == 1


def test_a_peer_that_goes_while_much_is_queued(end: End) -> None:
    end.frames.send(big())
    end.driver.turn()
    end.raw.close()
    end.driver.until(lambda: end.closed)
    assert not end.frames.is_open


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\0\0\0\x04\xff\xff\xff\xff",
        b"\0\0\0\x01\x00",
        b"\0\0\0\x02\x81\x61",
        b"\0\0\0\x09" + b"\x81" * 9,
        encode(Ping(1))[:-1] + b"\xf6",
    ],
)
def test_hostile_bytes_end_the_connection_and_nothing_else(end: End, garbage: bytes) -> None:
    end.raw.send(garbage)
    end.driver.until(lambda: end.closed)
    assert len(end.closed) == 1 and end.closed[0]
    assert not end.messages


def test_good_frames_before_bad_ones_count(end: End) -> None:
    end.raw.send(encode(Ping(1)) + b"\0\0\0\0" + encode(Ping(2)))
    end.driver.until(lambda: end.closed)
    assert end.plain == [Ping(1)]


def test_frames_of_the_receiving_side_decode_the_same(end: End) -> None:
    end.frames.send(encode(Ping(4)))
    decoder = FrameDecoder()
    decoder.feed(end.read_all(len(encode(Ping(4)))))
    assert list(decoder.messages()) == [Ping(4)]


# --- listening ------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "s")


def test_listen_has_mode_0600_and_passes_nothing_on(place: str) -> None:
    with listen(place) as sock:
        found = os.lstat(place)
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
        assert not sock.get_inheritable() and not sock.getblocking()
        assert is_socket_of_ours(place)


def test_listen_replaces_what_was_there_at_once(place: str) -> None:
    """At every moment there is somebody at the name who answers."""
    Path(place + "~").write_text("left by one that died in the middle")
    with listen(place) as first, listen(place) as second, socket.socket(socket.AF_UNIX) as client:
        client.connect(place)
        connection, _ = second.accept()
        connection.close()
        with pytest.raises(BlockingIOError):
            first.accept()
    assert os.listdir(os.path.dirname(place)) == ["s"]  # noqa: PTH208, PTH120


def test_listen_leaves_nothing_when_it_fails(place: str) -> None:
    Path(place).mkdir()  # a socket can't be renamed over a folder
    (Path(place) / "x").touch()
    before = open_fds()
    with pytest.raises(OSError):
        listen(place)
    assert open_fds() == before
    assert not Path(place + "~").exists()
    with pytest.raises(OSError):
        listen(str(Path(place) / "missing" / "s"))
    assert open_fds() == before


def test_peer_credentials_are_the_kernels(place: str) -> None:
    with listen(place) as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(place)
        connection, _ = sock.accept()
        with connection:
            assert peer_uid_pid(connection) == (os.getuid(), os.getpid())
            assert is_peer_us(connection)


def test_sockets_of_ours_are_told_from_others(tmp_path: Path, place: str) -> None:
    with listen(place):
        (tmp_path / "link").symlink_to(place)
        (tmp_path / "file").touch()
        assert is_socket_of_ours(place)
        for name in ("link", "file", "missing"):
            assert not is_socket_of_ours(str(tmp_path / name))
        if os.getuid() == 0:
            os.chown(place, 12345, 12345)
            assert not is_socket_of_ours(place)


def test_no_descriptor_left_for_one_that_is_passed(end: End) -> None:
    """The kernel drops it; the frame still arrives, and its reader sees that something is missing."""
    read_end, write_end = os.pipe()
    frame = encode(Request(1, "handover"))
    socket.send_fds(end.raw, [frame], [read_end])
    os.close(read_end)
    os.close(write_end)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = min(set(range(1000)) - set(open_fds()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        end.driver.turn()
        end.driver.turn()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    end.driver.until(lambda: end.plain == [Request(1, "handover")])
    assert end.messages[0][1] == []
